"""What commands load: names of modules, because seconds differ from machine to machine. And what is written for it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videonl.backbones import BACKBONES
from videonl.blocks import BLOCKS
from videonl.cli.described import describe, describe_backbone, describe_block
from videonl.cli.main import main
from videonl.cli.written import COLUMNS, FOLDER, FORMS, file_of, parsed_help, written_help, written_networks

SLOW = {"torch", "numpy", "lightning", "torchvision", "av", "decord", "pytorchvideo"}
UNUSED = {"torchvision", "torch._dynamo", "lightning", "matplotlib", "pyarrow", "wandb", "captum", "sklearn", "pandas"}
LOADED = """
import sys
before = set(sys.modules)
{}
print("loaded", *{{*sys.modules}} - before)
"""
MAIN = "from videonl.cli.main import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit: pass"


def loaded_by(code: str, *words: object) -> set[str]:
    """The modules that a fresh interpreter loads."""
    command = [sys.executable, "-c", LOADED.format(code), *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return set(ended.stdout.splitlines()[-1].split()[1:])


def packages(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return {name for name in tops if name not in sys.stdlib_module_names and not name.startswith("_")}


def test_importing_the_package_loads_nothing_else() -> None:
    loaded = loaded_by("import videonl")
    assert packages(loaded) == {"videonl"}
    assert not {name for name in loaded if name.startswith("videonl.")}


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("--help", set()),
        ("fit --help", {"rich"}),
        ("predict --help", {"rich"}),
        ("evaluate --help", {"rich"}),
        ("bench model --help", {"rich"}),
    ],
)
def test_helps_load_the_package_and_the_terminal_alone(words: str, others: set[str]) -> None:
    assert packages(loaded_by(MAIN, *words.split())) <= {"videonl", "typing_extensions"} | others


def test_the_list_of_networks_loads_nothing_slow() -> None:
    loaded = loaded_by(MAIN, "models")
    assert "videonl.cli.models" in loaded
    assert not packages(loaded) & (SLOW | UNUSED)


def test_a_prediction_loads_what_it_uses(c2d_config: Path, clips: Path, tmp_path: Path) -> None:
    trained = tmp_path / "run"
    assert main(["fit", "--config", str(c2d_config), "--run.dir", str(trained)]) == 0
    video = next(clips.rglob("*.mp4"))
    loaded = loaded_by(MAIN, "predict", video, "--checkpoint", trained, "--num-clips", 1, "--num-crops", 1)
    assert "pytorchvideo.models.resnet" in loaded and "av" in loaded  # it ran
    assert not loaded & UNUSED


def test_postponing_torchvision_leaves_heads_that_detect_as_they_are() -> None:
    code = """
from videonl.backbones import build_backbone
build_backbone("slow_r50", 7, {"width": 3})
from pytorchvideo.models.head import create_res_roi_pooling_head
assert "torchvision" not in sys.modules
head = create_res_roi_pooling_head(in_features=3, out_features=5, resolution=(7, 5), spatial_scale=0.5)
import torchvision
assert type(head.roi_layer) is torchvision.ops.RoIAlign, head
"""
    assert {"torchvision.ops.roi_align", "torchvision.models"} <= loaded_by(code)


def test_what_other_threads_import_meanwhile_is_torchvision() -> None:
    code = """
from videonl.backbones.quiet_import import quiet_import
with quiet_import():
    from pytorchvideo.models.head import create_res_roi_pooling_head
    assert "torchvision" not in sys.modules
    import torchvision.transforms
    from torchvision.ops import RoIAlign, nms
assert RoIAlign is torchvision.ops.RoIAlign and isinstance(RoIAlign, type)
"""
    assert "pytorchvideo.models.head" in loaded_by(code)


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_written_helps_are_those_of_the_parsers(form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    written = file_of(*form).read_text(encoding="utf-8")
    # Versions of Python break lines in different places.
    assert written.split() == parsed_help(*form).split(), "run: python scripts/write_shown.py"


def test_nothing_is_written_for_what_is_not_there() -> None:
    names = {file_of(*form).name for form in FORMS}
    assert {path.name for path in FOLDER.iterdir()} == names | {"models.json"}


@pytest.mark.parametrize(
    "words",
    [[], ["a.parquet"], ["a.parquet", "--help"], ["--config", "a.yaml", "--help"], ["../report", "--help"], ["--out"]],
)
def test_what_is_given_besides_is_the_parsers_business(words: list[str]) -> None:
    assert written_help("report", words) is None
    assert written_help("bench", words) is None


def test_a_configuration_beside_the_help_is_read(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("num_mistakes: 37\n")
    with pytest.raises(SystemExit):
        main(["report", "--config", str(tmp_path / "a.yaml"), "--help"])
    assert "default: 24" in capfd.readouterr().out
    assert main(["report", "--config", str(tmp_path / "none.yaml"), "--help"]) == 2


AS_IT_IS_BUILT = "run: python scripts/write_shown.py"
# Each shares its code with another that is not deep.
DEEP = {"c2d_r101", "i3d_r101", "slow_r101", "slowfast_r101", "slowfast_16x8_r101_50_50", "x3d_m", "x3d_l"}


def test_the_written_networks_are_those_that_are_built() -> None:
    written = written_networks()
    assert list(written["backbones"]) == list(BACKBONES)
    blocks = {name: describe_block(name) for name in BLOCKS}
    backbones = {name: describe_backbone(name) for name in BACKBONES if name not in DEEP}
    built: dict[str, Any] = json.loads(json.dumps({"blocks": blocks, "backbones": backbones}))
    assert written["blocks"] == built["blocks"], AS_IT_IS_BUILT
    assert built["backbones"].items() <= written["backbones"].items(), AS_IT_IS_BUILT


@pytest.mark.slow
def test_deep_networks_too_are_written_as_they_are_built() -> None:
    built: dict[str, Any] = json.loads(json.dumps(describe()))
    assert written_networks() == built, AS_IT_IS_BUILT
