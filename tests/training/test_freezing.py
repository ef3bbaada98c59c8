"""A backbone that is frozen for some epochs: what moves when, at which rate, and after an interruption."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from videonl.data.transforms import ClipFormat
from videonl.errors import UserError
from videonl.models import ClipClassifier, Execution, Insertion
from videonl.training import ClipModule, FreezeBackbone, Optimization
from videonl.training.layers import backbone_parameters, layers

Train = Callable[..., ClipModule]
CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)


class Watch(Callback):
    """Keeps the state before each epoch and the rates of each step."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []
        self.rates: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.states.append({name: value.clone() for name, value in pl_module.network.state_dict().items()})

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        (optimizer,) = trainer.optimizers
        self.rates += {group["lr"] for group in optimizer.param_groups}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_train_epoch_end(trainer, pl_module)


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_head_trains_first_and_the_backbone_joins_at_the_rate_of_the_schedule(train: Train) -> None:
    watch = Watch()
    train([FreezeBackbone(num_epochs=2), watch], max_epochs=3, optimization=Optimization(lr=0.1, schedule="cosine"))
    first, second, third = (moved(*pair) for pair in zip(watch.states, watch.states[1:], strict=False))
    assert first == second == {"9.weight", "9.bias"}
    assert third == watch.states[0].keys()
    # Nine steps of one cosine, to which the backbone's rate belongs from the start.
    assert watch.rates == pytest.approx([0.05 * (1 + math.cos(math.pi * step / 9)) for step in range(9)])


def test_inserted_blocks_train_with_the_head(train: Train) -> None:
    watch = Watch()
    network = ClipClassifier("c2d_r50", 3, [Insertion("nonlocal", {"res3": [1]})], width=4)
    train([FreezeBackbone(num_epochs=1), watch], network=network, max_epochs=1)
    changed = moved(*watch.states)
    assert {name for name in changed if ".block." not in name} == {
        "network.blocks.6.proj.weight",
        "network.blocks.6.proj.bias",
    }
    assert {"running_mean", "weight"} <= {name.rpartition(".")[2] for name in changed if ".block.norm" in name}


@pytest.mark.parametrize("until_step", [2, 3, 5])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(train: Train, until_step: int) -> None:
    whole = train([FreezeBackbone(num_epochs=1)])
    train([FreezeBackbone(num_epochs=1)], folder="parts", until_step=until_step)
    resumed = train([FreezeBackbone(num_epochs=1)], folder="parts", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_what_was_frozen_before_stays_so(train: Train) -> None:
    network = nn.Sequential(
        nn.Conv3d(3, 5, 1), nn.Conv3d(5, 7, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(7, 3)
    )
    network[0].requires_grad_(False)
    watch = Watch()
    train([FreezeBackbone(num_epochs=1), watch], network=network, max_epochs=2)
    assert "1.weight" in moved(watch.states[0], watch.states[2])
    assert "0.weight" not in moved(watch.states[0], watch.states[2])


def test_processes_that_wait_for_all_gradients_are_refused(tmp_path: Path) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
        module = ClipModule(nn.Linear(2, 3), ["a", "b", "c"], clip=None)
        trainer.strategy.model = DistributedDataParallel(module)
        with pytest.raises(UserError, match="ddp_find_unused_parameters_true"):
            FreezeBackbone(num_epochs=1).on_train_start(trainer, module)
    finally:
        distributed.destroy_process_group()


def pretrained(checkpoint: list[str] | None = None) -> ClipClassifier:
    torch.manual_seed(3)
    blocks = [Insertion("nonlocal", {"res4": [1]})]
    execution = Execution(checkpoint=checkpoint or [])
    return ClipClassifier("c2d_r50", 3, blocks, width=4, batch_norm="frozen", execution=execution)


def test_without_epochs_the_trunk_stays_and_named_layers_train(train: Train) -> None:
    watch, network = Watch(), pretrained()
    settings = Optimization(lr=0.1, backbone_factor=0.25, schedule="constant")
    module = train([FreezeBackbone(trained=["res5"]), watch], network=network, optimization=settings)
    state = {name: id(value) for name, value in network.state_dict(keep_vars=True).items()}
    by_layer = {layer.name: {id(parameter) for parameter in layer.parameters} for layer in layers(network)}
    block = {name for name in state if ".block." in name}
    changed = moved(watch.states[0], watch.states[-1])
    for name in changed - block:
        assert state[name] in by_layer["res5"] | by_layer["head"], name
    assert any(state[name] in by_layer["res5"] for name in changed)
    assert {"weight", "running_mean"} <= {name.rpartition(".")[2] for name in changed & block}
    groups = module.trainer.optimizers[0].param_groups  # what is frozen for good is in none
    assert {group["name"].split(",")[0]: group["lr"] for group in groups} == {
        **{"res4 blocks": 0.1, "res5": 0.025, "head": 0.1}
    }
    assert not any(part.training for part in network.network.blocks[1].modules())  # dropout of a trunk too


def test_a_trunk_frozen_for_good_can_train_in_several_processes(tmp_path: Path) -> None:
    module = ClipModule(pretrained(), ["a", "b", "c"], CLIP)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    freezing = FreezeBackbone()
    freezing.setup(trainer, module, "fit")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        trainer.strategy.model = DistributedDataParallel(module)
        freezing.on_train_start(trainer, module)
        assert not any(parameter.requires_grad for parameter in backbone_parameters(module.network))
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("checkpoint", [[], ["res2", "res3", "res4", "res5"]], ids=["kept", "recomputed"])
@pytest.mark.parametrize("num_epochs", [None, 1])
def test_what_is_frozen_before_the_first_part_that_trains_keeps_nothing(
    train: Train, checkpoint: list[str], num_epochs: int | None
) -> None:
    network = pretrained(checkpoint)
    runs, kept = Counter[str](), list[Tensor]()
    arrived: list[tuple[int, bool]] = []

    def arrive(module: nn.Module, inputs: tuple[Tensor]) -> None:
        arrived.append((len(kept), inputs[0].requires_grad))

    class Keeping(Callback):
        """Counts what a forward keeps for backward."""

        def on_train_start(self, *_: Any) -> None:
            network.network.blocks[3].res_blocks[3].branch2.conv_c.register_forward_pre_hook(
                lambda *_: runs.update(["frozen"])
            )
            network.blocks["res4.1"].register_forward_pre_hook(arrive)

        def on_train_batch_start(self, *_: Any) -> None:
            kept.clear()
            self.hooks = torch.autograd.graph.saved_tensors_hooks(
                lambda value: kept.append(value) or value, lambda value: value
            )
            self.hooks.__enter__()

        def on_before_backward(self, *_: Any) -> None:
            self.hooks.__exit__(None, None, None)

    train([FreezeBackbone(num_epochs), Keeping()], network=network, max_epochs=1, val=False)
    assert kept
    if checkpoint:  # kept is where the block's unit is computed again from; there backward has begun
        own = 1 if torch.__version__.startswith("2.6.") else 0  # an empty one that its checkpoint needs
        assert arrived[::2] == [(1 + own, False)] * 3
    else:
        assert arrived == [(0, False)] * 3
    assert runs["frozen"] == 3


def test_unknown_layers_are_refused(train: Train) -> None:
    with pytest.raises(UserError, match="trained has 'res6'; the layers are stem, res2, res3, res4, res5, head"):
        train([FreezeBackbone(trained=["res6"])], network=pretrained())


def test_no_epochs_are_refused() -> None:
    with pytest.raises(UserError, match="got 0"):
        FreezeBackbone(num_epochs=0)
