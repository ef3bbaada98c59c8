"""Both sides of a network, each in a process of its own, called in turn."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rich.table import Table
from torch import Tensor

from videonl.benchmarks.apart import kept_apart
from videonl.benchmarks.measure import Measurement
from videonl.benchmarks.networks import SIDES, NetworkSetting, Side, Subject, flops
from videonl.benchmarks.rounds import Rounds, alternate, as_plain

TOLERANCE = {"float32": 1e-3, "tf32": 5e-2, "bfloat16": 2e-1}  # of logits, relative to the largest


@dataclass(frozen=True)
class NetworkRow:
    """Both sides of one network, and the rate at which this machine multiplies matrices."""

    setting: NetworkSetting
    ours: Measurement
    plain: Measurement
    flops: int
    matmul_rate: float
    rounds: Mapping[str, Rounds] = field(default_factory=dict)  # of forward and step

    def ratio(self, quantity: str) -> float | None:
        """Plain by ours, larger is better, of a field of :class:`Measurement`; None where times vary too much."""
        name = quantity.removesuffix("_ms")
        if name in self.rounds and self.rounds[name].unstable:
            return None
        return float(getattr(self.plain, quantity) / getattr(self.ours, quantity))

    def share_of_matmul_rate(self, side: Side) -> dict[str, float]:
        """Operations per second as a share of :attr:`matmul_rate`; backward counts as two forwards."""
        measured = getattr(self, side)
        rates = {"forward": 1e3 * self.flops / measured.forward_ms, "step": 3e3 * self.flops / measured.step_ms}
        return {name: rate / self.matmul_rate for name, rate in rates.items()}

    def clips_per_second(self, side: Side) -> dict[str, float]:
        """Clips of a forward, and of a training step."""
        measured, batch = getattr(self, side), self.setting.clips[0]
        return {"forward": 1e3 * batch / measured.forward_ms, "step": 1e3 * batch / measured.step_ms}

    def as_json(self) -> dict[str, Any]:
        """Plain data: milliseconds, MiB, and ratios plain/ours."""
        quantities = {"forward": "forward_ms", "step": "step_ms", "memory": "peak_mib"}
        return {
            "bench": "model",
            "case": self.setting.case,
            "clips": list(self.setting.clips),
            "device": self.setting.device,
            "dtype": self.setting.dtype,
            "flops": self.flops,
            "ours": asdict(self.ours),
            "plain": asdict(self.plain),
            **{f"ratio_{name}": self.ratio(quantity) for name, quantity in quantities.items()},
            **as_plain(self.rounds),
            "clips_per_second": {side: self.clips_per_second(side) for side in SIDES},
            "matmul_gflops_per_second": self.matmul_rate / 1e9,
            "share_of_matmul_rate": self.share_of_matmul_rate("ours"),
        }


def compare_network(
    setting: NetworkSetting, seconds: float, done: Callable[[str], None] = lambda text: None
) -> NetworkRow:
    """Measures a network, plain and ours, in turn.

    Args:
        setting: The network and the machine.
        seconds: Time for the repeats of both sides together, once for steps and once for forwards.
        done: Told what was done last, four times.

    Raises:
        RuntimeError: When the two sides' logits differ by more than rounding: a bug of ours.
    """
    with kept_apart(Subject, "ours", setting) as ours, kept_apart(Subject, "plain", setting) as plain:
        calls = {"ours": ours, "plain": plain}
        _check(ours("logits"), plain("logits"), setting)
        done("both sides agree")
        rate = ours("matmul_rate", seconds)
        done("matrix products")
        rounds = {}
        for name, told in (("step", "training steps"), ("forward", "forwards")):
            rounds[name] = alternate({side: partial(call, f"{name}_ms") for side, call in calls.items()}, seconds)
            done(told)
        forward, step = rounds["forward"].median, rounds["step"].median
        sides = {side: Measurement(forward[side], step[side], calls[side]("peak_mib")) for side in SIDES}
    return NetworkRow(setting, sides["ours"], sides["plain"], flops(setting), rate, rounds)


def _check(ours: Tensor, plain: Tensor, setting: NetworkSetting) -> None:
    apart = float((ours - plain).abs().max() / plain.abs().max())
    if not apart < TOLERANCE[setting.dtype]:
        raise RuntimeError(f"{setting.case} and its plain form differ by {apart:.1e} in {setting.dtype}")


def network_table(row: NetworkRow) -> Table:
    """Training step and inference of one network; the ratios are plain/ours."""
    setting = row.setting
    clips = " x ".join(str(size) for size in setting.clips)
    shown = Table(title=f"{setting.case}, clips {clips}, {setting.device}, {setting.dtype}")
    for heading in ("", "ratio", "ours", "plain", "clips/s, ours", "of the matmul rate, ours"):
        shown.add_column(heading, justify="left" if not heading else "right")
    speed, share = row.clips_per_second("ours"), row.share_of_matmul_rate("ours")
    for label, name, quantity in (("training step", "step", "step_ms"), ("inference", "forward", "forward_ms")):
        times = [f"{getattr(side, quantity):,.0f} ms" for side in (row.ours, row.plain)]
        shown.add_row(label, _shown(row.ratio(quantity)), *times, f"{speed[name]:.2f}", f"{share[name]:.0%}")
    peaks = [f"{side.peak_mib:,.0f} MiB" for side in (row.ours, row.plain)]
    shown.add_row("peak memory of a step", _shown(row.ratio("peak_mib")), *peaks)
    return shown


def _shown(ratio: float | None) -> str:
    return "unstable" if ratio is None else f"{ratio:.2f}x"
