"""Imports go downwards only, as the plan of the house says."""

import ast
import re
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "videonl"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of videonl besides itself; a dotted entry allows that module alone.
MAY_IMPORT = {
    "errors": set(),
    "names": set(),
    "pickles": set(),
    "terminal": set(),
    "temporary": set(),
    "outputs": {"errors"},
    "files": {"outputs", "errors"},
    "runtime": {"terminal", "errors", "files"},
    "registry": {"errors"},
    "ops": set(),
    "blocks": {"ops", "registry", "errors"},
    "profiling": {"errors"},
    "benchmarks": {"inference", "models", "backbones", "blocks", "ops", "data", "runtime", "profiling", "errors"},
    "backbones": {"registry", "errors"},
    "models": {"backbones", "blocks", "profiling", "registry", "pickles", "terminal", "files", "errors"},
    "data": {"runtime", "registry", "terminal", "files", "outputs", "errors"},
    "evaluation": {"data.reading", "data.video", "terminal", "files", "outputs", "names", "errors"},
    "diagnostics": {"visualization", "blocks", "evaluation", "data", "terminal", "files", "names", "errors"},
    "tasks": {"evaluation", "registry", "errors"},
    "inference": {
        *("models", "backbones", "blocks", "data", "visualization", "evaluation"),
        *("runtime", "profiling", "terminal", "files", "outputs", "names", "errors"),
    },
    "training": {
        *("inference", "tasks", "data", "evaluation", "visualization", "diagnostics", "profiling", "runtime"),
        *("pickles", "terminal", "files", "outputs", "names", "errors"),
    },
    "study": {"evaluation", "runtime", "terminal", "files", "outputs", "names", "errors"},
    "visualization": {"blocks", "ops", "data.reading", "temporary", "terminal", "files", "outputs", "names", "errors"},
    "app": {"inference", "visualization", "data", "terminal", "errors"},
    "cli": {
        *("data", "models", "training", "visualization", "evaluation", "benchmarks", "blocks", "backbones", "ops"),
        *("profiling", "diagnostics", "inference", "tasks", "runtime", "registry", "pickles", "terminal", "files"),
        *("app", "study", "outputs", "names", "temporary", "errors"),
    },
    "__init__": {"blocks", "backbones", "models", "inference", "data"},  # by name, when it is asked for
    "__main__": {"cli"},
}
# Where alone these libraries may appear.
CONFINED = {
    "lightning": ("training", "data.datamodule", "cli"),
    "pytorch_lightning": (),
    "lightning_fabric": (),
    "wandb": ("training.callbacks", "cli"),
    "gradio": ("app",),
    "distributed": ("runtime.cluster", "runtime.cluster_worker"),
    "dask": (),
}
CATCH_ALLS = {"utils", "util", "helpers", "common", "misc"}


def name_of(path: Path) -> str:
    """``data.decoding`` for videonl/data/reading/decoding.py, ``data`` for its __init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(source: str, package: str) -> set[str]:
    """Everything that source imports, at any depth of indentation, or names in a text of its own, by full name."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"videonl(\.\w+)+", str(node.value)):
            names.add(str(node.value))
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def lies_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def violations(module: str, imported: set[str]) -> list[str]:
    """What a module of videonl imports although the plan forbids it."""
    part = module.split(".")[0]
    found = []
    for name in sorted(imported):
        top, _, inside = name.partition(".")
        if top == "videonl":
            is_attribute = inside.startswith("__") and inside not in MAY_IMPORT
            allowed = {part, *MAY_IMPORT[part]}
            if not is_attribute and not any(lies_in(inside, target) for target in allowed):
                found.append(f"{module} imports {name}")
        elif (top in CONFINED and not any(lies_in(module, place) for place in CONFINED[top])) or (
            part == "ops" and top != "torch" and top not in sys.stdlib_module_names
        ):
            found.append(f"{module} imports {name}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_imports_downwards_only(path: Path) -> None:
    module = name_of(path)
    package = "videonl." + (module if path.name == "__init__.py" else module.rpartition(".")[0])
    assert violations(module, imports_of(path.read_text(encoding="utf-8"), package.rstrip("."))) == []


def test_every_part_has_its_place_in_the_table() -> None:
    parts = {name_of(path).split(".")[0] for path in MODULES}
    assert parts == MAY_IMPORT.keys()
    assert all(target.split(".")[0] in MAY_IMPORT for targets in MAY_IMPORT.values() for target in targets)


def test_nothing_is_named_as_a_drawer_for_everything() -> None:
    names = {part for path in MODULES for part in name_of(path).split(".")}
    assert not names & CATCH_ALLS


def test_the_table_itself_has_no_circles() -> None:
    placed: set[str] = set()
    while len(placed) < len(MAY_IMPORT):
        free = {
            part
            for part, targets in MAY_IMPORT.items()
            if part not in placed and {target.split(".")[0] for target in targets} <= placed
        }
        assert free
        placed |= free


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_is_printed_by_the_console_that_escapes(path: Path) -> None:
    imported = imports_of(path.read_text(encoding="utf-8"), "")
    assert name_of(path) == "terminal" or not any(lies_in(name, "rich.console") for name in imported)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data.dataset", "from videonl.models import ClipClassifier"),
        ("data.dataset", "from videonl import ops"),
        ("data.dataset", "from lightning.pytorch import Trainer"),
        ("evaluation.views", "from videonl.blocks.contract import AttentionBlock"),
        ("training.module", "def f():\n    import videonl.backbones.resnet3d"),
        ("training.module", "import wandb"),
        ("training.module", "from ..models import placement"),
        ("visualization.render", "from videonl.data.dataset import read_views"),
        ("visualization.render", "from videonl.data import transforms"),
        ("models.placement", "from videonl.cli.main import entry_point"),
        ("models.placement", "import lightning"),
        ("blocks.contract", "from videonl.backbones import BACKBONES"),
        ("ops.pairwise", "import numpy as np"),
        ("ops.pairwise", "from videonl.errors import UserError"),
        ("__init__", "from videonl.training import ClipModule"),
        ("runtime.parallel", "PRELOADED = ['videonl.data.reading.decoding']"),
    ],
)
def test_the_rule_rejects_made_up_violations(module: str, source: str) -> None:
    assert len(violations(module, imports_of(source, f"videonl.{module.rpartition('.')[0]}"))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("data.datamodule", "import lightning\nfrom . import dataset"),
        ("cli.run", "import wandb\nfrom videonl.training import ClipModule\nfrom videonl import __version__"),
        ("training.callbacks.seeding", "import wandb\nimport lightning.pytorch"),
        (
            "visualization.render",
            "from videonl.data.reading.decoding import open_video\nimport numpy",
        ),
        ("ops.pairwise", "import math\nfrom torch.nn import functional\nfrom videonl.ops import pairwise"),
    ],
)
def test_the_rule_accepts_what_the_plan_allows(module: str, source: str) -> None:
    assert violations(module, imports_of(source, f"videonl.{module.rpartition('.')[0]}")) == []
