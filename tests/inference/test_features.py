import csv
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from tests.data.reading.test_limited_reader import Troubled
from tests.inference.conftest import textured
from videonl.cli.main import main
from videonl.data.reading import limited_reader
from videonl.data.reading.array_reader import ArrayReader
from videonl.data.reading.decoding import open_video
from videonl.data.transforms import ClipFormat, TenCrops, Views, ViewTransform
from videonl.errors import UserError
from videonl.inference import Model, Recognizer, Windows, load
from videonl.inference.feature_files import save_features, times_beside
from videonl.inference.features import FeatureOptions, Features, features_of
from videonl.inference.layer import Layer
from videonl.models import ClipClassifier

TIMES = ("start_seconds", "center_seconds", "end_seconds", "first_frame", "last_frame")


@pytest.fixture(scope="module")
def model(weights: Path) -> Model:
    return load(weights, device="cpu")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return textured(tmp_path_factory.mktemp("features") / "video.mp4", num_frames=41)


@pytest.mark.parametrize("backbone", ["i3d_r50", "slowfast_r50", "i3d_inception", "r3d_18", "x3d_xs"])
def test_pooled_features_through_the_head_are_the_logits(backbone: str) -> None:
    torch.manual_seed(3)
    options = {} if backbone in ("i3d_inception", "r3d_18", "x3d_xs") else {"width": 8}
    network = ClipClassifier(backbone, num_classes=7, **options).eval()  # type: ignore[arg-type]  # width alone
    recognizer = Recognizer(network, ClipFormat(num_frames=16, stride_frames=1, short_side_px=64, crop_px=64))
    frames = torch.randint(256, (23, 71, 83, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    reader = ArrayReader(frames, fps=25)
    features = features_of(recognizer, reader, FeatureOptions(stride_frames=7))
    layer = Layer(recognizer)
    assert isinstance(layer.module.weight, torch.Tensor) and isinstance(layer.module.bias, torch.Tensor)
    through_head = torch.from_numpy(features.values) @ layer.module.weight.flatten(1).T + layer.module.bias
    transform = ViewTransform(recognizer.clip, Views())
    for logits, window in zip(through_head, Windows.every_frames(reader, recognizer.clip, 7), strict=True):
        views = transform(reader.read(window.frames).permute(0, 3, 1, 2), [range(16)])
        torch.testing.assert_close(logits[None], recognizer.logits(views), rtol=0, atol=1e-5)


def test_they_are_what_the_network_computes_on_each_window(model: Model, video: Path) -> None:
    seen: list[torch.Tensor] = []
    assert isinstance(model.network, ClipClassifier)
    stage = model.network.network.get_submodule(model.network.stages["res4"][-1])
    with open_video(video) as reader:
        windows = Windows.every_frames(reader, model.clip, 6)
        handle = stage.register_forward_hook(lambda module, inputs, output: seen.append(output.double()))
        with torch.inference_mode():
            for window in windows:
                views = ViewTransform(model.clip, Views())(reader.read(window.frames).permute(0, 3, 1, 2), [range(5)])
                model.network(model.recognizer.inputs(views))
        handle.remove()
    mean = model.features(video, stride_frames=6, layer="res4")
    whole = model.features(video, stride_frames=6, layer="res4", pool="none")
    expected = torch.cat(seen)
    assert whole.values.shape == expected.shape and len(mean) == len(windows) == 7
    assert whole.values.dtype == mean.values.dtype == np.float32
    np.testing.assert_allclose(whole.values, expected.numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    np.testing.assert_allclose(mean.values, whole.values.mean(axis=(2, 3, 4)), rtol=1e-4, atol=1e-5)
    for name in TIMES:
        assert getattr(mean, name).tolist() == [getattr(window, name) for window in windows]


def test_crops_and_numbers_of_frames(model: Model, video: Path) -> None:
    one, three, ten = (model.features(video, stride_frames=9, crops=crops).values for crops in (1, 3, 10))
    num_windows, size = one.shape
    assert (three.shape, ten.shape) == ((num_windows, 3, size), (num_windows, 10, size))
    np.testing.assert_allclose(three[:, 1], one, rtol=1e-4, atol=1e-6)
    with open_video(video) as reader:
        views = TenCrops(model.clip)(reader.read([0, 2, 4, 6, 8]).permute(0, 3, 1, 2), [range(5)])
    expected = Layer(model.recognizer)(views, torch.zeros(10, dtype=torch.int64))
    np.testing.assert_array_equal(ten[0], expected.numpy())
    longer = model.features(video, window_frames=7)
    assert longer.first_frame.tolist() == [0, 13, 26, 39]  # they adjoin
    assert longer.last_frame.tolist() == [12, 25, 38, 40]
    assert model.features(video, window_frames=7, last="drop").first_frame.tolist() == [0, 13, 26]
    centered = model.features(video, stride_frames=8, centered=True)
    assert centered.center_seconds.tolist() == pytest.approx([0, 0.32, 0.64, 0.96, 1.28, 1.6])


def test_a_short_video_is_completed_or_refused(model: Model, tmp_path: Path) -> None:
    short = textured(tmp_path / "short.mp4", num_frames=3)
    assert len(model.features(short)) == 1
    with pytest.raises(UserError, match=r"short\.mp4 has 3 frames .*too short for one window"):
        model.features(short, last="drop")
    frames = np.random.default_rng(0).integers(0, 255, (31, 41, 47, 3), np.uint8)
    assert len(model.features(frames, fps=10)) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "res9"}, r"'res9' is neither a stage \(res2, res3, res4, res5\).*or layer pool"),
        ({"pool": "max"}, "pool must be one of mean, none, got 'max'"),
        ({"crops": 5}, "crops must be one of 1, 3, 10, got 5"),
        ({"last": "keep"}, "last must be one of repeat, drop"),
        ({"stride_frames": 0}, "stride_frames must be at least 1, got 0"),
        ({"window_frames": 0}, "window_frames must be at least 1, got 0"),
    ],
)
def test_what_there_is_not_is_refused(model: Model, video: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.features(video, **options)


def test_layers_that_have_no_features_on_a_grid(model: Model) -> None:
    views, layer = torch.zeros(1, 3, 5, 31, 31, dtype=torch.uint8), Layer(model.recognizer, "res4")
    assert Layer(model.recognizer, "blocks.6.proj", "none")(views, torch.zeros(1)).shape == (1, 5, 1, 1, 1)
    layer.module = model.recognizer.network
    with pytest.raises(UserError, match=r"res4 puts out shape \(1, 5\); choose a layer of \(B, C, T, H, W\)"):
        layer(views, torch.zeros(1))
    layer.module = torch.nn.Identity()
    with pytest.raises(UserError, match="the network does not run res4"):
        layer(views, torch.zeros(1))


@pytest.fixture(scope="module")
def features(model: Model, video: Path) -> Features:
    return model.features(video, stride_frames=9, layer="res3", pool="none", crops=3)


def test_files_hold_the_features_and_the_times(features: Features, tmp_path: Path) -> None:
    save_features(features, tmp_path / "a.npy", "npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), features.values)
    with times_beside(tmp_path / "a.npy").open(newline="") as file:
        rows = list(csv.DictReader(file))
    save_features(features, tmp_path / "a.npz", "npz")
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays) == {"features", *TIMES}
        np.testing.assert_array_equal(arrays["features"], features.values)
        for name in TIMES:
            np.testing.assert_array_equal(arrays[name], getattr(features, name))
            np.testing.assert_allclose([float(row[name]) for row in rows], getattr(features, name), atol=1e-6)
    save_features(features, tmp_path / "a.parquet", "parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    shape = [int(size) for size in table.schema.metadata[b"shape"].split(b",")]
    values = np.stack(table["features"].to_pylist()).astype(np.float32).reshape(-1, *shape)
    np.testing.assert_array_equal(values, features.values)
    assert table["first_frame"].to_pylist() == features.first_frame.tolist()


def test_hdf5(features: Features, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is absent: pip install 'videonl[features]'")
    save_features(features, tmp_path / "a.h5", "hdf5")
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["features"][:], features.values)
        assert set(file) == {"features", *TIMES}


def test_without_h5py_the_message_says_what_to_do(
    features: Features, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install \"videonl\[features\]\""):
        save_features(features, tmp_path / "a.h5", "hdf5")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], weights: Path, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """``run("a.mp4", "--layer", "res4")`` writes features to tmp_path / "out"; the exit code and what was said."""

    def call(*words: object) -> tuple[int, str]:
        code = main(["features", *map(str, words), "--checkpoint", str(weights), "--out", str(tmp_path / "out")])
        captured = capfd.readouterr()
        return code, " ".join((captured.out + captured.err).split())

    return call


def test_a_folder_with_a_bad_file_costs_one_row_and_goes_on(
    run: Callable[..., tuple[int, str]], model: Model, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hug/a.mp4", "kick/a.mp4", "kick/b.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(video.read_bytes())
    (tmp_path / "videos" / "kick" / "c.mp4").write_bytes(b"no video")
    out, words = tmp_path / "out", (tmp_path / "videos", "--stride-frames", 9, "--format", "npz")
    code, text = run(*words)
    assert code == 1
    assert "1 of 4 videos have no features" in text and "c.mp4: cannot be decoded" in text
    files = {"features.json", "videos.csv", "hug-a.npz", "kick-a.npz", "b.npz"}
    assert {path.name for path in out.iterdir()} == files
    with np.load(out / "b.npz") as arrays:
        np.testing.assert_array_equal(arrays["features"], model.features(video, stride_frames=9).values)
    with (out / "videos.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["hug-a.npz", "kick-a.npz", "b.npz", ""]
    assert "cannot be decoded" in rows[3]["reason"]
    about = json.loads((out / "features.json").read_text())
    assert about["layer"] == "pool" and about["window_frames"] == 5 and about["clip"]["crop_px"] == 31
    assert len(about["weights_sha256"]) == 64 and about["network"]["backbone"].startswith("i3d_r50")

    (out / "b.npz").unlink()  # as where the work was interrupted
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*-a.npz")}
    assert run(*words)[0] == 1
    assert {path.name for path in out.iterdir()} == files
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*-a.npz")} == times
    later = max(times.values()) + 10**9  # another video of that name
    os.utime(tmp_path / "videos" / "hug" / "a.mp4", ns=(later, later))
    assert run(*words)[0] == 1
    assert (out / "hug-a.npz").stat().st_mtime_ns > times["hug-a.npz"]
    assert (out / "kick-a.npz").stat().st_mtime_ns == times["kick-a.npz"]

    code, text = run(*words, "--layer", "res4")
    assert code == 2
    assert "holds features of another layer: 'pool', and 'res4' is asked for. Give another --out" in text
    (out / "features.json").write_text("[1")
    assert run(*words)[0] == 2


def test_ctrl_c_leaves_whole_files_and_the_rest_follows(
    run: Callable[..., tuple[int, str]], video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(video.read_bytes())
    written = []

    def interrupted(*arguments: Any) -> None:
        written.append(arguments)
        if len(written) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        save_features(*arguments)

    monkeypatch.setattr("videonl.inference.feature_folder.save_features", interrupted)
    code, text = run(tmp_path / "videos", "--stride_frames", 9)
    assert (code, "nterrupted" in text, "Traceback" in text) == (130, True, False)
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"features.json", "a.npy", "a.times.csv"}
    first = (out / "a.npy").stat().st_mtime_ns
    assert run(tmp_path / "videos", "--stride_frames", 9)[0] == 0
    assert len(list(out.glob("*.npy"))) == 3 and (out / "videos.csv").is_file()
    assert (out / "a.npy").stat().st_mtime_ns == first


def test_one_video_and_its_mistakes(run: Callable[..., tuple[int, str]], video: Path, tmp_path: Path) -> None:
    words = ("--centered", "--stride_frames", 4, "--layer", "res4.1", "--pool", "none", "--crops", 3)
    code, text = run(video, *words)
    assert (code, "features of 1 of 1 videos" in text) == (0, True)
    assert np.load(tmp_path / "out" / "video.npy").shape[:2] == (11, 3)
    assert (tmp_path / "out" / "video.times.csv").is_file()
    for mistake, message in (
        ((), "name a video, a folder, a list or a pattern"),
        ((tmp_path / "gone.mp4", *words), "gone.mp4: no such file"),
        ((video, "--layer", "res9"), "'res9' is neither a stage"),
        ((video, "--stride_frames", "0"), "stride_frames must be at least 1"),
        ((video, "--window_frames", "9"), "holds features of another centered: True, and False is asked for"),
    ):
        code, text = run(*mistake)
        assert (code, message in text) == (2, True), text


def test_clips_in_seconds_need_a_stride(model: Model, video: Path) -> None:
    in_time = Recognizer(model.network, replace(model.clip, stride_seconds=0.08))
    with open_video(video) as reader:
        with pytest.raises(UserError, match="name the frames between windows: stride_frames"):
            features_of(in_time, reader)
        assert features_of(in_time, reader, FeatureOptions(stride_frames=13)).first_frame.tolist() == [0, 13, 26, 39]


@pytest.mark.skipif(sys.platform != "linux", reason="there is no time limit elsewhere")
def test_a_file_that_hangs_costs_one_row(
    run: Callable[..., tuple[int, str]], model: Model, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_reader, "_Decoding", Troubled)
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "hangs.mp4", "z.mp4"):
        (tmp_path / "videos" / name).write_bytes(video.read_bytes())
    code, text = run(tmp_path / "videos", "--stride-frames", 9, "--time-limit", 4)
    assert (code, "Traceback" in text) == (1, False)
    assert "hangs.mp4: took longer than 4 seconds, and the process that decoded it was ended" in text
    expected = model.features(video, stride_frames=9).values
    for name in ("a.npy", "z.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / "out" / name), expected)
    (tmp_path / "videos" / "hangs.mp4").write_bytes(b"no video")
    code, text = run(tmp_path / "videos", "--stride-frames", 9, "--time-limit", 0)
    assert (code, "hangs.mp4: cannot be decoded" in text) == (1, True)
