"""On a real GPU: precisions, memory formats, compilation, graphs, pinned memory and streams, against the CPU."""

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from videonl.blocks import BLOCKS
from videonl.data.transforms import ClipFormat
from videonl.inference import Recognizer
from videonl.inference.recognizer import lay_out
from videonl.models import ClipClassifier, Insertion
from videonl.visualization import attention_maps, evidence_maps, last_features

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU"),
]
CUDA = torch.device("cuda")
CLIP = ClipFormat(num_frames=8, short_side_px=71, crop_px=64)
# The largest error relative to the largest logit; of a ResNet-50 whose weights are drawn.
ERRORS = {torch.bfloat16: 0.05, torch.float16: 0.02}


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """float32 means float32, whatever another test set."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def network() -> ClipClassifier:
    torch.manual_seed(0)
    made = ClipClassifier("i3d_r50", 7, [Insertion("nonlocal", ["res3"]), Insertion("gc", ["res4"])], width=16)
    for tensor in made.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim == 1:
            tensor.uniform_(0.1, 0.3)  # norms and blocks that do something
    return made.eval()


@pytest.fixture(scope="module")
def clip() -> Tensor:
    return torch.randn(3, 3, 8, 64, 64, generator=torch.Generator().manual_seed(3))


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    return float((found.float().cpu() - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def expected(network: ClipClassifier, clip: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(clip).clone()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_float32_is_that_of_the_cpu(
    network: ClipClassifier, clip: Tensor, expected: Tensor, layout: torch.memory_format
) -> None:
    there = copy.deepcopy(network).to(CUDA)
    lay_out(there, layout)
    with torch.inference_mode():
        assert apart(there(clip.to(CUDA, memory_format=layout)), expected) < 1e-4


def test_tf32_rounds_as_it_says(network: ClipClassifier, clip: Tensor, expected: Tensor) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    with torch.inference_mode():
        assert apart(copy.deepcopy(network).to(CUDA)(clip.to(CUDA)), expected) < 0.02


@pytest.mark.parametrize("dtype", ERRORS)
@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision(
    network: ClipClassifier, clip: Tensor, expected: Tensor, dtype: torch.dtype, autocast: bool
) -> None:
    there, given = copy.deepcopy(network).to(CUDA), clip.to(CUDA)
    if not autocast:
        there, given = there.to(dtype), given.to(dtype)
    with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=autocast):
        assert apart(there(given), expected) < ERRORS[dtype]


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_of_blocks_are_those_of_the_cpu(name: str) -> None:
    low = {"low_channels": 13} if BLOCKS[name].takes_low else {}
    torch.manual_seed(3)
    block = BLOCKS[name](11, **low).double()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    given = [torch.randn(2, channels, 3, 5, 7, dtype=torch.float64) for channels in (11, 13)[: 1 + len(low)]]
    results = []
    for one, device in ((block, torch.device("cpu")), (copy.deepcopy(block).to(CUDA), CUDA)):
        parts = [part.to(device).requires_grad_() for part in given]
        output = one(*parts)
        results.append([output, *torch.autograd.grad(output.square().sum(), [*parts, *one.parameters()])])
    for here, there in zip(*results, strict=True):
        torch.testing.assert_close(there.cpu(), here, rtol=1e-9, atol=1e-9)


def test_compiled_networks_say_the_same(network: ClipClassifier, clip: Tensor, expected: Tensor) -> None:
    compiled = torch.compile(copy.deepcopy(network).to(CUDA))
    with torch.no_grad():
        assert apart(compiled(clip.to(CUDA)), expected) < 1e-3


def test_inference_is_captured_in_a_graph(network: ClipClassifier, clip: Tensor, expected: Tensor) -> None:
    there, given = copy.deepcopy(network).to(CUDA), torch.zeros_like(clip, device=CUDA)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad():
        with torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their kernels before anything is captured
                there(given)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            logits = there(given)
    given.copy_(clip)
    graph.replay()
    assert apart(logits, expected) < 1e-4


def test_pinned_clips_are_scored_as_others(network: ClipClassifier) -> None:
    pixels = torch.randint(256, (3, 3, 8, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    here = Recognizer(copy.deepcopy(network), CLIP).logits(pixels)
    there = Recognizer(copy.deepcopy(network).to(CUDA), CLIP)
    for given in (pixels, pixels.pin_memory(), pixels.pin_memory().to(CUDA, non_blocking=True)):
        assert apart(there.logits(given), here) < 1e-3


def test_two_streams_do_not_disturb_one_another(network: ClipClassifier, clip: Tensor, expected: Tensor) -> None:
    networks = [copy.deepcopy(network).to(CUDA) for _ in range(2)]
    streams, given, found = [torch.cuda.Stream() for _ in networks], clip.to(CUDA), []
    torch.cuda.synchronize()
    with torch.inference_mode():
        for _ in range(5):
            for stream, one in zip(streams, networks, strict=True):
                with torch.cuda.stream(stream):
                    found.append(one(given))
    torch.cuda.synchronize()
    assert max(apart(logits, expected) for logits in found) < 1e-4


def test_attention_and_evidence_are_those_of_the_cpu(network: ClipClassifier, clip: Tensor) -> None:
    seen = []
    for one, given in ((network, clip[:1]), (copy.deepcopy(network).to(CUDA), clip[:1].to(CUDA))):
        maps = attention_maps(one, one.blocks, given, [(3, 11, 7)])
        evidence = evidence_maps(one, last_features(one, given), given, {0: "a", 5: "b"})
        seen.append([*(shown.values for each in maps.values() for shown in each), *(each.values for each in evidence)])
    for here, there in zip(*seen, strict=True):
        assert apart(there, here) < 1e-3
