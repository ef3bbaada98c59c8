"""Loads weights into the network of a configuration; differences are errors or reported."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from videonl.backbones import Backbone, as_head, as_stem, head_option, read_stem
from videonl.blocks import BLOCKS
from videonl.errors import UserError
from videonl.models.classifier import ClipClassifier
from videonl.models.conversion.engine import head_keys
from videonl.models.placement import Insertion, places_of
from videonl.models.weights import Weights
from videonl.models.wrapping import InsertedAfter

SAMPLING = ("num_frames", "stride_frames", "stride_seconds", "crop_px")
# As near as values are when they were written with fewer digits.
TOLERANCE = 1e-3


def load_into(classifier: ClipClassifier, weights: Weights, clip: Mapping[str, Any] | None = None) -> list[str]:
    """Loads weights into a classifier, all or nothing.

    Newly initialized parts are reported: a head for another number of classes, and blocks that the weights do not have.

    Args:
        classifier: The network that a configuration describes.
        weights: The initial weights.
        clip: The clip format that the network will be trained with, as plain data.

    Returns:
        Messages for the user, one sentence each.

    Raises:
        UserError: When weights are left over or missing, or the network would compute other outputs with them: another
            stem, other options of a block, other mean and std. The message says what to set.
    """
    weights.require_frames()
    said = [f"license of the weights: {weights.license}"] if weights.license else []
    if weights.block is not None:
        return [*said, *_load_block(classifier, weights)]
    assert weights.network is not None
    _require_same_stem(classifier, weights)
    _require_same_blocks(classifier, weights)
    if clip is not None:
        said += _compare_clips(weights, clip)
    own, heads = classifier.network.state_dict(), head_keys(classifier.settings)
    state = dict(weights.state)
    dropped = _drop_other_head(state, own, heads, weights)
    said += dropped or _compare_heads(classifier, weights)
    fresh = _fresh_blocks(classifier, state)
    missing = [key for key in own if key not in state and key not in heads and not key.startswith(tuple(fresh))]
    said += [_about_fresh(classifier, fresh)] if fresh else []
    _refuse_misfits(weights.source, state, own, missing)
    classifier.network.load_state_dict(state, strict=False)
    return [f"{len(state)} of {len(own)} weights from {weights.source}", *said]


def _drop_other_head(
    state: dict[str, Tensor], own: Mapping[str, Tensor], heads: set[str], weights: Weights
) -> list[str]:
    """Removes a head for other classes from the weights, and reports it."""
    there = [key for key in heads if key in state]
    if there and all(state[key].shape == own[key].shape for key in there):
        return []
    num_classes = {own[key].shape[0] for key in heads}
    why = f"{weights.source} has one for {state[there[0]].shape[0]} classes" if there else f"{weights.source} has none"
    for key in there:
        del state[key]
    return [f"the head is newly initialized, for {', '.join(map(str, num_classes))} classes: {why}"]


def _compare_heads(classifier: ClipClassifier, weights: Weights) -> list[str]:
    """Reports a head that averages differently, which matters for large clips only."""
    assert weights.network is not None
    theirs, own = (
        as_head((settings.get("backbone_options") or {}).get("head", "mean"))
        for settings in (weights.network, classifier.settings)
    )
    if theirs == own:
        return []
    return [
        f"the head of {weights.source} averages clips larger than those of its training differently; to match it, set "
        f"model.network.init_args.backbone_options.head to {head_option(theirs)}"
    ]


def block_prefixes(classifier: ClipClassifier) -> dict[str, str]:
    """For each inserted block, by the prefix of its keys, its name such as ``res4.3``."""
    names = {id(block): name for name, block in classifier.blocks.items()}
    return {
        f"{path}.block.": names[id(module.block)]
        for path, module in classifier.network.named_modules()
        if isinstance(module, InsertedAfter)
    }


def _fresh_blocks(classifier: ClipClassifier, state: Mapping[str, Tensor]) -> dict[str, str]:
    prefixes = block_prefixes(classifier)
    return {prefix: name for prefix, name in prefixes.items() if not any(key.startswith(prefix) for key in state)}


def _about_fresh(classifier: ClipClassifier, fresh: Mapping[str, str]) -> str:
    changing = [name for name in fresh.values() if not classifier.blocks[name].identity_at_init]
    text = f"blocks that the weights do not have are newly initialized as the identity: {', '.join(fresh.values())}"
    return f"{text}; not the identity by design: {', '.join(changing)}" if changing else text


def _require_same_stem(classifier: ClipClassifier, weights: Weights) -> None:
    assert weights.network is not None
    own = read_stem(classifier.network)
    theirs = as_stem((weights.network.get("backbone_options") or {}).get("stride_profile", "short"))
    if own is not None and own != theirs:
        raise UserError(
            f"{weights.source} was trained with another stem, and would give other outputs with this one ({own}); set "
            f"model.network.init_args.backbone_options.stride_profile to {_as_yaml(vars(theirs))}"
        )


def _require_same_blocks(classifier: ClipClassifier, weights: Weights) -> None:
    assert weights.network is not None
    theirs = _options_by_place(classifier, weights.network["blocks"])
    own = _options_by_place(classifier, classifier.settings["blocks"])
    for place in theirs.keys() & own:
        differing = {name for name in theirs[place] | own[place] if theirs[place].get(name) != own[place].get(name)}
        if differing:
            needed = {name: theirs[place].get(name) for name in sorted(differing)}
            raise UserError(
                f"the block at {place} of {weights.source} was trained with other options, and would give other "
                f"outputs; set {_as_yaml(needed)} for it"
            )


def _options_by_place(classifier: ClipClassifier, insertions: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options of each block, by the name of its place in a classifier."""
    backbone = Backbone(classifier.network, classifier.stages)
    return {
        place.name: _options(insertion["block"], insertion["options"], insertion["low"])
        for insertion in insertions
        for place in places_of(backbone, Insertion(**insertion))
    }


