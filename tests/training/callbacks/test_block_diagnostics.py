"""Gains and entropies against formulas, and that a training with them is the training without them."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn

from videonl.blocks import BLOCKS, AttentionBlock
from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.diagnostics.saturation import Softmax, measure_softmax
from videonl.models import ClipClassifier
from videonl.models.placement import Insertion
from videonl.training import ClipModule, SeedSteps
from videonl.training.callbacks import BlockDiagnostics
from videonl.training.callbacks.block_diagnostics import fixed_clips, gains

CLIP = ClipFormat(num_frames=5, stride_frames=2, short_side_px=37, crop_px=31)


class Given(AttentionBlock):
    """A block with weights of the test's choice over a (1, 2, 2) key grid."""

    def __init__(self, weights: list[float]) -> None:
        super().__init__()
        self.weights = torch.tensor(weights)
        self.asked: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        return x

    def attention(self, x: Tensor, queries: Tensor) -> Tensor:
        self.asked = queries.tolist()
        return self.weights.expand(len(x), len(queries), 4).reshape(len(x), -1, 1, 2, 2)


def entropies(module: nn.Module, blocks: Any, clips: Tensor) -> dict[str, float]:
    return {f"{name}/entropy": softmax.entropy for name, softmax in measure_softmax(module, blocks, clips).items()}


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([0.25, 0.25, 0.25, 0.25], 1.0),
        ([1.0, 0.0, 0.0, 0.0], 0.0),
        ([0.5, 0.5, 0.0, 0.0], 0.5),  # log 2 / log 4
        ([0.7, 0.1, 0.1, 0.1], -(0.7 * math.log(0.7) + 0.3 * math.log(0.1)) / math.log(4)),
    ],
)
def test_entropy_is_normalized_by_the_number_of_keys(weights: list[float], expected: float) -> None:
    block = Given(weights)
    found = entropies(block, {"res4.3": block}, torch.randn(2, 3, 3, 5, 7))
    assert found.keys() == {"res4.3/entropy"}
    assert float(found["res4.3/entropy"]) == pytest.approx(expected, abs=1e-6)
    assert len(block.asked) == len(set(block.asked)) == 64
    assert 0 <= min(block.asked) <= max(block.asked) < 3 * 5 * 7
    entropies(block, {"res4.3": block}, torch.randn(2, 3, 1, 5, 7))
    assert block.asked == list(range(35))  # fewer than 64 positions


def test_a_saturated_block_is_named_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    diagnostics = BlockDiagnostics()
    for num_read in (2.0, 1.0, 1.0):
        diagnostics._warn({"res3.1": Softmax(0.5, 9.0, 3.0), "res4.3": Softmax(0.1, num_read, None)})
    (warning,) = caplog.messages
    assert warning.startswith("block res4.3 has a saturated softmax: a query attends to effectively 1.00 keys")
    assert "affinity_factor: 0.1" in warning


def test_gain_is_the_size_of_the_norms_weight_or_of_gamma() -> None:
    nonlocal_block, criss_cross, se = BLOCKS["nonlocal"](6), BLOCKS["criss_cross"](6), BLOCKS["se"](6)
    with torch.no_grad():
        nonlocal_block.norm.weight.copy_(torch.tensor([1.0, -2.0, 3.0, 0.0, 0.0, 0.0]))
        for name, parameter in criss_cross.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(-0.25)
    found = gains({"a": nonlocal_block, "b": criss_cross, "c": se})
    assert found == pytest.approx({"a/gamma": (14 / 6) ** 0.5, "b/gamma": 0.25})


def network(blocks: list[Insertion]) -> ClipClassifier:
    torch.manual_seed(3)
    built = ClipClassifier("c2d_r50", num_classes=3, blocks=blocks, width=3, dropout=0.5)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built


EVERY = [name for name in BLOCKS if name != "asymmetric_fusion"]


@pytest.mark.parametrize("name", EVERY)
def test_every_block_can_be_diagnosed(name: str, video_folder: Path) -> None:
    module = ClipModule(network([Insertion(block=name, after={"res4": [1]})]), ["a", "b", "c"], CLIP)
    clips = fixed_clips(ClipDataModule(train=str(video_folder), clip=CLIP, loading=Loading(num_workers=0)), 2)
    found = entropies(module, module.network.blocks, clips)  # type: ignore[arg-type]  # of nn.Module anything is one
    assert found.keys() == (set() if name == "se" else {"res4.1/entropy"})
    assert all(0 <= float(value) <= 1 for value in found.values())


