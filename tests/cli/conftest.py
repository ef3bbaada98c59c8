"""A data set and a training small enough for tests, and the command line run in this process."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

import videonl.cli.run  # Lightning binds its log to the stderr of the moment it is first imported
from tests.small_weights import CLIP
from videonl.cli.main import main
from videonl.data.synthetic.dataset import SyntheticSettings, write_synthetic
from videonl.models import ClipClassifier, Insertion
from videonl.models.weights import Weights

SMALL = """
extends: experiment/demo/nonlocal.yaml
trainer: {max_epochs: 1, accelerator: cpu, log_every_n_steps: 1, enable_progress_bar: false, num_sanity_val_steps: 0}
model:  # ten layers, which take less time than fifty to build, to count, to write and to run
  network:
    init_args:
      {backbone: hara_r3d, backbone_options: {depth: 10}, width: 3, blocks: [{block: nonlocal, after: {res3: [0]}}]}
data:
  clip: {num_frames: 5, short_side_px: 37, crop_px: 31}
  augmentation: {short_side_px: [37, 41]}
  test_views: {num_clips: 2, num_crops: 3}
  loading: {batch_size: 5, num_workers: 0}
run: {wandb: disabled, keep_memory: false}  # memory that the tests' process keeps would hide from other tests
"""


class Ran(NamedTuple):
    """What a command line did: its exit code, and all it printed on one line."""

    code: int
    text: str


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 training, 7 validation and 11 test clips of two classes."""
    folder = tmp_path_factory.mktemp("data") / "synthetic"
    write_synthetic(folder, SyntheticSettings(num_train=13, num_val=7, num_test=11, size_px=38, num_frames=7))
    return folder


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A configuration that trains on the clips within seconds."""
    path = tmp_path_factory.mktemp("configs") / "small.yaml"
    shipped = Path(__file__).resolve().parents[2] / "configs"
    text = SMALL.replace("extends: ", f"extends: {shipped}/").replace("data:\n", f"data:\n  root: {clips}\n")
    path.write_text(text)
    return path


@pytest.fixture
def c2d_config(small_config: Path, tmp_path: Path) -> Path:
    """The small training, of that backbone."""
    init_args = "{backbone: c2d_r50, backbone_options: null, blocks: [{block: nonlocal, after: {res3: [3]}}]}"
    path = tmp_path / "c2d.yaml"
    path.write_text(f"extends: {small_config}\nmodel: {{network: {{init_args: {init_args}}}}}\n")
    return path


@pytest.fixture
def videonl(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """``videonl("fit", "--config", ...)`` runs a command and returns its exit code and output."""

    def run(*words: object) -> Ran:
        capfd.readouterr()
        threads = torch.get_num_threads()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:  # the argument parser's own way to end
            code = int(stopped.code or 0)
        finally:
            torch.set_num_threads(threads)  # a benchmark has one of its own, and results depend on it in the last digit
        captured = capfd.readouterr()
        return Ran(code, " ".join((captured.out + captured.err).split()))

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_config: Path) -> Path:
    """The folder of a finished small training."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["fit", "--config", str(small_config), "--run.dir", str(run)]) == 0
    return run


@pytest.fixture(scope="session")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of ten layers and a block: tracing takes the longer the more layers there are."""
    path = tmp_path_factory.mktemp("weights") / "shallow.pt"
    insertion = Insertion("nonlocal", ["res3"])
    network = ClipClassifier("hara_r3d", 2, [insertion], width=3, backbone_options={"depth": 10})
    Weights(
        network.network.state_dict(),
        "drawn",
        network.settings,
        clip={**CLIP, "stride_frames": 1},
        class_names=["a", "b"],
    ).save(path)
    return path


@pytest.fixture
def with_blocks(trained: Path, tmp_path: Path) -> Callable[..., Path]:
    """``with_blocks(name, {"block": ..., "after": ...}, ...)``: the checkpoint of a network with these, untrained."""

    def write(name: str, *blocks: dict[str, Any]) -> Path:
        content = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
        settings = content["videonl"]["network"] | {"blocks": list(blocks)}
        state = ClipClassifier.from_settings(settings).state_dict()
        content["videonl"]["network"] = settings
        content["state_dict"] = {f"network.{key}": value for key, value in state.items()}
        torch.save(content, tmp_path / f"{name}.ckpt")
        return tmp_path / f"{name}.ckpt"

    return write


@pytest.fixture(scope="session")
def steps_of() -> Callable[[Path], list[dict[str, str]]]:
    """The rows that a run has logged, without those that say how fast it went: these never repeat."""

    def read(run: Path) -> list[dict[str, str]]:
        with (run / "logs" / "fit" / "version_0" / "metrics.csv").open(newline="") as file:
            rows = [
                {name: value for name, value in row.items() if not name.startswith("throughput/") and value}
                for row in csv.DictReader(file)
            ]
        return [row for row in rows if row.keys() - {"epoch", "step"}]

    return read
