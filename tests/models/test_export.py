"""Exported programs run by themselves and say what the network says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from videonl.blocks import BLOCKS
from videonl.errors import UserError
from videonl.models import ClipClassifier, Insertion
from videonl.models.export import Agreement, ProgramDiffersError, _told, beside, export

ABOUT = {"class_names": ["a", "b"], "clip": {"num_frames": 4}}
NONLOCAL = [
    {},
    {"pairwise": "gaussian"},
    {"pairwise": "dot_product"},
    {"reach": "time"},
    {"reach": "groups", "group_frames": 2},
]
CONCATENATION = {"pairwise": "concatenation"}


def network(block: str = "nonlocal", options: dict[str, Any] | None = None) -> ClipClassifier:
    torch.manual_seed(3)
    fusion = block == "asymmetric_fusion"
    insertion = Insertion(block, ["res5" if fusion else "res3"], options or {}, "res4" if fusion else None)
    # Tracing takes the longer the more layers there are.
    classifier = ClipClassifier("hara_r3d", 7, [insertion], width=3, backbone_options={"depth": 10}).eval()
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, nn.BatchNorm3d):  # those that start at 0 would hide the block
                module.weight.fill_(0.7)
    return classifier


def clip(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 4, 37, 41)


def run_onnx(path: Path, x: Tensor) -> Tensor:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["logits"], {"clip": x.numpy()})[0])


def assert_same(found: Tensor, classifier: ClipClassifier, x: Tensor) -> None:
    with torch.no_grad():
        expected = classifier(x)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_torch_export_runs_alone_with_any_batch(tmp_path: Path) -> None:
    classifier, path = network(), tmp_path / "new" / "network.pt2"
    assert export(classifier, clip(), path, "torch-export", ABOUT, any_batch=True).logits < 1e-4
    assert {each.name for each in path.parent.iterdir()} == {"network.pt2", "network.pt2.json"}
    assert json.loads(beside(path).read_text()) == ABOUT
    program = torch.export.load(path).module()
    for batch in (1, 2, 5):
        x = clip(batch)
        assert_same(program(x), classifier, x)


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="torch 2.6 cannot convert batch norms to ONNX")
def test_onnx_runs_alone_with_any_batch_and_carries_what_belongs_to_it(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    classifier, path = network(), tmp_path / "network.onnx"
    assert export(classifier, clip(), path, "onnx", ABOUT, any_batch=True).logits < 1e-4
    assert [each.name for each in tmp_path.iterdir()] == ["network.onnx"]
    for batch in (1, 2, 5):
        x = clip(batch)
        assert_same(run_onnx(path, x), classifier, x)
    metadata = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert {name: json.loads(metadata[name]) for name in ABOUT} == ABOUT


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torch-export", "onnx"])
@pytest.mark.parametrize(
    ("block", "options"),
    [
        *((name, {}) for name in BLOCKS if name != "nonlocal"),
        *(("nonlocal", options) for options in [*NONLOCAL, CONCATENATION]),
    ],
)
def test_every_block_is_exported(tmp_path: Path, block: str, options: dict[str, Any], kind: str) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    arguments = network(block, options), clip(), tmp_path / "program", kind, ABOUT
    if kind == "onnx" and options == CONCATENATION:
        with pytest.raises(UserError, match="searchsorted"):
            export(*arguments, any_batch=True)
        assert not list(tmp_path.iterdir())
    else:
        assert export(*arguments, any_batch=True).logits < 1e-4


class Forgetful(nn.Module):
    """Says something else each time it is traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3, 4)) + (1.0 if torch.compiler.is_compiling() else 0.0)


def test_a_program_that_differs_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"differs from the network by .* it was not kept. This is more than"):
        export(Forgetful(), clip(), tmp_path / "program.pt2", "torch-export", ABOUT, any_batch=True)
    assert not list(tmp_path.iterdir())


class Amplifying(nn.Module):
    """Makes thousandths of what float32 rounds, as affinities of thousands do."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(1e6 * x.mean(dim=(2, 3, 4)))


@pytest.mark.skipif(torch.__version__.startswith("2.6."), reason="as above")
def test_a_network_that_amplifies_rounding_is_refused_with_the_cause_and_kept_on_demand(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    arguments = Amplifying(), clip(), tmp_path / "network.onnx", "onnx", ABOUT
    with pytest.raises(ProgramDiffersError, match=r"in the probabilities; it was not kept\. Rounding explains it"):
        export(*arguments, any_batch=True)
    assert not list(tmp_path.iterdir())
    agreement = export(*arguments, any_batch=True, tolerance=2.0)
    assert arguments[2].is_file()
    assert 1e-4 < agreement.logits <= 2 and 0 < agreement.probabilities <= 1


@pytest.mark.parametrize(
    ("rounding", "cause"), [(1.6e-4, "Rounding explains it"), (5e-7, "This is more than rounding")]
)
def test_rounding_of_a_saturated_softmax_is_told_from_another_program(rounding: float, cause: str) -> None:
    """Both figures of the former were measured on a network whose affinities reach a million."""
    assert f"it was not kept. {cause}" in _told(Agreement(2.6e-3, 6e-4), rounding, tolerance=1e-4)


def test_a_network_that_cannot_be_traced_is_said(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) if x.sum() > 0 else -x.flatten(1)

    with pytest.raises(UserError, match=r"this network cannot be exported by torch\.export"):
        export(Branching(), clip(), tmp_path / "program.pt2", "torch-export", ABOUT, any_batch=True)


def test_missing_packages_are_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("videonl.models.export.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(UserError, match=r"needs onnxruntime: pip install 'videonl\[export\]'"):
        export(network(), clip(), tmp_path / "program.onnx", "onnx", ABOUT, any_batch=True)


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path, files_at_most: Callable[[int], Any]) -> None:
    with files_at_most(10_007), pytest.raises(UserError, match=r"network\.pt2 cannot be written \(File too large\)"):
        export(network(), clip(), tmp_path / "network.pt2", "torch-export", ABOUT, any_batch=True)
    assert not any(tmp_path.iterdir())
