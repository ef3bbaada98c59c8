"""Every experiment that is shipped passes the real parser and builds its network."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from videonl.cli.configuration import shipped_configs
from videonl.cli.main import main
from videonl.models import ClipClassifier

CONFIGS = shipped_configs()
LAID_OVER_OTHERS = {"own_clips.yaml": "nonlocal.yaml"}
EXPERIMENTS = sorted(str(path.relative_to(CONFIGS)) for path in (CONFIGS / "experiment").rglob("*.yaml"))


def test_every_config_is_an_experiment_or_part_of_one() -> None:
    configs = {str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml") if path.parent.name != "study"}
    parts = configs - set(EXPERIMENTS)
    texts = [(CONFIGS / experiment).read_text() for experiment in EXPERIMENTS]
    unused = {part for part in parts if part != "base.yaml" and not any(part in text for text in texts)}
    assert unused == set()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiment_parses_and_builds(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--config", experiment]
    if base := LAID_OVER_OTHERS.get(Path(experiment).name):
        words = ["--config", str(Path(experiment).with_name(base)), *words]
    with pytest.raises(SystemExit) as ended:
        main(["fit", *words, "--print_config"])
    assert ended.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    init_args, clip = config["model"]["network"]["init_args"], config["data"]["clip"]
    assert shape_of_logits(json.dumps(init_args), clip["num_frames"], clip["crop_px"]) == (1, 7)


@cache  # several experiments train one network
def shape_of_logits(init_args: str, num_frames: int, size_px: int) -> torch.Size:
    settings = {**json.loads(init_args), "num_classes": 7}
    with torch.device("meta"):
        network = ClipClassifier.from_settings({**settings, "blocks": settings["blocks"] or []}).eval()
    return network(torch.empty(1, 3, num_frames, size_px, size_px, device="meta")).shape
