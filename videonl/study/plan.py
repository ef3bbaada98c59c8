"""What a study trains: its cells, each one variant with one seed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from videonl.errors import UserError


@dataclass(frozen=True)
class Cost:
    """What a network costs: numbers for two classes, and what each further class adds.

    Attributes:
        parameters: Of the network with a head of two classes.
        macs: Multiply-adds of one clip in evaluation, with that head.
        parameters_per_class: What each further class adds.
        macs_per_class: The same of multiply-adds.
    """

    parameters: int
    macs: int
    parameters_per_class: int = 0
    macs_per_class: int = 0

    def of(self, num_classes: int) -> tuple[int, int]:
        """Parameters and multiply-adds with a head of so many classes."""
        more = num_classes - 2
        return self.parameters + more * self.parameters_per_class, self.macs + more * self.macs_per_class


@dataclass(frozen=True)
class Cell:
    """One training and its test.

    Attributes:
        variant: The variant's name.
        seed: Of the training.
        fit: The whole configuration of the training, except where it is stored.
        test: What its test has else.
        fold: The name of the data's fold; None where the study has none.
    """

    variant: str
    seed: int
    fit: Mapping[str, Any] = field(repr=False)
    test: Mapping[str, Any] = field(repr=False, default_factory=dict)
    fold: str | None = None

    @property
    def name(self) -> str:
        """What its folder and its run on W&B are called."""
        return "-".join([self.variant, *([] if self.fold is None else [self.fold]), f"seed{self.seed}"])


@dataclass(frozen=True)
class Study:
    """Variants x seeds, and x folds where there are some.

    Attributes:
        name: Of the study: the group of its runs on W&B.
        cells: In the order in which they are run.
        baseline: The variant that the others are compared with; None compares with none.
        metric: What is compared; None takes that of the task, top-1 or mAP.
        costs: Of the networks of variants, where they are known.
    """

    name: str
    cells: tuple[Cell, ...]
    baseline: str | None = None
    metric: str | None = None
    costs: Mapping[str, Cost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Folders of some systems do not tell A from a.
        counts = Counter(cell.name.casefold() for cell in self.cells)
        if twice := [cell.name for cell in self.cells if counts[cell.name.casefold()] > 1]:
            raise UserError(f"two cells of the study are named {twice[0]}; rename a variant, or remove a seed")

    @property
    def variants(self) -> list[str]:
        """The names of the variants, in the order of the study."""
        return list(dict.fromkeys(cell.variant for cell in self.cells))

    def part(self, number: int, num_parts: int) -> list[Cell]:
        """The cells of part ``number`` of ``num_parts``, from 1; together the parts have every cell."""
        return list(self.cells[number - 1 :: num_parts])

    def as_data(self) -> dict[str, Any]:
        """The study as plain data."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Study":
        """The study that :meth:`as_data` describes."""
        costs = {name: Cost(**cost) for name, cost in data["costs"].items()}
        return cls(**{**data, "cells": tuple(Cell(**cell) for cell in data["cells"]), "costs": costs})


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The dotted names of the settings in which two configurations differ.

    >>> differing_keys({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": 3})
    ['a.c', 'd']
    """
    found = []
    for key in dict.fromkeys([*one, *other]):
        left, right = one.get(key), other.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += [f"{key}.{below}" for below in differing_keys(left, right)]
        elif key not in one or key not in other or left != right:
            found.append(key)
    return found
