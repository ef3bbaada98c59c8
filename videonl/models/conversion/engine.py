"""Renames foreign weights to the keys of our network; anything that does not fit exactly is an error."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from videonl.backbones import head_option, inflated_kernel, read_stem
from videonl.errors import UserError
from videonl.models.class_names import SIZES, class_names
from videonl.models.classifier import ClipClassifier
from videonl.models.conversion.foreign import Foreign, Options, Place
from videonl.models.placement import Insertion
from videonl.models.weights import Weights

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def assemble(foreign: Foreign, source: str) -> Weights:
    """Builds the network that a checkpoint is of, without memory for weights, and compares them key by key.

    Args:
        foreign: The checkpoint, as its layout understood it.
        source: Where it comes from.

    Returns:
        Weights under our keys, complete except perhaps for the head.

    Raises:
        UserError: When keys are left over on either side or shapes differ, naming every one; or when our network would
            compute other numbers from the same weights.
    """
    settings = _settings(foreign)
    head = head_keys(settings)
    found, unknown = _under_our_keys(foreign, on_meta(settings, num_classes=2))
    settings["num_classes"] = next((found[key].shape[0] for key in head if key in found), None)
    network = on_meta(settings, settings["num_classes"] or 2)
    expected = network.network.state_dict()
    if not found.keys() & expected:
        example = min([*foreign.left_over, *unknown, *found])
        raise UserError(
            f"none of its keys is one of this layout and {foreign.backbone}, such as {example}; is --from right?"
        )
    if settings["num_classes"] is None:
        expected = {key: value for key, value in expected.items() if key not in head}
    state = {
        key: inflated_kernel(found[key], expected[key]) if foreign.inflated else found[key]
        for key in found.keys() & expected
    }
    _refuse_misfits([*foreign.left_over, *unknown, *(found.keys() - expected.keys())], expected, state)
    if foreign.norm_epsilon is not None:
        _refuse_other_epsilon(network, foreign.norm_epsilon)
    # In the network's order; counts of batches, which old norms lack, start at 0.
    complete = {key: state.get(key, torch.tensor(0)).contiguous() for key in expected}
    return Weights(
        complete,
        source,
        settings,
        clip=dict(foreign.clip),
        class_names=_published_classes(foreign, settings["num_classes"]),
        reads=foreign.reads,
        license=foreign.license,
    )


def _published_classes(foreign: Foreign, num_classes: int | None) -> list[str] | None:
    known = foreign.published_classes
    return class_names(known) if known is not None and SIZES[known] == num_classes else None


def head_keys(settings: Mapping[str, Any]) -> set[str]:
    """Keys of a network's classifier: those whose shapes follow the number of classes."""
    two, three = (on_meta(settings, num_classes).network.state_dict() for num_classes in (2, 3))
    return {key for key, value in two.items() if value.shape != three[key].shape}


def on_meta(settings: Mapping[str, Any], num_classes: int) -> ClipClassifier:
    """The network of some settings, with another number of classes and without memory for its weights."""
    with torch.device("meta"):
        return ClipClassifier.from_settings({**settings, "num_classes": num_classes, "execution": {}})


def _settings(foreign: Foreign) -> dict[str, Any]:
    stem, options = foreign.weights.get("stem.conv.weight"), _options(foreign)
    return {
        "backbone": foreign.backbone,
        "num_classes": None,
        "blocks": [asdict(insertion) for insertion in _insertions(foreign.blocks)],
        "width": options.pop("width", None if stem is None else stem.shape[0]),
        "dropout": None,
        "backbone_options": options or None,
        "stages": None,
    }


def _options(foreign: Foreign) -> dict[str, Any]:
    stem = {} if foreign.stem is None else {"stride_profile": asdict(foreign.stem)}
    head = {} if foreign.head is None else {"head": head_option(foreign.head)}
    return {**foreign.options, **stem, **head}


def _insertions(blocks: Mapping[Place, Options]) -> list[Insertion]:
    """Blocks with the same options make one insertion."""
    kinds: list[tuple[Options, dict[str, list[int]]]] = []
    for (stage, index), options in sorted(blocks.items()):
        after = next((after for same, after in kinds if same == options), None)
        if after is None:
            kinds.append((options, after := {}))
        after.setdefault(stage, []).append(index)
    return [Insertion("nonlocal", after, options) for options, after in kinds]


def _under_our_keys(foreign: Foreign, classifier: ClipClassifier) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by key of our network, and the names that say a place it does not have."""
    if not foreign.placed:
        return dict(foreign.weights), []
    if read_stem(classifier.network) is None:
        raise UserError(f"the file holds the weights of a ResNet, which do not fit {foreign.backbone}")
    blocks = classifier.network.get_submodule("blocks")
    paths = {"stem": "blocks.0", "head": f"blocks.{len(list(blocks.children())) - 1}"}
    paths |= {
        f"{stage}.{index}": path
        for stage, all_paths in classifier.stages.items()
        for index, path in enumerate(all_paths)
    }
    found, unknown = {}, []
    for name, weight in foreign.weights.items():
        place = name.partition(".")[0] if not name.startswith("res") else ".".join(name.split(".")[:2])
        if place in paths:
            found[paths[place] + name.removeprefix(place)] = weight
        else:
            unknown.append(name)
    return found, unknown


def _refuse_misfits(left_over: list[str], expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    missing = [key for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = {
        "left over in the file": sorted(left_over),
        "missing in the file": missing,
        "of another shape": shapes,
    }
    if any(problems.values()):
        raise UserError(
            "the checkpoint does not fit, and nothing was written: "
            + "".join(f"\n{len(keys)} {what}: {', '.join(keys)}" for what, keys in problems.items() if keys)
        )


def _refuse_other_epsilon(network: nn.Module, epsilon: float) -> None:
    for name, norm in network.named_modules():
        if isinstance(norm, NORMS) and abs(norm.eps - epsilon) > 1e-3 * epsilon:
            raise UserError(f"norm {name} adds {norm.eps} to variances, the file's {epsilon}: outputs would differ")
