"""Films the attention of the blocks on the same clips while a network trains."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from videonl.data.datamodule import ClipDataModule
from videonl.data.located_clip import LocatedClip, read_middle_clip
from videonl.data.reading.decoding import DecodingError
from videonl.data.reading.segment import whole_of
from videonl.data.video import Video
from videonl.errors import UserError
from videonl.names import file_part
from videonl.training.module import ClipModule
from videonl.visualization import attention_maps, film

logger = logging.getLogger(__name__)
_MAX_CLIPS = 4


class FilmAttention(Callback):
    """Films some validation clips every few epochs, for each block at the position that it changed the most.

    The clips are the middle ones of the first video of each of the first four classes in the list of validation videos.
    The films go into ``epoch_0003/CLASS_VIDEO/BLOCK.mp4``, and to Weights & Biases if a run logs there. Only the
    process of rank 0 makes them, in evaluation mode and without drawing random numbers, so the training is the same to
    the last bit. Failures are warnings.

    Args:
        directory: Folder of the films.
        every_epochs: Number of epochs between films.
    """

    def __init__(self, directory: Path, every_epochs: int) -> None:
        self.directory = directory
        self.every_epochs = every_epochs
        self._clips: dict[str, LocatedClip] | None = None  # by the name of their films

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the films of this epoch."""
        epoch = trainer.current_epoch
        if not trainer.is_global_zero or (epoch + 1) % self.every_epochs:
            return
        try:
            self._film(trainer, pl_module, self.directory / f"epoch_{epoch:04d}")
        except Exception as error:  # whatever it is, it must not end a training
            logger.warning("could not make the attention films of epoch %d: %s", epoch, error)

    def _film(self, trainer: Trainer, pl_module: LightningModule, folder: Path) -> None:
        assert isinstance(pl_module, ClipModule)
        blocks = getattr(pl_module.network, "blocks", {})  # a network that is not of videonl has none
        blocks = {name: block for name, block in blocks.items() if block.weighs_positions}
        if self._clips is None:
            self._clips = fixed_clips(trainer.datamodule)  # type: ignore[attr-defined]  # set by the trainer's loops
        for name, clip in self._clips.items():
            films = _films(pl_module, blocks, clip, folder / name)
            for logging_one in trainer.loggers:
                if isinstance(logging_one, WandbLogger):
                    for block, path in films.items():
                        logging_one.log_video(f"films/{name}/{block}", [str(path)], trainer.global_step, format=["mp4"])


def fixed_clips(data: ClipDataModule) -> dict[str, LocatedClip]:
    """The middle clip of the first readable video of each of the first classes, by class and video."""
    firsts: dict[int, list[Video]] = {}
    for video in data.videos.get("val", []):
        for label in video.label if isinstance(video.label, tuple) else (video.label,):
            firsts.setdefault(label, []).append(video)
    if not firsts:
        raise UserError("there are no validation videos to film; set --data.val")
    clips = {}
    for label in list(firsts)[:_MAX_CLIPS]:
        name, clip = _first_readable(firsts[label], data)
        clips[file_part(f"{data.class_names[label]}_{name}", label)] = clip
    return clips


def _first_readable(videos: Sequence[Video], data: ClipDataModule) -> tuple[str, LocatedClip]:
    for video in videos:
        try:
            return Path(str(whole_of(video.path))).stem, read_middle_clip(video.path, data.clip, data.loading.decoder)
        except DecodingError as error:
            last = error
    raise last


def _films(module: ClipModule, blocks: Mapping[str, Any], clip: LocatedClip, folder: Path) -> dict[str, Path]:
    """Writes a film for each block; their files."""
    recognizer = module.recognizer()
    blocks = {name: recognizer.blocks[name] for name in blocks}
    maps = attention_maps(recognizer.network, blocks, recognizer.inputs(clip.pixels[None]))
    frames = clip.pixels.permute(1, 2, 3, 0).contiguous()  # (C, T, H, W) -> (T, H, W, C)
    films = {}
    for name, (attended,) in maps.items():
        films[name] = folder / f"{name}.mp4"
        film(frames, attended, films[name], seconds=clip.seconds)
    return films
