"""``videonl attention`` on real files, from the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from videonl.models import ClipClassifier
from videonl.terminal import Pace

Videonl = Callable[..., Any]


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture
def video(clips: Path) -> Path:
    return next((clips / "test").glob("*/*.mp4"))


def data_of(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.read_text().partition('id="data">')[2].partition("</script>")[0])
    return found


def without_blocks(checkpoint: Path, path: Path) -> Path:
    """The same training run's checkpoint, had its configuration placed no blocks."""
    content = torch.load(checkpoint, weights_only=True)
    content["videonl"]["network"]["blocks"] = []
    content["state_dict"] = {key: value for key, value in content["state_dict"].items() if ".block." not in key}
    torch.save(content, path)
    return path


@pytest.mark.parametrize("query", [["--query", "4,30,0"], ["--query=4,30,0"], ["--query", "auto"], []], ids=str)
def test_one_query_gives_a_strip_a_film_and_arrays(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path, query: list[str]
) -> None:
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, *query)
    assert shown.code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"res3.0.png", "res3.0.mp4", "res3.0.npz"}
    Image.open(tmp_path / "res3.0.png").verify()
    with av.open(str(tmp_path / "res3.0.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) >= 5
    assert "res3.0: frame" in shown.text
    assert "the network predicts sum_" in shown.text


def test_several_queries_give_pictures_each_and_one_file_of_arrays(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("videonl.runtime.progress.Pace", lambda: Pace(0))
    queries = ["--query", "4,30,0", "--query=auto", "--query", "grid:2x1x1"]
    out = ["--out", tmp_path, "--film", "none"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, *queries, *out)
    assert shown.code == 0
    assert "drawing: 1 of 4 drawing: 2 of 4 drawing: 3 of 4 drawing: 4 of 4" in shown.text
    names = ["t4_y30_x0", "auto", "t1_y15_x15", "t4_y15_x15"]  # frames 0 to 2, then 3 and 4
    assert {path.name for path in tmp_path.iterdir()} == {"res3.0.npz", *(f"res3.0_{name}.png" for name in names)}
    with np.load(tmp_path / "res3.0.npz") as arrays:
        assert arrays["weights"].shape[0] == len(arrays["queries"]) == 4
        assert arrays["weights"].reshape(4, -1).sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        assert arrays["size"].tolist() == [5, 31, 31]
        assert str(arrays["video"]) == video.name
        cells = arrays["cells"].tolist()
        grid = arrays["grid"].tolist()
    assert cells[0] == [4 * grid[0] // 5, 30 * grid[1] // 31, 0]


def test_films_may_be_gifs(videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path) -> None:
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, "--film", "gif")
    assert shown.code == 0
    with Image.open(tmp_path / "res3.0.gif") as film:
        assert film.n_frames >= 5
    assert not (tmp_path / "res3.0.mp4").exists()


def test_html_writes_a_page_that_starts_at_the_first_query(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    queries = ["--query", "2,7,9", "--query", "auto"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, "--html", *queries)
    assert shown.code == 0
    data = data_of(tmp_path / "explorer.html")
    assert (data["video"], data["size"], data["query"]) == (video.name, [5, 31, 31], [2, 7, 9])
    assert [block["name"] for block in data["blocks"]] == ["res3.0"]
    assert data["compare"] is None
    assert "within 0." in shown.text
    assert "explorer.html: 0." in shown.text


def test_compare_shows_two_checkpoints(
    videonl: Videonl, trained: Path, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    options = ["--compare", trained / "checkpoints" / "last.ckpt", "--html", "--film", "none"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, *options)
    assert shown.code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"best", "last", "explorer.html"}
    assert {path.name for path in (tmp_path / "last").iterdir()} == {"res3.0.png", "res3.0.npz"}
    data = data_of(tmp_path / "explorer.html")
    assert [source["name"] for source in data["sources"]] == ["best", "last"]
    assert [block["source"] for block in data["blocks"]] == [0, 1]
    assert data["compare"] == 1
    assert "last: the network predicts" in shown.text


def test_compare_needs_another_checkpoint_of_the_same_clip_format(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    options = ["--video", video, "--out", tmp_path / "out", "--compare"]
    same = videonl("attention", "--checkpoint", checkpoint, *options, checkpoint)
    assert same.code == 2
    assert f"--compare {checkpoint} is the checkpoint itself" in same.text
    content = torch.load(checkpoint, weights_only=True)
    for name, value, told in (
        ("crop_px", 29, "crop_px 31 and 29"),
        ("stride_seconds", 0.25, "stride_seconds None and 0.25"),
        ("sampling", "uniform", "sampling dense and uniform"),
    ):
        other = {**content, "videonl": {**content["videonl"], "clip": {**content["videonl"]["clip"], name: value}}}
        torch.save(other, tmp_path / "other.ckpt")
        refused = videonl("attention", "--checkpoint", checkpoint, *options, tmp_path / "other.ckpt")
        assert refused.code == 2
        assert told in refused.text
    assert not (tmp_path / "out").exists()


def test_a_network_without_blocks_says_so_and_what_to_do(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    plain = without_blocks(checkpoint, tmp_path / "plain.ckpt")
    refused = videonl("attention", "--checkpoint", plain, "--video", video, "--out", tmp_path / "out", "--html")
    assert refused.code == 2
    assert "no attention blocks inserted" in refused.text
    assert "choose a model whose configuration inserts blocks, or use --evidence" in refused.text
    assert not (tmp_path / "out").exists()
    shown = videonl(
        "attention", "--checkpoint", plain, "--video", video, "--out", tmp_path / "out", "--evidence", "--html"
    )
    assert shown.code == 0
    predicted = shown.text.partition("the network predicts ")[2].split()[0]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"evidence.npz", f"evidence_{predicted}.png", f"evidence_{predicted}.mp4", "explorer.html"}
    (block,) = data_of(tmp_path / "out" / "explorer.html")["blocks"]
    assert block["name"].startswith(f"evidence for {predicted}")


def test_evidence_stands_alone_and_beside_the_attention(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    options = ["--evidence", "sum_1", "0", "--evidence_layer", "res2.0", "--html", "--film", "gif"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, *options)
    assert shown.code == 0
    evidence = ["evidence_sum_1", "evidence_sum_0"]
    stems = ["res3.0", *evidence, *(f"res3.0_{name}" for name in evidence)]
    pictures = {f"{stem}{suffix}" for stem in stems for suffix in (".png", ".gif")}
    assert {path.name for path in tmp_path.iterdir()} == {*pictures, "res3.0.npz", "evidence.npz", "explorer.html"}
    with Image.open(tmp_path / "res3.0.gif") as alone, Image.open(tmp_path / "res3.0_evidence_sum_1.gif") as both:
        assert both.width > 2 * alone.width
    with np.load(tmp_path / "evidence.npz") as arrays:
        assert arrays["classes"].tolist() == ["sum_1", "sum_0"]
        assert arrays["class_indices"].tolist() == [1, 0]
        assert arrays["probabilities"].sum() == pytest.approx(1)
        assert str(arrays["layer"]) == "res2.0"
        assert arrays["evidence"].shape == (2, *arrays["grid"].tolist())
        values = arrays["evidence"]
    data = data_of(tmp_path / "explorer.html")
    assert [block["quantity"] for block in data["blocks"]] == ["weight", "evidence", "evidence"]
    assert data["compare"] == 1  # opens beside the block
    with_auto = ["--evidence=auto", "--film", "none", "--out", tmp_path / "auto", "--evidence-layer=res2.0"]
    predicted = videonl("attention", "--checkpoint", checkpoint, "--video", video, *with_auto)
    with np.load(tmp_path / "auto" / "evidence.npz") as arrays:
        best = int(arrays["class_indices"][0])
        assert np.array_equal(arrays["evidence"][0], values[1 - best])
    assert f"the network predicts sum_{best}" in predicted.text


def test_evidence_of_two_checkpoints(videonl: Videonl, trained: Path, checkpoint: Path, video: Path, tmp_path) -> None:
    options = ["--compare", trained / "checkpoints" / "last.ckpt", "--html", "--film", "none", "--evidence"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, *options)
    assert shown.code == 0
    assert (tmp_path / "best" / "evidence.npz").exists() and (tmp_path / "last" / "evidence.npz").exists()
    data = data_of(tmp_path / "explorer.html")
    assert [block["source"] for block in data["blocks"]] == [0, 0, 1, 1]
    assert data["compare"] == 2


@pytest.mark.parametrize("names", [["a/b c", "true"], ["null", "[x]"], ["1", "0"], ["a: b", "auto"]], ids=str)
def test_classes_of_any_name(videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path, names: list[str]) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["videonl"]["class_names"] = names
    torch.save(content, tmp_path / "named.ckpt")
    out = ["--film", "none", "--out", tmp_path / "out", "--evidence", *names]
    assert videonl("attention", "--checkpoint", tmp_path / "named.ckpt", "--video", video, *out).code == 0
    with np.load(tmp_path / "out" / "evidence.npz") as arrays:
        asked = arrays["classes"].tolist()
    assert asked[0] == names[0]
    assert asked == names or names[1] == "auto"  # which means the predicted one


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--evidence", "sum_9"], "unknown class 'sum_9': the network has 2, such as sum_1, sum_0; give a name, or an"),
        (["--evidence", "2"], "index from 0 to 1"),
        (["--evidence", "--evidence_layer", "res9"], "'res9' is neither a stage (res2, res3, res4, res5)"),
        (["--evidence_layer", "res4.17"], "residual 17 of res4 does not exist; res4 has residuals 0 to 0"),
        (["--evidence_layer", "blocks.9"], "--evidence_layer names the module 'blocks.9', which the network does not"),
        (["--evidence_layer", "fc"], "choose a layer of (B, C, T, H, W)"),
    ],
)
def test_evidence_that_cannot_be_had_says_why(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    refused = videonl("attention", "--checkpoint", checkpoint, "--video", video, "--out", tmp_path, *options)
    assert refused.code == 2
    assert expected in refused.text
    assert not list(tmp_path.iterdir())


def test_a_block_that_averages_has_nothing_to_show(
    videonl: Videonl, with_blocks: Callable[..., Path], video: Path, tmp_path: Path
) -> None:
    se, gc = ({"block": name, "after": {stage: [0]}} for name, stage in (("se", "res2"), ("gc", "res3")))
    out = ["--video", video, "--film", "none", "--out", tmp_path / "out"]
    refused = videonl("attention", "--checkpoint", with_blocks("alone", se), *out)
    assert refused.code == 2
    assert "res2.0: these blocks average all positions, so they have no attention to show" in refused.text
    assert "--evidence" in refused.text and not (tmp_path / "out").exists()
    shown = videonl("attention", "--checkpoint", with_blocks("both", se, gc), *out)
    assert shown.code == 0
    assert "res2.0: averages all positions, no attention to show" in shown.text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"res3.0.png", "res3.0.npz"}


def test_a_block_that_reads_alike_everywhere_is_named(
    videonl: Videonl, with_blocks: Callable[..., Path], video: Path, tmp_path: Path
) -> None:
    blocks = [{"block": name, "after": {stage: [0]}} for name, stage in (("gc", "res2"), ("nonlocal", "res3"))]
    checkpoint = with_blocks("both", *blocks)
    out = ["--out", tmp_path / "out", "--film", "none", "--query", "grid:2x1x2"]
    shown = videonl("attention", "--checkpoint", checkpoint, "--video", video, *out)
    assert shown.code == 0
    assert "res2.0: global context, the same map for every query" in shown.text
    with np.load(tmp_path / "out" / "res2.0.npz") as arrays:
        assert (arrays["weights"] == arrays["weights"][0]).all()


def test_a_video_shorter_than_the_clip_says_what_stands_in(
    videonl: Videonl, checkpoint: Path, encode_video: Callable[..., Path], tmp_path: Path
) -> None:
    video = encode_video(tmp_path / "short.mp4", num_frames=3)
    options = ["--video", video, "--out", tmp_path / "out", "--film", "none", "--html"]
    shown = videonl("attention", "--checkpoint", checkpoint, *options)
    assert shown.code == 0
    assert f"{video} is shorter than the 5 frames that a clip covers" in shown.text
    assert "2 of 5 frames repeat the last one" in shown.text


def test_frames_that_repeat_in_a_long_video_are_not_blamed_on_its_length(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["videonl"]["clip"]["stride_seconds"] = 1e-4
    torch.save(content, tmp_path / "dense.ckpt")
    options = ["--video", video, "--out", tmp_path / "out", "--film", "none"]
    shown = videonl("attention", "--checkpoint", tmp_path / "dense.ckpt", *options)
    assert shown.code == 0
    assert "has fewer frames than a clip needs: 3 of 5 frames of the clip repeat the previous one" in shown.text


def test_a_file_name_that_looks_like_markup(videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<img src=x onerror=alert(1)> [bold].mp4"
    odd.write_bytes(video.read_bytes())
    options = ["--video", odd, "--out", tmp_path / "out", "--film", "none", "--html"]
    assert videonl("attention", "--checkpoint", checkpoint, *options).code == 0
    text = (tmp_path / "out" / "explorer.html").read_text()
    assert "<img src=x" not in text
    assert data_of(tmp_path / "out" / "explorer.html")["video"] == odd.name


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("9,0,0", "query (9, 0, 0) lies outside the clip"),
        ("here", "'here' is not three whole numbers"),
        ("grid:9x1x1", "1 to 5 parts in time"),
    ],
)
def test_a_bad_query_is_named(
    videonl: Videonl, checkpoint: Path, video: Path, tmp_path: Path, query: str, expected: str
) -> None:
    out = ["--out", tmp_path, "--query", "auto", "--query", query]
    refused = videonl("attention", "--checkpoint", checkpoint, "--video", video, *out)
    assert refused.code == 2
    assert expected in refused.text
    assert not list(tmp_path.iterdir())


def test_a_clip_goes_through_the_network_once(
    videonl: Callable[..., Any], trained: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    forward = ClipClassifier.forward

    def noted(network: ClipClassifier, clip: torch.Tensor) -> torch.Tensor:
        if clip.device.type != "meta" and clip.any():  # probes have shapes alone, or zeros
            passes.append(clip.shape)
        return forward(network, clip)

    monkeypatch.setattr(ClipClassifier, "forward", noted)
    video = next((clips / "test").glob("*/*.mp4"))
    words = ["--checkpoint", trained / "checkpoints" / "best.ckpt", "--video", video, "--out", tmp_path / "out"]
    assert videonl("attention", *words, "--html", "--evidence", "sum_0", "sum_1", "--film", "none").code == 0
    assert passes == [(1, 3, 5, 31, 31)]
