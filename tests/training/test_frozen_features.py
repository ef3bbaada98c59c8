"""Features of a frozen trunk on disk: equal results to the last bit, what makes a miss, and what is refused."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Execution, Insertion
from videonl.training import ClipModule, FreezeBackbone, KeepFrozenFeatures

Train = Callable[..., ClipModule]
Keep = Callable[..., KeepFrozenFeatures]
CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
NUM_STEPS, NUM_BATCHES = 6, 14  # of two epochs; with those of the validations


def pretrained(checkpoint: list[str] | None = None, seed: int = 3, block: str = "nonlocal") -> ClipClassifier:
    torch.manual_seed(seed)
    blocks = [Insertion(block, {"res4": [1]})]
    network = ClipClassifier(
        "c2d_r50", 3, blocks, width=4, batch_norm="frozen", execution=Execution(checkpoint=checkpoint or [])
    )
    torch.manual_seed(seed + 1)
    for path, weight in network.named_parameters():  # the same trunk, whatever the block drew
        if ".block." not in path and weight.requires_grad:
            nn.init.normal_(weight, std=0.1)
    return network


class Losses(Callback):
    def __init__(self) -> None:
        self.steps: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: dict[str, Tensor], *_: Any) -> None:
        self.steps.append(float(outputs["loss"]))


class Run:
    """A training: its losses, its weights, and what ran."""

    def __init__(self, train: Train, keep: Callback | None, network: nn.Module | None = None, **options: Any) -> None:
        network, losses, self.runs = network or pretrained(), Losses(), Counter[str]()
        # Deeper than what is skipped, and copied with the network that validates.
        network.network.blocks[1].res_blocks[0].branch2.conv_a.__class__ = counting(self.runs)
        kept = [keep] if keep else []
        self.module = train([FreezeBackbone(trained=["res5"]), *kept, losses], network=network, **options)
        self.losses, self.state = losses.steps, self.module.network.state_dict()
        self.scores = [score.logits for score in self.module.scores]

    def equals(self, other: "Run") -> bool:
        own, others = [*self.state.values(), *self.scores], [*other.state.values(), *other.scores]
        same = all(torch.equal(*pair) for pair in zip(own, others, strict=True))
        return self.losses == other.losses and same


def counting(runs: Counter[str]) -> type[nn.Conv3d]:
    class Counting(nn.Conv3d):
        def forward(self, x: Tensor) -> Tensor:
            runs["trunk"] += 1
            return super().forward(x)

    return Counting


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def last_count(caplog: pytest.LogCaptureFixture) -> tuple[int, int]:
    """Batches of the last run that were read, and all."""
    found = re.findall(r"frozen features of (\d+) of (\d+) batches were read", caplog.text)
    return int(found[-1][0]), int(found[-1][1])


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    return lambda **options: KeepFrozenFeatures(tmp_path / "features", **options)


@pytest.mark.parametrize("checkpoint", [[], ["res2", "res4"]], ids=["kept", "recomputed"])
def test_a_further_run_reads_the_trunk_and_is_the_same_to_the_last_bit(
    train: Train, keep: Keep, caplog: pytest.LogCaptureFixture, checkpoint: list[str]
) -> None:
    plain = Run(train, None, pretrained(checkpoint))
    first = Run(train, keep(), pretrained(checkpoint))
    # The trunk stays as it is, so the second validation is the first.
    assert last_count(caplog) == ((NUM_BATCHES - NUM_STEPS) // 2, NUM_BATCHES)
    again = Run(train, keep(), pretrained(checkpoint))
    assert last_count(caplog) == (NUM_BATCHES, NUM_BATCHES)
    assert plain.equals(first) and plain.equals(again)
    # Besides the probe of the frozen part, and those of the folded copies.
    assert (plain.runs["trunk"] - again.runs["trunk"]) == NUM_BATCHES - 1
    assert not any("forward" in vars(part) for part in again.module.modules())
    assert plain.state.keys() == again.state.keys()


def test_another_trunk_is_not_mistaken(train: Train, keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    Run(train, keep(), max_epochs=1)
    Run(train, keep(), pretrained(seed=7), max_epochs=1)
    assert last_count(caplog)[0] == 0
    Run(train, keep(), pretrained(block="gc"), max_epochs=1)  # another block after the same trunk
    assert len(set(last_count(caplog))) == 1


def test_damaged_files_are_replaced_and_a_full_folder_takes_no_more(
    train: Train, keep: Keep, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    first = Run(train, keep(), max_epochs=1)
    for path in (tmp_path / "features").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    again = Run(train, keep(), max_epochs=1)
    assert (last_count(caplog)[0], caplog.text.count("is damaged")) == (0, 1)
    Run(train, keep(), max_epochs=1)
    assert len(set(last_count(caplog))) == 1
    full = Run(train, KeepFrozenFeatures(tmp_path / "full", max_gb=1e-9), max_epochs=1)
    assert caplog.text.count("has reached its limit") == 1 and not list((tmp_path / "full").glob("*"))
    assert first.equals(again) and first.equals(full)


def test_what_is_not_frozen_is_refused(train: Train, keep: Keep) -> None:
    with pytest.raises(UserError, match="0 trains; add FreezeBackbone"):
        train([keep()])
    network = pretrained()
    network.network.compile()
    with pytest.raises(UserError, match=r"execution.compile: false"):
        train([keep()], network=network)


def test_norms_that_take_statistics_are_refused(train: Train, keep: Keep, network: nn.Sequential) -> None:
    network[:6].requires_grad_(False)
    with pytest.raises(UserError, match=r"1 changes its buffers.*batch_norm: frozen"):
        train([keep()], network=network)


def test_a_resumed_run_reads_on(train: Train, keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    whole = Run(train, None)
    Run(train, keep(), folder="parts", until_step=4)
    Run(train, keep(), folder="parts", until_step=4)  # the same steps again, from the folder
    resumed = Run(train, keep(), folder="parts", resume=True)
    assert whole.losses[-len(resumed.losses) :] == resumed.losses
    assert all(torch.equal(whole.state[name], value) for name, value in resumed.state.items())


def test_another_precision_is_computed_anew(train: Train, keep: Keep, caplog: pytest.LogCaptureFixture) -> None:
    Run(train, keep(), max_epochs=1, val=False)
    first = Run(train, keep(), max_epochs=1, val=False, precision="bf16-mixed")
    assert last_count(caplog)[0] == 0
    again = Run(train, keep(), max_epochs=1, val=False, precision="bf16-mixed")
    assert len(set(last_count(caplog))) == 1 and first.equals(again)


def test_a_test_reads_too(train: Train, keep: Keep, caplog: pytest.LogCaptureFixture, video_folder: Path) -> None:
    module = Run(train, None, max_epochs=1).module
    logits = []
    for callback in (None, keep(), keep()):
        kept = [callback] if callback else []
        trainer = Trainer(accelerator="cpu", logger=False, callbacks=[FreezeBackbone(trained=["res5"]), *kept])
        data = ClipDataModule(None, None, str(video_folder), clip=CLIP, loading=Loading(num_workers=0, decoder="pyav"))
        trainer.test(module, data, verbose=False)
        logits.append(torch.cat([score.logits for score in module.scores]))
    assert len(set(last_count(caplog))) == 1
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])
