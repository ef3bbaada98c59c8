"""Blocks and whole networks beside plain ones with the same weights: time, memory, parameters, operations."""

from videonl.benchmarks.cases import CASES, Case, grid_of, select_cases
from videonl.benchmarks.comparison import Row, check, compare
from videonl.benchmarks.measure import Measurement, Setting
from videonl.benchmarks.report import as_json, growth_table, machine, table

__all__ = [
    "CASES",
    "Case",
    "Measurement",
    "Row",
    "Setting",
    "as_json",
    "check",
    "compare",
    "grid_of",
    "growth_table",
    "machine",
    "select_cases",
    "table",
]
