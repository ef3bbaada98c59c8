"""Everything on a device that is not the CPU: with values, gradients, and no tensor left behind."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from videonl.blocks import BLOCKS, AttentionBlock
from videonl.data.mixing import Mixing
from videonl.data.transforms import ClipFormat
from videonl.evaluation import VideoScores
from videonl.evaluation.metrics import metrics_of
from videonl.inference import Recognizer
from videonl.models import ClipClassifier, Insertion
from videonl.tasks import MultiLabel, SingleLabel, Task
from videonl.tasks.loss import Loss
from videonl.visualization import attention_maps, evidence_maps, last_features

CHANNELS, GRID = 11, (3, 5, 7)
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "nonlocal": [
        *({"pairwise": pairwise} for pairwise in ("gaussian", "embedded_gaussian", "dot_product", "concatenation")),
        *({"reach": reach} for reach in ("space", "time")),
        {"reach": "groups", "group_frames": 2, "subsample": False},
        {"pairwise": "concatenation", "pool_order": "pre"},
    ],
    "global_context": [{"fusion": "multiply_from_one"}, {"pooling": "average", "transform": "linear"}],
}
CASES = [(name, options) for name in BLOCKS for options in OPTIONS.get(name, [{}])]
NETWORKS: dict[str, dict[str, Any]] = {
    **{name: {"width": 4} for name in ("c2d_r50", "i3d_r50", "slow_r50")},
    "slowfast_r50": {"width": 8},
}
CLIP = ClipFormat(num_frames=5, short_side_px=37, crop_px=33)
COUNTS, NAMES = [61, 23, 5], ["walk", "run", "fall"]


def drawn(*size: int, seed: int = 3) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def build(name: str, options: dict[str, Any]) -> tuple[AttentionBlock, list[Tensor]]:
    """A block whose every number is drawn, and its inputs."""
    low = {"low_channels": 13} if BLOCKS[name].takes_low else {}
    block = BLOCKS[name](CHANNELS, **low, **options)
    with torch.no_grad():
        for seed, parameter in enumerate(block.parameters()):
            parameter.copy_(drawn(*parameter.shape, seed=seed) / 3)
    return block, [drawn(2, CHANNELS, *GRID), *([drawn(2, 13, *GRID, seed=5)] if low else [])]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_blocks_and_their_gradients(elsewhere: torch.device, name: str, options: dict[str, Any]) -> None:
    block, given = build(name, options)
    there, moved = copy.deepcopy(block).to(elsewhere), [part.to(elsewhere) for part in given]
    results = []
    # Autograd refuses to differentiate a matrix of one row, which it takes for a vector, where a tensor is wrapped.
    has_gradients = options.get("pairwise") != "concatenation"
    for one, parts in ((block, given), (there, moved)):
        parts = [part.detach().requires_grad_() for part in parts]
        output = one(*parts)
        wanted = [*parts, *one.parameters()] if has_gradients else []
        results.append([output, *(torch.autograd.grad(output.square().sum(), wanted) if wanted else [])])
    assert all(value.device == elsewhere for value in results[1])
    for here, other in zip(*results, strict=True):
        torch.testing.assert_close(other.detach().cpu(), here.detach(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_attention_of_blocks(elsewhere: torch.device, name: str, options: dict[str, Any]) -> None:
    block, given = build(name, options)
    queries = torch.tensor([0, 17, 103])
    expected = block.attention(given[0], queries, *given[1:])
    moved = [part.to(elsewhere) for part in given]
    weights = block.to(elsewhere).attention(moved[0], queries.to(elsewhere), *moved[1:])
    assert weights.device == elsewhere
    torch.testing.assert_close(weights.detach().cpu(), expected.detach())


@pytest.fixture
def network() -> ClipClassifier:
    torch.manual_seed(0)
    made = ClipClassifier("i3d_r50", 3, [Insertion("nonlocal", ["res3"]), Insertion("gc", ["res4"])], width=3)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.1, 0.3)  # norms and blocks that do something
    return made.eval()


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "trained") for name in NETWORKS), ("i3d_r50", "frozen"), ("i3d_r50", "affine")]
)
def test_networks_in_training(elsewhere: torch.device, name: str, mode: Any) -> None:
    options = dict(NETWORKS[name])
    classifier = ClipClassifier(
        name, 3, [Insertion("nonlocal", ["res3"])], options.pop("width", None), batch_norm=mode
    ).to(elsewhere)
    frames = 32 if name == "slowfast_r50" else 8
    logits = classifier.train()(drawn(2, 3, frames, 33, 35).to(elsewhere))
    logits.square().mean().backward()
    assert logits.device == elsewhere
    assert all(weight.grad is None or weight.grad.device == elsewhere for weight in classifier.parameters())
    assert any(weight.grad is not None for weight in classifier.parameters())


@pytest.mark.parametrize("kind", ["cross_entropy", "focal"])
@pytest.mark.parametrize("weights", ["none", "inverse", "effective"])
@pytest.mark.parametrize("task", [SingleLabel, MultiLabel])
def test_losses_and_hits(elsewhere: torch.device, task: type[Task], kind: str, weights: str) -> None:
    loss = Loss(kind, class_weights=weights, logit_adjustment=0.7 if task is SingleLabel else 0.0)
    positive = [2.0, 3.0, 5.0] if task is MultiLabel else None
    judge = task(positive, loss, loss.weights(COUNTS, NAMES), loss.adjustment(COUNTS))
    logits, soft = drawn(7, 3), drawn(7, 3, seed=5).softmax(dim=1)
    for target in (soft, torch.tensor([0, 1, 2, 0, 0, 1, 2])) if task is SingleLabel else (soft.round(),):
        there = logits.to(elsewhere).requires_grad_()
        value = judge.loss(there, target.to(elsewhere), 0.1)
        value.backward()
        assert there.grad is not None and there.grad.device == elsewhere
        torch.testing.assert_close(value.detach().cpu(), judge.loss(logits, target, 0.1))
        assert judge.hits(there, target.to(elsewhere)).cpu().tolist() == judge.hits(logits, target).tolist()


def test_views_are_scored_and_their_metrics_found(elsewhere: torch.device, network: ClipClassifier) -> None:
    views, video = (drawn(6, 3, 5, 33, 33) * 50 + 100).clamp(0, 255).byte(), torch.tensor([3, 3, 3, 5, 5, 5])
    numbers, labels = torch.tensor([[clip, 0] for clip in (0, 1, 2)] * 2), torch.tensor([1, 1, 1, 2, 2, 2])
    expected = Recognizer(copy.deepcopy(network), CLIP, views_per_step=2).logits_of_videos(views, video)
    recognizer = Recognizer(network.to(elsewhere), CLIP, views_per_step=2)
    logits = recognizer.logits_of_videos(views, video)  # the views come from a loader, on the CPU
    assert logits.device == recognizer.device == elsewhere
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-4, atol=1e-5)
    scores = VideoScores()
    scores.update(logits, numbers, video, labels, ["a.mp4"] * 3 + ["b.mp4"] * 3)
    assert all(score.logits.device.type == "cpu" for score in scores.gather())
    assert metrics_of(scores.gather()).keys() >= {"top1", "macro_f1"}


def test_attention_and_evidence_of_a_network(elsewhere: torch.device, network: ClipClassifier) -> None:
    clip = drawn(1, 3, 8, 33, 37)
    seen = []
    for one, given in ((network, clip), (copy.deepcopy(network).to(elsewhere), clip.to(elsewhere))):
        attention = attention_maps(one, one.blocks, given, [None, (3, 11, 7)])
        layer = last_features(one, given)
        evidence = evidence_maps(one, layer, given, {0: "walk", 2: "fall"})
        seen.append([*(shown.values for maps in attention.values() for shown in maps), *(e.values for e in evidence)])
    for here, there in zip(*seen, strict=True):
        assert there.device.type == "cpu"  # to be drawn
        torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot view one subclass as another")
@pytest.mark.parametrize("mixing", [Mixing(mixup_alpha=0.7), Mixing(cutmix_alpha=0.7)])
@pytest.mark.parametrize("several", [False, True])
def test_clips_are_mixed(
    elsewhere: torch.device, mixing: Mixing, several: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tensor that is wrapped cannot be of torchvision's class too, by which it checks the number of axes.
    monkeypatch.setattr("videonl.data.mixing.tv_tensors", SimpleNamespace(Video=lambda clip: clip))
    monkeypatch.setattr(v2.MixUp, "_check_image_or_video", lambda *_, **__: None)
    monkeypatch.setattr(v2.CutMix, "_check_image_or_video", lambda *_, **__: None)
    clip, label = (drawn(5, 3, 4, 7, 11) * 50 + 100).clamp(0, 255).byte(), torch.tensor([0, 1, 2, 0, 1])
    label = nn.functional.one_hot(label).float() if several else label
    expected = mixing(clip, label, 3, (3, 5))
    found = mixing(clip.to(elsewhere), label.to(elsewhere), 3, (3, 5))
    for here, there in zip(expected, found, strict=True):
        assert there.device == elsewhere
        torch.testing.assert_close(there.cpu(), here)


class Forgetful(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.ones(x.shape[-1])


def test_a_tensor_left_on_the_cpu_fails(elsewhere: torch.device) -> None:
    with pytest.raises(RuntimeError, match="mixes tensors of two devices"):
        Forgetful()(drawn(3, 5).to(elsewhere))
    assert Forgetful()(drawn(3, 5)).device.type == "cpu"
