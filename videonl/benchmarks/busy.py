"""Whether something else had the machine while times were taken."""

import os
from pathlib import Path
from typing import NamedTuple

STAT = Path("/proc/stat")
MOST_OTHERS, MOST_STOLEN = 0.1, 0.02  # shares of all cores that are said to be much


class Shares(NamedTuple):
    """What others took of all cores: processes of this machine, and the host of a virtual one."""

    others: float
    stolen: float

    @property
    def words(self) -> str | None:
        """A warning; None where times are worth what they seem to be."""
        if self.others <= MOST_OTHERS and self.stolen <= MOST_STOLEN:
            return None
        return (
            f"the machine was busy: other processes took {self.others:.0%} of its cores, and its host "
            f"{self.stolen:.0%}; times are longer than they need be, and cases that varied with it are marked unstable"
        )


class Others:
    """Counts what others take from now on. Linux only; elsewhere they are not known to take anything."""

    def __init__(self) -> None:
        self._before = _counted()

    def shares(self) -> Shares:
        """Since it was made; children count as one's own once they have ended."""
        used, stolen, total, own = (after - before for after, before in zip(_counted(), self._before, strict=True))
        return Shares(max(0.0, used - own) / total, stolen / total) if total > 0 else Shares(0.0, 0.0)


def _counted() -> tuple[float, float, float, float]:
    """Seconds of all cores since the machine started: used, stolen, all; and those of this process and its children."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    if not STAT.exists():
        return 0.0, 0.0, 0.0, own
    ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in STAT.read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _, _, *interrupts, stolen = ticks  # idle, and waiting for a disk
    return user + nice + system + sum(interrupts), stolen, sum(ticks), own
