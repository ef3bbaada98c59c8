"""Names resolve through the libraries' own hubs, and their cache serves offline."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from videonl.errors import UserError
from videonl.models import ClipClassifier
from videonl.models.transfer import load_into
from videonl.models.weights import Weights
from videonl.models.zoo import PUBLISHED, find_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def classifier(backbone: str = "i3d_r50", width: int = 4) -> ClipClassifier:
    return ClipClassifier(backbone, 7, width=width)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_name_has_an_address_in_its_library(name: str) -> None:
    url, class_names = PUBLISHED[name].url()
    assert url.startswith("https://")
    if PUBLISHED[name].layout == "torchvision":
        assert len(class_names) == (1000 if name.startswith("imagenet/") else 400)


def test_addresses_are_those_of_the_hubs() -> None:
    from torchvision.models import ResNet50_Weights
    from torchvision.models.video import R3D_18_Weights

    assert PUBLISHED["imagenet/resnet50"].url()[0] == ResNet50_Weights.IMAGENET1K_V1.url
    assert PUBLISHED["kinetics400/r3d_18"].url()[0] == R3D_18_Weights.KINETICS400_V1.url
    assert PUBLISHED["kinetics400/i3d_r50"].url()[0].endswith("/kinetics/I3D_8x8_R50.pyth")


@pytest.mark.parametrize("backbone", ["c2d_r50", "i3d_r50", "slow_r50"])
def test_cached_kinetics_weights_serve_offline(cache: Path, backbone: str) -> None:
    source, target = classifier(backbone), classifier(backbone)
    url = PUBLISHED[f"kinetics400/{backbone}"].url()[0]
    torch.save({"model_state": source.network.state_dict()}, cache / url.rpartition("/")[2])
    weights = find_weights(f"kinetics400/{backbone}", target)
    assert weights.clip["num_frames"] == weights.clip["stride_frames"] == 8
    load_into(target, weights)
    clip = torch.randn(2, 3, 5, 37, 41)
    assert torch.equal(target.eval()(clip), source.eval()(clip))


def test_cached_image_weights_are_inflated_to_the_network(cache: Path) -> None:
    from torchvision.models import resnet50

    state = resnet50().state_dict()
    torch.save(state, cache / PUBLISHED["imagenet/resnet50"].url()[0].rpartition("/")[2])
    target = classifier(width=64)
    weights = find_weights("imagenet/resnet50", target)
    assert len(weights.class_names) == 1000
    said = load_into(target, weights, {"mean": (0.45,) * 3, "std": (0.225,) * 3})
    assert said[1] == "the head is newly initialized, for 7 classes: imagenet/resnet50 has one for 1000 classes"
    assert torch.allclose(target.network.blocks[0].conv.weight.sum(dim=2), state["conv1.weight"], atol=1e-6)


def test_offline_is_said_with_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **options: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(UserError) as caught:
        find_weights("kinetics400/slow_r50", classifier())
    assert "kinetics400/slow_r50 could not be downloaded (<urlopen error no route to host>)" in str(caught.value)
    assert str(cache / "SLOW_8x8_R50.pyth") in str(caught.value)


def test_files_are_found_by_path_and_unknown_names_listed(tmp_path: Path) -> None:
    source = classifier()
    Weights(source.network.state_dict(), "x", source.settings).save(tmp_path / "own.pt")
    assert find_weights(str(tmp_path / "own.pt"), classifier()).network == source.settings
    with pytest.raises(
        UserError, match=r"kinetics400/i3d_r51 is neither a file nor a known name; .*kinetics400/i3d_r50"
    ):
        find_weights("kinetics400/i3d_r51", classifier())
