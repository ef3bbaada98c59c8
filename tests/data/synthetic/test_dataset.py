import csv
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from videonl.cli.synth import synth
from videonl.data.reading.decoding import open_video
from videonl.data.sources.labeled import read_source
from videonl.data.sources.labels import class_list
from videonl.data.synthetic.dataset import SyntheticSettings, synthetic_clips, write_synthetic, write_video
from videonl.data.synthetic.frames import SHAPES, draw_clip
from videonl.errors import UserError

SMALL = SyntheticSettings(num_train=8, num_val=4, num_test=4, size_px=34, num_frames=5)
OTHER = replace(SMALL, seed=1)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "clues.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic") / "small"
    assert write_synthetic(folder, SMALL)
    return folder


def test_the_same_arguments_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    write_synthetic(tmp_path / "again", SMALL)
    write_synthetic(tmp_path / "other", OTHER)
    assert contents(tmp_path / "again") == contents(small)
    first = {name: data for name, data in contents(small).items() if name.endswith(".mp4")}
    other = contents(tmp_path / "other")
    assert all(other.get(name) != data for name, data in first.items())


def test_encoding_repeats_exactly(tmp_path: Path) -> None:
    frames, _, _ = draw_clip(0, 1, num_frames=5, size_px=34, random=np.random.default_rng(3))
    encoded = set()
    for _ in range(60):  # x264's assembly gave four different files
        write_video(tmp_path / "clip.mp4", frames)
        encoded.add((tmp_path / "clip.mp4").read_bytes())
    assert len(encoded) == 1


def test_the_folders_are_sources(small: Path) -> None:
    for split, num_clips in (("train", 8), ("val", 4), ("test", 4)):
        by_folder = read_source(str(small / split))
        by_list = read_source(f"{small}/clues.csv#{split}")
        assert len(by_folder) == num_clips
        assert {entry.path: entry.label for entry in by_folder} == {entry.path: entry.label for entry in by_list}
        assert class_list([entry.label for entry in by_folder]) == ["sum_0", "sum_1"]


@pytest.mark.parametrize("num_classes", [2, 3, 6])
def test_neither_cue_nor_probe_tells_the_label(num_classes: int) -> None:
    num_clips = 2 * num_classes**2
    settings = SyntheticSettings(num_classes, num_clips, num_clips, num_clips, size_px=32, num_frames=4)
    every_clue = [clue for clue, _ in synthetic_clips(settings)]
    for split in ("train", "val", "test"):
        clues = [clue for clue in every_clue if clue.split == split]
        pairs = Counter((clue.cue.shape, clue.probe.shape) for clue in clues)
        assert len(pairs) == num_classes**2
        assert set(pairs.values()) == {2}
        for clue in clues:
            assert clue.label == f"sum_{(clue.cue.shape + clue.probe.shape) % num_classes}"
        with_label = Counter((clue.cue.shape, clue.label) for clue in clues)
        assert set(with_label.values()) == {2}
        assert len(with_label) == num_classes**2


def test_order_does_not_tell_the_label() -> None:
    settings = SyntheticSettings(2, 64, 0, 0, size_px=32, num_frames=4)
    labels = [clue.label for clue, _ in synthetic_clips(settings)]
    assert len({tuple(labels[start : start + 4]) for start in range(0, 64, 4)}) > 4


def test_cue_and_probe_show_where_the_truth_says_and_nowhere_else() -> None:
    frames, cue, probe = draw_clip(0, 3, num_frames=7, size_px=64, random=np.random.default_rng(5))
    bright = frames.min(axis=-1) > 165
    assert (cue.first_frame, cue.last_frame, probe.first_frame, probe.last_frame) == (0, 1, 5, 6)
    for mark, left, right in ((cue, 0, 64 / 3), (probe, 128 / 3, 64)):
        assert left <= mark.x0_px < mark.x1_px <= right
        assert 0 <= mark.y0_px < mark.y1_px <= 64
        assert bright[mark.first_frame, mark.y0_px : mark.y1_px, mark.x0_px : mark.x1_px].mean() > 0.3
        shown = bright[:, mark.y0_px : mark.y1_px, mark.x0_px : mark.x1_px].mean(axis=(1, 2)) > 0.2
        assert shown.nonzero()[0].tolist() == [mark.first_frame, mark.last_frame]


