"""What a study file may say, and what is refused before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from videonl.cli.configuration import load
from videonl.cli.main import main
from videonl.cli.study_file import read_study
from videonl.errors import UserError
from videonl.study import StudyFolder

BLOCK = {"model.network.init_args.blocks": [{"block": "nonlocal", "after": {"res3": [3]}}]}
SMALL = {"model.network.init_args.width": 3, "data.clip.crop_px": 32}
BASE = ["experiment/demo/baseline.yaml", SMALL]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line does."""
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(seeds=[1], variants=...)``: a study file, correct but for what is given; None leaves a key out."""

    def written(file: str = "study.yaml", /, **content: object) -> Path:
        whole = {"base": BASE, "variants": {"none": None}, "seeds": [0], **content}
        path = tmp_path / file
        given = {key: value for key, value in whole.items() if value is not None}
        path.write_text(yaml.safe_dump(given, sort_keys=False))
        return path

    return written


def test_variants_seeds_and_folds_make_cells(write: Write, tmp_path: Path) -> None:
    (tmp_path / "slow.yaml").write_text("model: {optimization: {lr: 0.25, weight_decay: 0.5}}")
    variants = {"none": None, "nonlocal": BLOCK, "slow": ["slow.yaml", {"--model.optimization.lr": 0.125}]}
    path = write(
        variants=variants,
        folds={"a": {"data.train": "a.csv"}, "b": {"data.train": "b.csv"}},
        seeds=[3, 5],
        test={"data.test_views.num_clips": 2},
        baseline="none",
    )
    study = read_study(path)
    assert (study.name, study.baseline, study.variants) == ("study", "none", ["none", "nonlocal", "slow"])
    assert [cell.name for cell in study.cells[:4]] == [
        "none-a-seed3",
        "nonlocal-a-seed3",
        "slow-a-seed3",
        "none-b-seed3",
    ]
    assert len({cell.name for cell in study.cells}) == 12
    slow = next(cell for cell in study.cells if cell.variant == "slow")
    assert slow.fit["model"]["optimization"]["lr"] == 0.125
    assert slow.fit["model"]["optimization"]["weight_decay"] == 0.5
    assert slow.fit["model"]["network"]["init_args"]["width"] == 3
    # One non-local block on 5 of 96 channels or so: more parameters, and each class is a row of the head and a bias.
    none, nonlocal_ = study.costs["none"], study.costs["nonlocal"]
    assert nonlocal_.parameters > none.parameters
    assert nonlocal_.macs > none.macs
    assert none.parameters_per_class == none.macs_per_class + 1 == 97
    assert none.of(7)[0] == none.parameters + 5 * 97


def test_the_files_of_a_cell_repeat_it(write: Write, tmp_path: Path) -> None:
    study = read_study(write(variants={"nonlocal": BLOCK}, seeds=[7], test={"ckpt_path": "last"}))
    (cell,) = study.cells
    folder = StudyFolder(tmp_path / "out").of(cell)
    folder.write_configurations(cell)
    fit, test = (load(folder.path / f"{name}.yaml") for name in ("fit", "test"))
    assert (fit["seed_everything"], fit["run"]["dir"]) == (7, str(folder.path))
    assert fit["model"]["network"]["init_args"]["blocks"] == BLOCK["model.network.init_args.blocks"]
    assert test == {**fit, "ckpt_path": "last"}


def test_a_study_may_extend_another(write: Write, tmp_path: Path) -> None:
    write("blocks.yaml", variants={"none": None, "nonlocal": BLOCK}, baseline="none")
    (tmp_path / "below").mkdir()
    over = tmp_path / "below" / "more.yaml"
    over.write_text("extends: ../blocks.yaml\nseeds: [1, 2]\n")
    study = read_study(over)
    assert (study.name, study.baseline, len(study.cells)) == ("more", "none", 4)


def test_parts_have_every_cell_once(write: Write) -> None:
    study = read_study(write(seeds=[0, 1, 2, 3, 4]))
    parts = [study.part(number, 3) for number in (1, 2, 3)]
    assert [len(part) for part in parts] == [2, 2, 1]
    assert sorted(cell.seed for part in parts for cell in part) == [0, 1, 2, 3, 4]


def test_the_shipped_example_builds() -> None:
    study = read_study(Path("configs/study/synthetic.yaml").resolve())
    assert (len(study.cells), study.baseline) == (6, "none")


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"variant": {}}, "unknown key 'variant'; the keys are name, base, variants"),
    ({"variants": {}}, "variants must name at least one"),
    ({"variants": ["a"]}, "variants must be a mapping of names to settings"),
    ({"variants": {"a/b": {}}}, "variants has the name 'a/b'"),
    ({"variants": {7: {}}}, "variants has the name 7"),
    ({"variants": {"a": 3}}, "variants.a must be a mapping of options"),
    ({"variants": {"a": "no.yaml"}}, "no.yaml does not exist"),
    ({"variants": {"a": {"seed_everything": 3}}}, "variants.a sets seed_everything, which the study sets"),
    ({"variants": {"a": {"run": {"dir": "x"}}}}, "variants.a sets run.dir"),
    ({"base": None}, "base must name the configuration"),
    ({"seeds": None}, "seeds must be a list of whole numbers such as [0, 1, 2], got None"),
    ({"seeds": [True]}, "seeds must be a list of whole numbers"),
    ({"seeds": 3}, "seeds must be a list of whole numbers"),
    ({"seeds": [1, 1]}, "two cells of the study are named none-seed1"),
    ({"variants": {"a": {}, "A": {}}}, "two cells of the study are named a-seed0"),
    ({"baseline": "axial"}, "baseline 'axial' is not one of none"),
    ({"metric": "top3"}, "metric 'top3' is not one of top1, top5"),
    ({"name": 3}, "name must be text"),
    ({"variants": {"a": {"model.optimization.speed": 3}}}, "variant a does not build: "),
    ({"variants": {"a": {"model.network.init_args.blocks": [{"block": "nonlocal", "after": {"res9": [1]}}]}}}, "res9"),
    (
        {"variants": {"a": {"model.network.init_args.blocks": [{"block": "nonlocl", "after": {"res3": [1]}}]}}},
        "nonlocl",
    ),
    ({"variants": {"a": {"trainer.max_epochs": "many"}}}, "variant a does not build: "),
    ({"test": {"data.test_vews.num_clips": 2}}, "does not build: "),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_mistakes_are_named_on_one_line(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str], content: dict[str, object], message: str
) -> None:
    assert main(["study", str(write(**content)), "--out", str(tmp_path / "out")]) == 2
    captured = capfd.readouterr()
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("videonl: error: ")
    assert message in line
    assert not (tmp_path / "out").exists()


def test_a_name_given_twice_is_refused(write: Write) -> None:
    path = write()
    path.write_text(path.read_text().replace("none: null", "none: null\n  none: {}"))
    with pytest.raises(UserError, match="none is given twice"):
        read_study(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["STUDY", "--part", "0/3"], "--part must be i/n with i from 1 to n, such as 2/4, got '0/3'"),
        (["STUDY", "--part", "4/3"], "got '4/3'"),
        (["STUDY", "--jobs", "0"], "--jobs must be at least 1"),
        (["nothing.yaml"], "nothing.yaml does not exist"),
        (["."], ". is a folder: name the study file, or add --report"),
        ([".", "--report"], ". holds no study"),
        (["STUDY", "--out", "STUDY"], "it is a file"),
    ],
)
def test_mistakes_of_the_command_line(
    write: Write, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    path = str(write())
    assert main(["study", *(path if word == "STUDY" else word for word in words)]) == 2
    captured = capfd.readouterr()
    assert message in captured.err
    assert len(captured.err.strip().splitlines()) == 1
