"""``videonl bench``: what can be measured."""

from videonl.cli.bench import bench_blocks
from videonl.cli.bench_data import bench_data
from videonl.cli.bench_model import bench_model
from videonl.cli.bench_windows import bench_windows

BENCHES = {"blocks": bench_blocks, "data": bench_data, "model": bench_model, "windows": bench_windows}
