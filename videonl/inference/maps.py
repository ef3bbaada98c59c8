"""Attention and evidence maps, together with the frames of their clip."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from videonl.errors import UserError
from videonl.names import file_part
from videonl.visualization import AttentionMap, EvidenceMap, ShownClip, film, save_arrays, save_evidence, strip

M = TypeVar("M", bound=AttentionMap | EvidenceMap)


class Maps(Mapping[str, M], Generic[M]):
    """Maps by the name of their block or class, in network order.

    Args:
        clip: The frames that the network was given.
        label: The predicted class.
        maps: The maps by name.
    """

    def __init__(self, clip: ShownClip, label: str, maps: Mapping[str, M]) -> None:
        self.clip = clip
        self.label = label
        self._maps: dict[str, M] = dict(maps)

    def __getitem__(self, name: str) -> M:
        return self._maps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._maps)

    def __len__(self) -> int:
        return len(self._maps)

    def __repr__(self) -> str:
        return f"Maps({self.clip.name!r}, {self.label!r}: {', '.join(self)})"

    def save(self, folder: str | Path, suffix: str = ".png") -> list[Path]:
        """Writes a file for each map, named after it.

        Args:
            folder: Created if it does not exist.
            suffix: ``.png`` for a strip of all frames, ``.mp4`` or ``.gif`` for a film, ``.npz`` for the numbers.

        Returns:
            The paths of the files.

        Raises:
            UserError: There is no such format, or a file cannot be written.
        """
        if suffix not in _WRITERS:
            raise UserError(f"cannot write maps as {suffix!r}; choose one of {', '.join(_WRITERS)}")
        paths = [Path(folder) / f"{file_part(name, number)}{suffix}" for number, name in enumerate(self)]
        for path, shown in zip(paths, self.values(), strict=True):
            _WRITERS[suffix](self.clip, shown, path)
        return paths


def _strip(clip: ShownClip, shown: Any, path: Path) -> None:
    strip(clip.frames, shown, path, clip.seconds)


def _film(clip: ShownClip, shown: Any, path: Path) -> None:
    film(clip.frames, shown, path, seconds=clip.seconds)


def _arrays(clip: ShownClip, shown: Any, path: Path) -> None:
    if isinstance(shown, AttentionMap):
        save_arrays(clip, [shown], path)
    else:
        save_evidence(clip, [shown], path)


_WRITERS: Mapping[str, Callable[[ShownClip, Any, Path], None]] = {
    ".png": _strip,
    ".mp4": _film,
    ".gif": _film,
    ".npz": _arrays,
}
