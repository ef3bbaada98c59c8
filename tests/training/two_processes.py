"""Both processes of a training: ``python two_processes.py VIDEOS OUT`` imports everything and forks them."""

import atexit
import os
import sys
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from videonl.data.augmentation import Augmentation
from videonl.data.datamodule import ClipDataModule
from videonl.data.loader import Loading
from videonl.data.transforms import ClipFormat
from videonl.runtime.parallel import end_with_parent
from videonl.training import ClipModule, EndTogether, FreezeBackbone, Optimization, PreciseBatchNorm, SeedSteps

CLIP = ClipFormat(num_frames=3, stride_frames=2, short_side_px=29, crop_px=23)
AUGMENTATION = Augmentation(short_side_px=(23, 37))


class Watch(Callback):
    """Keeps the first layer's weights after the first epoch, and the rates."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == 0:
            self.first = pl_module.network[0].weight.detach().clone()


def network() -> nn.Sequential:
    torch.manual_seed(0)
    head = [nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(5, 3)]
    return nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5), *head)


def main(videos: str, out: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = ClipDataModule(videos, clip=CLIP, augmentation=AUGMENTATION, loading=Loading(batch_size=1, num_workers=0))
    settings = Optimization(lr=0.4, lr_per_clips=16, schedule="constant")
    watch = Watch()
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp_find_unused_parameters_true",
        accumulate_grad_batches=2,
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[EndTogether(), SeedSteps(5), FreezeBackbone(num_epochs=1), PreciseBatchNorm(), watch],
    )
    module = ClipModule(network(), data.class_names, CLIP, settings, channels_last=False)
    trainer.fit(module, data)
    result = {"state": module.network.state_dict(), "rates": watch.rates, "first": watch.first}
    torch.save(result, Path(out) / f"{os.environ['LOCAL_RANK']}.pt")


def say_whether_the_group_is_left() -> None:
    print("the group is left:", not torch.distributed.is_initialized())


if __name__ == "__main__":
    other = os.fork()
    os.environ["LOCAL_RANK"] = "0" if other else "1"
    if not other:
        end_with_parent()
    atexit.register(say_whether_the_group_is_left)  # is called after what was registered later
    main(*sys.argv[1:])
    if other:
        assert os.waitpid(other, 0)[1] == 0
