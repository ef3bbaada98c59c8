"""Randomness that is a function of what it is for, and of nothing that happened before."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


def hashed(*key: int) -> int:
    """A 64-bit number for a key of non-negative integers, by ``numpy.random.SeedSequence``: the same on every machine.

    >>> hashed(0, 1, 2) == hashed(0, 1, 2) != hashed(0, 2, 1)
    True
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])


@contextlib.contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed torch's global CPU generator from a key of non-negative integers, and restore it on leaving.

    Only the generator of the CPU: ``torch.manual_seed`` would reset that of the GPU too, and with it dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(hashed(*key))
        yield