def _options(block: str, given: Mapping[str, Any], low: str | None) -> dict[str, Any]:
    """Options, defaults included. Widths are left to the comparison of shapes."""
    known = BLOCKS.get(block)  # by its name alone: to find a dotted path would run code that a file names
    parameters = inspect.signature(known).parameters.values() if known else ()
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    options = {**defaults, **given, "block": block, "low": low}
    return {name: value for name, value in options.items() if not name.startswith("dim_")}


def _compare_clips(weights: Weights, clip: Mapping[str, Any]) -> list[str]:
    """Rejects another normalization of pixels; other lengths and sizes of clips are common, and reported."""
    needed = {
        name: list(weights.clip[name]) for name in ("mean", "std") if not _close(weights.clip.get(name), clip[name])
    }
    if needed:
        raise UserError(
            f"{weights.source} was trained with another normalization of pixels; set in data.clip {_as_yaml(needed)}"
        )
    others = {
        name: weights.clip[name] for name in SAMPLING if name in weights.clip and weights.clip[name] != clip.get(name)
    }
    return [f"{weights.source} was trained on other clips: {_as_yaml(others)}"] if others else []


def _close(theirs: Any, own: Any) -> bool:
    return theirs is None or all(abs(a - b) <= TOLERANCE for a, b in zip(theirs, own, strict=True))


def _refuse_misfits(source: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor], missing: list[str]) -> None:
    problems = [f"the network has no {key}" for key in state if key not in own]
    problems += [f"{key} is missing in the file" for key in missing]
    problems += [
        f"{key} is {tuple(value.shape)} in the file and {tuple(own[key].shape)} in the network"
        for key, value in state.items()
        if key in own and value.shape != own[key].shape
    ]
    if problems:
        raise UserError(f"{source} is for another network than the configuration's: {'; '.join(problems)}")


def _load_block(classifier: ClipClassifier, weights: Weights) -> list[str]:
    assert weights.block is not None
    if len(classifier.blocks) != 1:
        places = ", ".join(classifier.blocks) or "none"
        raise UserError(
            f"{weights.source} holds one block; the network must have exactly one to load it into, has {places}"
        )
    ((place, block),) = classifier.blocks.items()
    theirs = _options(weights.block["block"], weights.block["options"], None)
    own = _options_by_place(classifier, classifier.settings["blocks"])[place]
    if theirs != own:
        needed = {name: theirs.get(name) for name in sorted(theirs | own) if theirs.get(name) != own.get(name)}
        raise UserError(f"the block of {weights.source} has other options than that at {place}; set {_as_yaml(needed)}")
    own_state = block.state_dict()
    _refuse_misfits(weights.source, weights.state, own_state, [key for key in own_state if key not in weights.state])
    block.load_state_dict(weights.state)
    return [f"the block at {place} from {weights.source}; all other weights are new"]


def _as_yaml(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