def test_shapes_can_be_told_apart_after_encoding(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "six", SyntheticSettings(6, 36, 0, 0))
    masks: dict[str, list[torch.Tensor]] = {shape: [] for shape in SHAPES}
    for row in rows(tmp_path / "six"):
        frame = open_video(tmp_path / "six" / row["path"]).read([0])[0].float().amin(dim=-1)
        x0, y0, x1, y1 = (int(row[f"cue_{edge}_px"]) for edge in ("x0", "y0", "x1", "y1"))
        # A square around the middle, not the box itself: a bar and a pole fill their boxes alike.
        padded = torch.nn.functional.pad((frame > 150).float(), (11, 11, 11, 11))
        top, left = (y0 + y1) // 2, (x0 + x1) // 2
        masks[row["cue"]].append(padded[top : top + 22, left : left + 22].flatten())
    means = torch.stack([torch.stack(masks[shape]).mean(0) for shape in SHAPES])
    for index, shape in enumerate(SHAPES):
        for mask in masks[shape]:
            assert (means - mask).square().sum(dim=1).argmin() == index


@pytest.mark.parametrize("shape", range(6))
def test_shapes_are_their_own_mirror_images(shape: int) -> None:
    from videonl.data.synthetic.frames import _distance_px

    y, x = np.mgrid[-10:11, -10:11].astype(float)
    distance = _distance_px(SHAPES[shape], x, y, 7.0)
    assert np.array_equal(distance, distance[:, ::-1])
    assert distance.max() > 0


def test_real_video_files_with_all_frames(small: Path) -> None:
    for row in rows(small)[:3]:
        reader = open_video(small / row["path"])
        assert reader.num_frames == 5
        assert reader.read([0, 4]).shape == (2, 34, 34, 3)


def test_an_identical_data_set_is_left_alone_and_another_refused(small: Path) -> None:
    before = contents(small)
    assert not write_synthetic(small, SMALL)
    with pytest.raises(UserError, match="other settings"):
        write_synthetic(small, OTHER)
    assert contents(small) == before


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        write_synthetic(tmp_path, SMALL)
    with pytest.raises(UserError, match="is a file"):
        write_synthetic(tmp_path / "notes.txt", SMALL)
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(UserError, match="other settings"):
        write_synthetic(tmp_path, SMALL)
    with pytest.raises(UserError, match="cannot be written"):
        write_synthetic(tmp_path / "notes.txt" / "below", SMALL)


def test_an_interrupted_data_set_is_finished(small: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "new", SMALL, progress=interrupt)
    with pytest.raises(UserError, match="other settings"):
        write_synthetic(tmp_path / "new", OTHER)
    assert write_synthetic(tmp_path / "new", SMALL)
    assert contents(tmp_path / "new") == contents(small)


def test_settings_are_written_last_and_progress_is_told(tmp_path: Path) -> None:
    told = []

    def progress(done: int, total: int) -> None:
        assert not (tmp_path / "new" / "synthetic.json").exists()
        told.append((done, total))

    write_synthetic(tmp_path / "new", SMALL, progress=progress)
    assert told == [(done, 16) for done in range(1, 17)]
    settings = json.loads((tmp_path / "new" / "synthetic.json").read_text())
    assert (settings["seed"], settings["num_train"], settings["shapes"]) == (0, 8, ["bar", "pole"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_classes", 1),
        ("num_classes", 7),
        ("size_px", 33),
        ("size_px", 30),
        ("num_frames", 3),
        ("num_val", -1),
        ("seed", -1),
    ],
)
def test_values_out_of_range_are_quoted(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(UserError, match=f"{name} must be .*, got {value}"):
        synth(tmp_path / "new", **{name: value})
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    synth(tmp_path / "new", **asdict(SMALL))
    assert f"wrote 16 clips to {tmp_path / 'new'}" in capsys.readouterr().out
    synth(tmp_path / "new", **asdict(SMALL))
    assert f"already in {tmp_path / 'new'}" in capsys.readouterr().out
