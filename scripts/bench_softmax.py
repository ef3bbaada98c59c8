#!/usr/bin/env python
"""Times PyTorch's fused attention against the written matrix of weights, around the size where ours changes over.

``python scripts/bench_softmax.py`` calls both in turns in one process, on the CPU: forward alone, and a step of forward
and backward. The limit is ``WRITTEN_OUT_NUMEL`` of ``videonl/ops/fused_softmax.py``.
"""

import time

import torch

from videonl.ops import fused_softmax as softmax

# Queries, keys, channels of keys, channels of values.
SIZES = [
    *((784, 196, 512, 512), (784, 196, 1024, 512), (784, 784, 512, 512), (784, 784, 512, 256), (3136, 219, 256, 256)),
    *((3136, 784, 256, 256), (3136, 784, 512, 256), (2048, 2048, 256, 256), (3136, 3136, 256, 256)),
    (6272, 1568, 256, 256),
]
ROUNDS = 9


def main() -> None:
    """Prints a line for each size: ratios fused / written, and milliseconds; the smallest of the rounds."""
    limit = softmax.WRITTEN_OUT_NUMEL
    for queries, keys, width, values in SIZES:
        shapes = ((queries, width), (keys, width), (keys, values))
        parts = [(torch.randn(1, *shape) * shape[1] ** -0.25).requires_grad_() for shape in shapes]
        upstream = torch.randn(1, queries, values)
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(ROUNDS):
            for side, numel in (("fused", 0), ("written", queries * keys)):
                softmax.WRITTEN_OUT_NUMEL = numel
                began = time.perf_counter()
                with torch.no_grad():
                    softmax.fused_softmax(*parts, 1.0)
                middle = time.perf_counter()
                softmax.fused_softmax(*parts, 1.0).backward(upstream)
                times.setdefault((side, "forward"), []).append(1e3 * (middle - began))
                times.setdefault((side, "step"), []).append(1e3 * (time.perf_counter() - middle))
        best = {what: min(found) for what, found in times.items()}
        ratios = {what: best["fused", what] / best["written", what] for what in ("forward", "step")}
        print(
            f"forward {ratios['forward']:.2f}x, step {ratios['step']:.2f}x: "
            f"{queries} x {keys}, {width} and {values} channels "
            f"({best['fused', 'step']:.1f} / {best['written', 'step']:.1f} ms); ours: "
            f"{'written' if queries * keys <= limit else 'fused'}"
        )


if __name__ == "__main__":
    main()
