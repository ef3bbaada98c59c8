"""Names of classes, in the order of the logits: published lists by name, and files of the usual forms.

``kinetics400.txt``, ``kinetics600.txt`` and ``kinetics700.txt`` hold the official classes, sorted, as torchvision,
mmaction2, GluonCV and MoViNet number them; those of ImageNet come with torchvision.
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from videonl.errors import UserError

NAME_COLUMNS = ("name", "label", "class", "key")
INDEX_COLUMNS = ("id", "index")
NUMBERED = re.compile(r"(\d+)[\s,]+(\S.*)")


def class_names(source: str | Path) -> list[str]:
    """The names of a published list or of a file.

    A file has one name per line; or ``index name`` lines, counted from 0 or 1; or it is a CSV with a header, such as
    ``id,name``; or JSON, either a list of names or names and indices, as PySlowFast's ``classids.json``.

    Args:
        source: A name of ``PUBLISHED``, or the path of a file.

    Raises:
        UserError: When it is neither, or the file does not name every class once.
    """
    if str(source) in PUBLISHED:
        return PUBLISHED[str(source)]()
    path = Path(source)
    if not path.is_file():
        raise UserError(f"--classes {source} is neither a file nor a published list; those are: {', '.join(PUBLISHED)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _of_json(text) if path.suffix.lower() == ".json" else _of_lines(text.rstrip().splitlines())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a list of class names ({error}); write one name per line") from error
    _require_each_once(path, names)
    return names


def lists_of(num_classes: int) -> list[str]:
    """The published lists with this number of names.

    >>> lists_of(600)
    ['kinetics600']
    """
    return [name for name, size in SIZES.items() if size == num_classes]


def _require_each_once(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise UserError(f"{path} names no classes; write one name per line")
    for index, name in enumerate(names):
        if not name:
            raise UserError(f"{path}: class {index} has no name; a blank line would shift the classes after it")
        if (first := names.index(name)) != index:
            raise UserError(f"{path}: class {first} and class {index} are both named {name!r}")


def _of_lines(lines: list[str]) -> list[str]:
    header = [cell.strip().lower() for cell in lines[0].split(",")] if lines else []
    name_column = next((name for name in NAME_COLUMNS if name in header), None)
    if len(header) > 1 and name_column is not None:
        return _of_table(list(csv.DictReader([",".join(header), *lines[1:]])), name_column)
    numbered = [NUMBERED.fullmatch(line.strip()) for line in lines]
    numbers = [int(match[1]) for match in numbered if match]
    if len(numbers) == len(lines) > 1 and numbers in (list(range(len(lines))), list(range(1, len(lines) + 1))):
        return [match[2].strip() for match in numbered if match]
    return [line.strip() for line in lines]


def _of_table(rows: list[dict[str, str]], name_column: str) -> list[str]:
    index_column = next((name for name in INDEX_COLUMNS if name in rows[0]), None)
    if index_column is None:
        return [row[name_column].strip() for row in rows]
    return _in_order({row[name_column].strip(): int(row[index_column]) for row in rows})


def _of_json(text: str) -> list[str]:
    content = json.loads(text)
    if isinstance(content, list):
        return [str(name).strip() for name in content]
    if all(str(key).isdecimal() for key in content):
        return _in_order({str(name).strip(): int(index) for index, name in content.items()})
    # PySlowFast's has names within quotes of their own.
    return _in_order({name.strip().strip('"'): int(index) for name, index in content.items()})


def _in_order(indices: dict[str, int]) -> list[str]:
    names = sorted(indices, key=lambda name: indices[name])
    if [indices[name] for name in names] not in (list(range(len(names))), list(range(1, len(names) + 1))):
        raise ValueError("its indices do not count the classes one by one")
    return names


def _packaged(name: str) -> list[str]:
    return (files(__package__) / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def _imagenet() -> list[str]:
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


PUBLISHED: dict[str, Callable[[], list[str]]] = {
    "kinetics400": partial(_packaged, "kinetics400"),
    "kinetics600": partial(_packaged, "kinetics600"),
    "kinetics700": partial(_packaged, "kinetics700"),
    "imagenet": _imagenet,
}
SIZES = {"kinetics400": 400, "kinetics600": 600, "kinetics700": 700, "imagenet": 1000}
