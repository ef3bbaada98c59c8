"""One step of training and of evaluation, without a trainer."""

import copy
from dataclasses import asdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videonl.blocks import BLOCKS
from videonl.data.batches import Failure
from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.tasks.loss import Loss
from videonl.training import ClipModule, Optimization

CLASS_NAMES = ["wave", "clap", "jump"]
FORMAT = ClipFormat(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


class Spy(nn.Module):
    """Keeps what it is given; its logits are the means of the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.gain = nn.Parameter(torch.tensor(2.0))

    def forward(self, clip: Tensor) -> Tensor:
        self.seen.append(clip.detach().clone())
        return self.gain * clip.mean(dim=(2, 3, 4))


def module_of(network: nn.Module, monkeypatch: pytest.MonkeyPatch | None = None, **options: Any) -> ClipModule:
    module = ClipModule(network, CLASS_NAMES, FORMAT, **options)
    if monkeypatch is not None:  # logging needs a trainer
        module.logged = {}
        monkeypatch.setattr(module, "log", lambda name, value, **_: module.logged.update({name: float(value.detach())}))
        monkeypatch.setattr(module, "log_dict", lambda values, **_: module.logged.update(values))
    return module


def clips(batch: int = 5, size: tuple[int, int, int] = (3, 5, 7)) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)


def normalized_by_hand(clip: Tensor) -> Tensor:
    channels = [(clip[:, i].double() / 255 - FORMAT.mean[i]) / FORMAT.std[i] for i in range(3)]
    return torch.stack(channels, dim=1).float()


def classifier() -> ClipClassifier:
    torch.manual_seed(3)
    network = ClipClassifier("i3d_r50", 3, [Insertion("nonlocal", {"res3": [1]})], width=4, dropout=0.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.7)
    return network


def training_batch() -> dict[str, Any]:
    return {"clip": clips(), "label": torch.tensor([0, 1, 2, 1, 0]), "failures": []}


def evaluation_batch() -> dict[str, Any]:
    video = torch.tensor([3, 3, 0, 0, 7])
    paths = [f"{index}.mp4" for index in video.tolist()]
    view = torch.tensor([[0, 0], [0, 1], [0, 0], [0, 1], [0, 0]])
    return {"clip": clips(), "view": view, "video": video, "label": video % 3, "path": paths, "failures": []}


@pytest.mark.parametrize("channels_last", [True, False])
def test_network_sees_clips_normalized_once(channels_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(Spy(), monkeypatch, channels_last=channels_last)
    module(clips())
    module.training_step(training_batch(), 0)
    module.validation_step(evaluation_batch(), 0)
    trained, stepped, *evaluated = module.network.seen
    assert len(evaluated) == 3  # a video's views at once
    for seen in (trained, stepped, torch.cat(evaluated)):
        torch.testing.assert_close(seen, normalized_by_hand(clips()), rtol=1e-5, atol=1e-6)


def test_loss_is_the_cross_entropy(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(Spy(), monkeypatch)
    batch = training_batch()
    loss = module.training_step(batch, 0)
    logits = 2 * normalized_by_hand(batch["clip"]).mean(dim=(2, 3, 4))
    by_hand = [-F.log_softmax(row, dim=0)[label] for row, label in zip(logits, batch["label"], strict=True)]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    hits = (logits.argmax(dim=1) == batch["label"]).float().mean()
    assert module.logged == {"train/loss": pytest.approx(loss.item()), "train/top1": pytest.approx(hits.item())}
    loss.backward()
    assert module.network.gain.grad.abs() > 0


@pytest.mark.parametrize("wrong", [{"label_smoothing": 1.5}, {"label_smoothing": -0.1}, {"views_per_step": 0}])
def test_bad_values_are_refused_and_quoted(wrong: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    (name, value), *_ = wrong.items()
    with pytest.raises(UserError, match=f"{name} must .* got {value}"):
        module_of(Spy(), monkeypatch, **wrong)


@pytest.mark.parametrize(
    ("task", "option", "remedy"),
    [
        ("single_label", {"positive_weights": 2.0}, "positive_weights is for task: multi_label"),
        ("multi_label", {"loss": Loss(logit_adjustment=1.0)}, "set positive_weights for several"),
    ],
)
def test_options_of_the_other_task_are_refused(
    task: str, option: dict[str, Any], remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=remedy):
        module_of(Spy(), monkeypatch, task=task, **option)


def test_a_batch_that_leaves_a_norm_one_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [nn.Conv3d(3, 5, 1), nn.AdaptiveAvgPool3d(1), nn.BatchNorm3d(5), nn.Flatten(), nn.Linear(5, 3)]
    module = module_of(nn.Sequential(*layers), monkeypatch)
    assert module.training_step(training_batch(), 0).isfinite()
    alone = training_batch() | {"clip": clips()[:1], "label": torch.tensor([0])}
    with pytest.raises(UserError, match=r"a batch of 1 clip .*data\.loading\.batch_size"):
        module.training_step(alone, 0)


def test_label_smoothing_spreads_its_share_over_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = training_batch()
    module = module_of(Spy(), monkeypatch, label_smoothing=0.3)
    log_probabilities = F.log_softmax(2 * normalized_by_hand(batch["clip"]).mean(dim=(2, 3, 4)), dim=1)
    targets = 0.7 * F.one_hot(batch["label"], 3) + 0.3 / 3
    torch.testing.assert_close(module.training_step(batch, 0), -(targets * log_probabilities).sum(dim=1).mean())


def test_channels_last_changes_nothing_but_the_layout() -> None:
    network = classifier()
    plain = module_of(copy.deepcopy(network), channels_last=False)
    fast = module_of(network, channels_last=True)
    for module in (plain, fast):
        module.configure_model()
    clip = clips(batch=2, size=(5, 37, 41))
    weight = fast.network.network.blocks[1].res_blocks[0].branch2.conv_b.weight
    assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert not weight.is_contiguous()
    torch.testing.assert_close(fast.eval()(clip), plain.eval()(clip), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fast.train()(clip), plain.train()(clip), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_every_block_trains_with_channels_last(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    insertion = Insertion(block, {"res3": [1]}, low="res2" if BLOCKS[block].takes_low else None)
    module = module_of(ClipClassifier("c2d_r50", 3, [insertion], width=4), monkeypatch)
    module.configure_model()
    batch = {"clip": clips(batch=3, size=(5, 37, 41)), "label": torch.tensor([0, 2, 1]), "failures": []}
    module.training_step(batch, 0).backward()
    assert all(parameter.grad is not None for parameter in module.network.blocks["res3.1"].parameters())


@pytest.mark.parametrize("views_per_step", [1, 2, 32])
def test_evaluation_scores_every_video_whatever_the_views_per_step(views_per_step: int, monkeypatch) -> None:
    module = module_of(Spy(), monkeypatch, views_per_step=views_per_step)
    module.test_step(evaluation_batch(), 0)
    assert max(len(seen) for seen in module.network.seen) <= views_per_step
    module.on_test_epoch_end()
    assert [(score.video, score.path, score.label) for score in module.scores] == [
        (0, "0.mp4", 0),
        (3, "3.mp4", 0),
        (7, "7.mp4", 1),
    ]
    views = (2 * normalized_by_hand(clips()).mean(dim=(2, 3, 4))).softmax(dim=1).double()
    for score, expected in zip(module.scores, (views[2:4], views[:2], views[4:]), strict=True):
        torch.testing.assert_close(score.probabilities, expected.mean(dim=0), rtol=1e-5, atol=1e-6)
    assert set(module.logged) == {"test/top1", "test/mean_class", "test/macro_f1"}


def test_each_evaluation_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(Spy(), monkeypatch)
    module.validation_step(evaluation_batch(), 0)
    module.on_validation_epoch_end()
    assert len(module.scores) == 3
    module.on_validation_epoch_end()
    assert module.scores == []


def test_a_batch_that_could_not_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    failures = [Failure("x.mp4", "the file is empty")]
    batch = {"clip": torch.empty(0), "video": nothing, "label": nothing, "path": [], "failures": failures}
    module = module_of(Spy(), monkeypatch)
    module.predict_step(batch, 0)
    module.on_predict_epoch_end()
    assert module.scores == []
    assert module.unreadable == {"x.mp4": "the file is empty"}
    assert module.network.seen == []


def saved(module: ClipModule) -> dict[str, Any]:
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


def test_checkpoint_says_how_to_rebuild_its_network() -> None:
    module = module_of(classifier())
    about = saved(module)["videonl"]
    assert about == {"network": module.network.settings, "class_names": CLASS_NAMES, "clip": asdict(FORMAT)}
    assert saved(module_of(Spy()))["videonl"]["network"] is None


def test_own_checkpoint_is_accepted() -> None:
    checkpoint = saved(module_of(classifier()))
    module = module_of(classifier())
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"])


@pytest.mark.parametrize(
    ("class_names", "told"),
    [
        (["clap", "wave", "jump"], ["another order"]),
        (["wave", "clap"], ["2 against 3 classes", "jump"]),
        (["wave", "clap", "run"], ["3 against 3 classes", "'run'", "'jump'"]),
    ],
)
def test_checkpoint_of_other_classes_is_refused(class_names: list[str], told: list[str]) -> None:
    module = module_of(classifier())
    checkpoint = saved(module)
    checkpoint["videonl"]["class_names"] = class_names
    with pytest.raises(UserError) as caught:
        module.on_load_checkpoint(checkpoint)
    for words in ["other classes", *told]:
        assert words in str(caught.value)


def test_checkpoint_of_another_network_is_refused() -> None:
    checkpoint = saved(module_of(ClipClassifier("i3d_r50", 3, width=4)))
    with pytest.raises(UserError, match=r"another network: 13 weights .*block"):
        module_of(classifier()).on_load_checkpoint(checkpoint)


def test_optimizer_sees_the_networks_parameters_and_moves_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(classifier(), optimization=Optimization(lr=0.3, schedule="step", milestone_fractions=(0.5,)))

    class FakeTrainer:
        estimated_stepping_batches = 4

    monkeypatch.setattr(ClipModule, "trainer", FakeTrainer())
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    grouped = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    assert grouped == set(module.network.parameters())
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert rates == [[0.3, 0.3], [0.3, 0.3], [pytest.approx(0.03)] * 2, [pytest.approx(0.03)] * 2]
