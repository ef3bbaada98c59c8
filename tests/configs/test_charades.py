"""What the Charades recipes set, against section 5.2 of arXiv:1711.07971."""

import pytest

from videonl.cli.configuration import load, run_folder, shipped_configs

CHARADES = shipped_configs() / "experiment" / "charades"
PUBLISHED = {"i3d_r50_128x1": "35.5", "i3d_r50_nl5_128x1": "37.5"}  # mAP on the validation videos, of ResNet-101


def test_there_is_a_recipe_with_and_without_blocks() -> None:
    assert PUBLISHED.keys() == {path.stem for path in CHARADES.glob("*.yaml")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_recipe_is_the_paper_s(name: str) -> None:
    assert f"has {PUBLISHED[name]} % mAP" in (CHARADES / f"{name}.yaml").read_text()
    config = load(CHARADES / f"{name}.yaml")
    trainer, model, data = config["trainer"], config["model"], config["data"]
    assert (config["task"], model["average"]) == ("multi_label", "max")
    assert (
        model["weights"] == f"{run_folder(['--config', f'experiment/kinetics400/{name}.yaml'])}/checkpoints/last.ckpt"
    )
    assert model["network"]["init_args"]["batch_norm"] == "affine"
    assert trainer["devices"] * data["loading"]["batch_size"] == model["optimization"]["lr_per_clips"] == 8
    steps = [round(trainer["max_steps"] * fraction) for fraction in model["optimization"]["milestone_fractions"]]
    assert (model["optimization"]["lr"], trainer["max_steps"], steps) == (0.00125, 200_000, [75_000, 150_000])
    assert data["test_views"] == {"num_clips": 10, "num_crops": 3, "crop_px": 320}
    assert (data["clip"]["num_frames"], data["clip"]["crop_px"]) == (128, 288)
