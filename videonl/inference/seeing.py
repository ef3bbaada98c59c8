"""What a network attends to in one clip, and what speaks for a class there."""

from collections.abc import Sequence

from torch import Tensor, nn

from videonl.data.located_clip import LocatedClip
from videonl.errors import UserError
from videonl.inference.choices import AUTO, find_classes, find_layer
from videonl.inference.maps import Maps
from videonl.inference.recognizer import Recognizer
from videonl.models import ClipClassifier
from videonl.terminal import printable
from videonl.visualization import AttentionMap, EvidenceMap, ShownClip
from videonl.visualization.attention import maps_of
from videonl.visualization.evidence import evidence_of
from videonl.visualization.features import observe
from videonl.visualization.queries import require_inside


def attention_in(
    recognizer: Recognizer,
    class_names: Sequence[str],
    clip: LocatedClip,
    name: str,
    query: tuple[int, int, int] | None,
) -> Maps[AttentionMap]:
    """What each block attends to in a clip.

    Raises:
        UserError: No block has attention to show, or the query lies outside of the clip.
    """
    shown = shown_clip(name, clip)
    if query is not None:
        require_inside(query, shown.size)
    blocks = {name: block for name, block in recognizer.blocks.items() if block.weighs_positions}
    if not blocks:
        what = "its blocks average over all positions alike" if recognizer.blocks else "it has no attention blocks"
        raise UserError(f"this network has no attention to show: {what}; evidence() shows what speaks for a class")
    with recognizer.alone():
        seen = observe(recognizer.network, blocks, recognizer.inputs(clip.pixels[None]))
        maps = {block: attended[0] for block, attended in maps_of(seen, blocks, [query]).items()}
    finite(seen.logits, name)
    return Maps(shown, class_names[int(seen.logits.argmax())], maps)


def evidence_in(
    recognizer: Recognizer,
    class_names: Sequence[str],
    clip: LocatedClip,
    name: str,
    classes: Sequence[str],
    layer: str | None,
) -> Maps[EvidenceMap]:
    """Which places of a clip speak for some classes, or for the predicted one where none are named.

    Raises:
        UserError: There is no such class or layer.
    """
    network = recognizer.network
    if not isinstance(network, ClipClassifier):
        raise UserError("evidence is shown of networks that videonl builds; this one is of another package")
    pixels = recognizer.inputs(clip.pixels[None])
    place = find_layer(network, layer, pixels)
    module: nn.Module = network.network.get_submodule(place.path)
    with recognizer.alone():
        seen = observe(network, {}, pixels, module)
    finite(seen.logits.detach(), name)
    best = int(seen.logits.argmax())
    asked = find_classes(list(classes) or [AUTO], class_names, best)
    maps = evidence_of(seen, network.network, module, place.name, asked)
    return Maps(shown_clip(name, clip), class_names[best], {shown.class_name: shown for shown in maps})


def shown_clip(name: str, clip: LocatedClip) -> ShownClip:
    """A clip as pictures show it."""
    frames = clip.pixels.permute(1, 2, 3, 0).contiguous()  # (C, T, H, W) -> (T, H, W, C)
    return ShownClip(printable(name), frames, clip.video_frames, clip.seconds, clip.crop)


def finite(logits: Tensor, name: str) -> Tensor:
    """Moves finite logits of a video or a network, by its name, to the CPU as float32.

    Raises:
        UserError: Some are not finite.
    """
    logits = logits.detach().float().cpu()
    if not logits.isfinite().all():
        raise UserError(
            f"the scores of {printable(name)} are not finite: the weights hold NaN, or numbers became too large; use "
            "another checkpoint, or float32"
        )
    return logits
