"""Films have a place of their own, whatever their class is called."""

from pathlib import Path

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.training.callbacks.films import fixed_clips


def test_classes_of_long_names_have_folders_that_can_be_made(video_folder: Path, tmp_path: Path) -> None:
    videos = sorted(video_folder.glob("*/*.mp4"))[:2]
    names = ["x" * 3000 + ending for ending in "ab"]
    (tmp_path / "val.csv").write_text("".join(f"{video},{name}\n" for video, name in zip(videos, names, strict=True)))
    clip = ClipFormat(num_frames=5, stride_frames=2, short_side_px=37, crop_px=31)
    data = ClipDataModule(val=str(tmp_path / "val.csv"), clip=clip, loading=Loading(num_workers=0))
    folders = list(fixed_clips(data))
    assert len(folders) == 2
    for folder in folders:
        (tmp_path / "films" / folder).mkdir(parents=True)
