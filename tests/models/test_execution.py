"""A classifier runs as asked, and how it runs changes neither its numbers nor its weights."""

import copy
import dataclasses
import json
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from videonl.backbones.fold import folded
from videonl.backbones.rewrites import FrameConv3d, FrameMaxPool3d
from videonl.models import ClipClassifier, Execution, Insertion
from videonl.models.execution import set_execution

FIVE = Insertion("nonlocal", {"res3": [1, 3], "res4": [1, 3, 5]})
PLAIN = Execution(frames_in_2d=False, in_place=False)
NAMES_R50 = ["c2d_r50", "i3d_r50", "slow_r50"]


def classifier(execution: Execution, backbone: str = "i3d_r50") -> ClipClassifier:
    torch.manual_seed(3)
    network = ClipClassifier(backbone, 7, [FIVE], width=4, dropout=0.0, execution=execution)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.constant_(module.weight, 0.7)
    return network.to(memory_format=torch.channels_last_3d)


def clip(dtype: torch.dtype = torch.float32) -> Tensor:
    clip = torch.randn(2, 3, 5, 37, 41, dtype=dtype, generator=torch.Generator().manual_seed(5))
    return clip.contiguous(memory_format=torch.channels_last_3d)


def gradients(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and all gradients in one vector, whose largest is what small ones are rounded against."""
    logits = network(x)
    found = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    return logits.detach(), torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("backbone", NAMES_R50)
def test_logits_and_gradients_are_the_plain_ones(backbone: str, training: bool) -> None:
    plain, ours = (classifier(execution, backbone).train(training) for execution in (PLAIN, Execution()))
    in_float32 = [gradients(copy.deepcopy(network), clip()) for network in (ours, plain)]
    in_float64 = [gradients(network.double(), clip(torch.float64)) for network in (ours, plain)]
    for exact, truth, rounded, plainly_rounded in zip(*in_float64, *in_float32, strict=True):
        scale = float(truth.abs().max())
        torch.testing.assert_close(exact, truth, rtol=0, atol=1e-10 * scale)
        # Batch statistics of few positions amplify rounding, that of either network.
        plain_error = float((plainly_rounded - truth).abs().max())
        assert float((rounded - truth).abs().max()) < max(1e-5 * scale, 3 * plain_error)


def test_every_option_can_be_switched_off() -> None:
    plain = classifier(PLAIN)
    assert not any(isinstance(module, FrameConv3d | FrameMaxPool3d) for module in plain.modules())
    assert not any(getattr(module, "inplace", False) for module in plain.modules())
    ours = classifier(Execution())
    # All convolutions but the stem's and the nine of kernel 3 x 1 x 1, those of blocks included.
    assert sum(isinstance(module, FrameConv3d) for module in ours.modules()) == 53 + 5 * 4 - 1 - 9
    assert sum(isinstance(module, FrameMaxPool3d) for module in ours.modules()) == 1


def test_weights_go_both_ways() -> None:
    plain, ours = classifier(PLAIN).eval(), classifier(Execution(checkpoint=["res3"])).eval()
    for parameter in ours.parameters():
        nn.init.constant_(parameter, 0.0)
    assert list(ours.state_dict()) == list(plain.state_dict())
    ours.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ours(clip()), plain(clip()))
    plain.load_state_dict(ours.state_dict())


def shallow() -> ClipClassifier:
    """Of ten layers and two blocks: tracing takes the longer the more there are."""
    blocks = [Insertion("nonlocal", ["res3", "res4"])]
    return ClipClassifier("hara_r3d", 7, blocks, width=4, dropout=0.0, backbone_options={"depth": 10})


@pytest.mark.parametrize("build", [shallow, pytest.param(lambda: classifier(Execution()), marks=pytest.mark.slow)])
def test_compiling_the_whole_needs_no_graph_break(build: Callable[[], ClipClassifier]) -> None:
    network = build()
    torch.compiler.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    twin = copy.deepcopy(network)
    torch.testing.assert_close(compiled(clip()), twin(clip()))
    torch.compiler.reset()


def test_compile_is_an_option_that_copies_and_weights_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.compiler.reset()
    compile_module = nn.Module.compile
    # Compiling for real takes minutes; that the network asks for it is ours.
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_module(module, backend="eager"))
    network = nn.Sequential(nn.Conv3d(3, 5, (1, 3, 3)), nn.BatchNorm3d(5))
    keys, expected = list(network.state_dict()), network(clip())
    set_execution(network, {}, Execution(compile=True))
    assert network._compiled_call_impl is not None
    for twin in (network, copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(twin(clip()), expected)
        assert list(twin.state_dict()) == keys
    torch.compiler.reset()


def test_export_computes_the_same() -> None:
    network = classifier(Execution()).eval()
    exported = torch.export.export(network, (clip(),))
    torch.testing.assert_close(exported.module()(clip()), network(clip()))


def test_autocast_rounds_as_before() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        expected, logits = (classifier(execution).eval()(clip()) for execution in (PLAIN, Execution()))
    torch.testing.assert_close(logits, expected, rtol=0.02, atol=0.02 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore")  # torch.jit.trace has much to say
def test_multiply_adds_are_counted_as_before() -> None:
    plain, ours = (
        FlopCountAnalysis(classifier(execution).eval(), clip()[:1])
        .unsupported_ops_warnings(False)
        .uncalled_modules_warnings(False)
        for execution in (PLAIN, Execution())
    )
    assert ours.by_operator()["conv"] == plain.by_operator()["conv"] > 1e6
    assert ours.total() == plain.total()


def test_settings_are_plain_data_and_build_the_same_network() -> None:
    execution = Execution(frames_in_2d=False, in_place=False, checkpoint=["res4"])
    network = ClipClassifier("c2d_r50", 7, [FIVE], width=4, batch_norm="affine", execution=execution)
    again = ClipClassifier.from_settings(json.loads(json.dumps(network.settings)))
    assert again.settings == network.settings
    assert network.settings["execution"] == dataclasses.asdict(execution)
    assert [type(module).__name__ for module in again.modules()] == [
        type(module).__name__ for module in network.modules()
    ]


def test_settings_without_execution_are_those_of_older_networks() -> None:
    settings = {"backbone": "c2d_r50", "num_classes": 7, "blocks": [], "width": 4, "dropout": 0.5}
    network = ClipClassifier.from_settings(settings)
    assert network.settings["execution"] == dataclasses.asdict(Execution())
    assert network.settings["batch_norm"] == "trained"


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mixed", [True, False], ids=["bf16-mixed", "bf16-true"])
def test_in_bfloat16_channels_stay_innermost(mixed: bool, training: bool) -> None:
    network = classifier(Execution()).train() if training else folded(classifier(Execution()))
    network = network if mixed else network.to(torch.bfloat16)
    seen: dict[str, Tensor] = {}
    for path, module in network.named_modules():
        module.register_forward_hook(lambda module, given, found, path=path: seen.update({path: found}))
    x = clip().to(torch.float32 if mixed else torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed), torch.set_grad_enabled(training):
        network(x)
    features = {path: found for path, found in seen.items() if isinstance(found, Tensor) and found.ndim == 5}
    # Without its positions one order of memory is as good as another.
    spread = {path: found for path, found in features.items() if found[0, 0].numel() > 1}
    assert len(spread) > 100
    assert [path for path, x in spread.items() if not x.is_contiguous(memory_format=torch.channels_last_3d)] == []
    convolutions = [path for path in spread if isinstance(network.get_submodule(path), nn.Conv3d)]
    assert len(convolutions) > 50
    assert {features[path].dtype for path in convolutions} == {torch.bfloat16}


PROBE = """
import resource, torch
from videonl.models.execution import keep_freed_memory

def faults():
    for _ in range(10):  # the first few settle where in the heap there is room for one
        torch.ones(50 * 2**20 // 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(50 * 2**20 // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory(), faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again() -> None:
    words = [sys.executable, "-c", PROBE]
    before, kept, after = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    if kept != "True":
        pytest.skip("the C library is not glibc")
    pages = 50 * 2**20 // resource.getpagesize()
    assert int(after) < 2 * pages and 9 * pages < int(before)
