"""``videonl summary``: the network of a configuration, part by part, before training."""

import json as json_text
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from videonl.cli.foreign_code import FLAGS, expand_trusted
from videonl.cli.progress import status
from videonl.cli.refusals import require_at_least
from videonl.errors import UserError
from videonl.inference.loading import find_trained
from videonl.models import ClipClassifier
from videonl.profiling import Memory, Row, profile_network, require_clip, training_memory
from videonl.terminal import Console

MIB = 2**20
MOST_CLASSES = 10**7
NARROW = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True)
class Plan:
    """A network and how it is to be trained.

    Attributes:
        network: On the meta device, or with its weights.
        clip: (T, H, W).
        batch_size: Clips per process.
        optimizer: ``sgd`` or ``adamw``.
        precision: As Lightning calls it.
        channels_last: Whether channels are innermost.
        clip_is_assumed: Whether the clip is the published one of the backbone, because none is recorded.
    """

    network: ClipClassifier
    clip: tuple[int, int, int]
    batch_size: int = 8
    optimizer: str = "sgd"
    precision: str = "32-true"
    channels_last: bool = True
    clip_is_assumed: bool = False


def summary(words: Sequence[str]) -> None:
    """Prints the parts of a network with output sizes and cost, and predicts training memory.

    Args:
        words: The command line after ``videonl summary``.
    """
    own, others = _parser().parse_known_args(list(words))
    require_at_least(1, MOST_CLASSES, num_classes=own.num_classes)
    if own.checkpoint is None:
        plan = plan_of_configuration(others, own.num_classes, own.trust_code)
    elif others:
        raise UserError(f"--checkpoint determines everything; remove {' '.join(others)}")
    else:
        plan = plan_of_checkpoint(own.checkpoint, own.trust_code)
    require_clip(plan.network, plan.clip)
    with status("computing shapes"):
        rows = profile_network(plan.network.network, plan.network.stages, plan.network.blocks, plan.clip)
        memory = _memory(plan)
    if own.json:
        print(json_text.dumps(as_json(plan, rows, memory), indent=2))
        return
    console = Console()
    console.print(_table(plan, rows))
    console.print(_told(plan, memory), soft_wrap=True)


def plan_of_configuration(words: Sequence[str], num_classes: int, trust_code: bool) -> Plan:
    """What ``videonl fit`` would train with the same words; the data need not exist."""
    from videonl.cli.run_parsing import parse_fit

    return plan_of(parse_fit(expand_trusted(words, trust_code)), num_classes)


def plan_of(config: Mapping[str, Any], num_classes: int) -> Plan:
    """The same from a configuration that was parsed.

    Raises:
        UserError: Its network is of a class that is not known by shapes.
    """
    network, clip = config["model"]["network"], config["data"]["clip"]
    if network["class_path"] != f"videonl.models.{ClipClassifier.__name__}":
        raise UserError(f"summary supports videonl.models.ClipClassifier only, not {network['class_path']}")
    with torch.device("meta"):
        built = ClipClassifier.from_settings({**network["init_args"], "num_classes": num_classes})
    return Plan(
        built,
        (clip["num_frames"], clip["crop_px"], clip["crop_px"]),
        config["data"]["loading"]["batch_size"],
        config["model"]["optimization"]["optimizer"],
        str(config["trainer"]["precision"]),
        config["model"]["channels_last"],
    )


def plan_of_checkpoint(checkpoint: Path, trust_code: bool) -> Plan:
    """The network of a checkpoint at its own clip size, or at the published one if converted weights record none."""
    trained = find_trained(checkpoint, trust_code=trust_code)
    sizes = [trained.known_clip.get(name) for name in ("num_frames", "crop_px", "crop_px")]
    known = (size or published for size, published in zip(sizes, trained.network.published_clip, strict=True))
    num_frames, height, width = known
    return Plan(trained.network, (num_frames, height, width), clip_is_assumed=None in sizes)


def as_json(plan: Plan, rows: Sequence[Row], memory: Memory) -> dict[str, Any]:
    """The printed content as plain data; bytes and multiply-adds as integers."""
    return {
        "backbone": plan.network.settings["backbone"],
        "clip": list(plan.clip),
        "clip_is_assumed": plan.clip_is_assumed,
        "parts": [asdict(row) for row in rows],
        "parameters": sum(row.parameters for row in rows),
        "macs": sum(row.macs for row in rows),
        "memory_bytes": {**asdict(memory), "batch_size": plan.batch_size, "batch": memory.of_batch(plan.batch_size)},
    }


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "videonl summary",
        description="Prints the parts of a network with output sizes and cost, and predicts training memory.",
        epilog="It also takes all options of `videonl fit`: --config FILE, --model.network.init_args.width 16, ...",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        help="a checkpoint, a run, a shared folder, converted weights or a published name, instead of a configuration",
    )
    parser.add_argument(
        "--num-classes", "--num_classes", type=int, default=400, help="size of the head, which fit takes from the data"
    )
    parser.add_argument(*FLAGS, action="store_true", help="run any code that the configuration or checkpoint names")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def _memory(plan: Plan) -> Memory:
    return training_memory(
        plan.network,
        plan.clip,
        num_states=2 if plan.optimizer == "adamw" else 1,
        autocast=NARROW.get(plan.precision),
        memory_format=torch.channels_last_3d if plan.channels_last else torch.contiguous_format,
    )


def _table(plan: Plan, rows: Sequence[Row]) -> Table:
    size = " x ".join(map(str, plan.clip))
    table = Table(title=f"{plan.network.settings['backbone']}, clips of {size}", show_footer=True)
    table.add_column("part", "total", no_wrap=True)
    table.add_column("output C x T x H x W", no_wrap=True)
    table.add_column("parameters", f"{sum(row.parameters for row in rows):,}", justify="right")
    table.add_column("GMACs", f"{sum(row.macs for row in rows) / 1e9:.2f}", justify="right")
    for row in rows:
        name = row.name if row.block is None else f"  + {row.block} after {row.name}"
        table.add_row(name, " x ".join(map(str, row.output)), f"{row.parameters:,}", f"{row.macs / 1e9:.2f}")
    return table


def _told(plan: Plan, memory: Memory) -> str:
    once = [f"weights {_mib(memory.weights)}", f"gradients {_mib(memory.gradients)}"]
    once.append(f"{plan.optimizer} {_mib(memory.optimizer)}")
    assumed = "the file does not record its training clips; these are assumed\n" * plan.clip_is_assumed
    return (
        f"{assumed}training memory, predicted from shapes ({plan.precision}): {', '.join(once)}, and "
        f"{_mib(memory.per_clip)} for each clip; "
        f"[bold]{_mib(memory.of_batch(plan.batch_size))}[/bold] for a batch of {plan.batch_size}"
    )


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / MIB:,.0f} MiB"