def test_an_entropy_in_a_network_is_that_of_the_blocks_own_weights(video_folder: Path) -> None:
    module = ClipModule(network([Insertion(block="nonlocal", after={"res4": [1]})]), ["a", "b", "c"], CLIP)
    data = ClipDataModule(train=str(video_folder), clip=CLIP, loading=Loading(num_workers=0))
    clips = fixed_clips(data, 3)
    block = module.network.blocks["res4.1"]  # type: ignore[index]  # likewise
    expected: list[float] = []

    def note(_: nn.Module, features: tuple[Tensor], output: Tensor) -> None:
        num_positions = features[0][0, 0].numel()
        weights = block.attention(features[0], torch.arange(num_positions)).double().flatten(2)[0]
        entropy = torch.distributions.Categorical(probs=weights).entropy() / math.log(weights.shape[1])
        assert num_positions < 64
        expected.append(float(entropy.mean()))

    block.register_forward_hook(note)
    module.eval()
    with torch.no_grad():
        for clip in clips:
            module(clip[None])
    expected_mean = sum(expected) / 3
    found = entropies(module, {"res4.1": block}, clips)
    assert float(found["res4.1/entropy"]) == pytest.approx(expected_mean, abs=1e-5)


def test_dot_products_are_no_distribution_and_have_a_gain_alone() -> None:
    module = network([Insertion(block="nonlocal", after={"res4": [1]}, options={"pairwise": "dot_product"})])
    assert entropies(module, module.blocks, torch.zeros(1, 3, 5, 31, 31)) == {}
    assert gains(module.blocks).keys() == {"res4.1/gamma"}


def test_the_clips_are_the_same_each_time_and_of_the_validation_where_there_is_one(
    video_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "val.csv").write_text(
        "".join(f"{path} {path.parent.name}\n" for path in sorted(video_folder.glob("[bc]/*")))
    )
    loading = Loading(num_workers=0)
    training = ClipDataModule(train=str(video_folder), clip=CLIP, loading=loading)
    both = ClipDataModule(train=str(video_folder), val=str(tmp_path / "val.csv"), clip=CLIP, loading=loading)
    state = torch.get_rng_state()
    first, again = fixed_clips(training, 3), fixed_clips(training, 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.shape == (3, 3, 5, 31, 31) and torch.equal(first, again)
    assert not torch.equal(first, fixed_clips(both, 3))
    assert len(fixed_clips(training, 50)) == 7  # all there are


def fit(video_folder: Path, directory: Path, extra: list[Any], num_workers: int, precision: str) -> tuple[Any, Any]:
    seed_everything(7, verbose=False)
    blocks = [
        Insertion(block="nonlocal", after={"res3": [1]}),
        Insertion(block="asymmetric_fusion", after={"res4": [1]}, low="res3.0"),
    ]
    data = ClipDataModule(
        train=str(video_folder),
        val=str(video_folder),
        clip=CLIP,
        augmentation=Augmentation(short_side_px=(37, 41)),
        loading=Loading(batch_size=2, num_workers=num_workers),
    )
    module = ClipModule(network(blocks), data.class_names, CLIP)
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        precision=precision,  # type: ignore[arg-type]  # a string is one of Lightning's literals
        logger=False,
        callbacks=[SeedSteps(5), *extra],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=directory,
    )
    trainer.fit(module, data)
    return module.state_dict(), (torch.get_rng_state(), trainer)


@pytest.mark.parametrize(("num_workers", "precision"), [(0, "32-true"), (1, "bf16-mixed")])
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # Lightning 2.6 with torch 2.15
def test_a_training_with_diagnostics_is_the_training_without_them(
    video_folder: Path, tmp_path: Path, num_workers: int, precision: str
) -> None:
    options = (num_workers, precision)
    plain, (plain_random, _) = fit(video_folder, tmp_path, [], *options)
    diagnosed, (random, trainer) = fit(video_folder, tmp_path, [BlockDiagnostics(3)], *options)
    assert all(torch.equal(diagnosed[name], weight) for name, weight in plain.items())
    assert torch.equal(random, plain_random)
    logged = {name: float(value) for name, value in trainer.logged_metrics.items() if name.startswith("blocks/")}
    assert {"blocks/res3.1/gamma", "blocks/res3.1/entropy", "blocks/res4.1/entropy"} == logged.keys()
    assert all(0 < value < 1.5 for value in logged.values())
