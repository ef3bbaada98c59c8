"""What the page holds, decoded here, against the block."""

import pytest
import torch
from torch import Tensor

from videonl.blocks import BLOCKS, AttentionBlock
from videonl.errors import UserError
from videonl.visualization.explorer import weights
from videonl.visualization.explorer.weights import TOLERANCE, pack_weights
from videonl.visualization.web.packing import pack

GRID = (3, 5, 7)


def features(channels: int, grid: tuple[int, int, int] = GRID) -> Tensor:
    return torch.randn(1, channels, *grid, generator=torch.Generator().manual_seed(5))


def awake(name: str, channels: int, strength: float = 0.5, **options: object) -> AttentionBlock:
    generator = torch.Generator().manual_seed(3)
    block = BLOCKS[name](channels, **options).eval().requires_grad_(False)
    for parameter in block.parameters():
        parameter.data = strength * torch.randn(parameter.shape, generator=generator)
    return block


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32"])
def test_every_row_is_quantized_by_its_own_range(kind) -> None:
    values = torch.randn(11, 13, generator=torch.Generator().manual_seed(0)) * 10.0 ** torch.arange(-5, 6)[:, None]
    values[3] = 0
    packed = pack(values, kind)
    num_steps = {"uint8": 255, "int16": 2 * 32767, "float32": 2**24}[kind]
    span = values.amax(dim=1) - values.amin(dim=1).clamp(max=0) if kind == "uint8" else 2 * values.abs().amax(dim=1)
    assert ((packed.values - values).abs().amax(dim=1) <= 0.501 * span / num_steps).all()
    assert packed.values[3].eq(0).all()


def test_wider_steps_take_fewer_bytes() -> None:
    values = torch.randn(11, 997, generator=torch.Generator().manual_seed(0))
    fine, coarse = pack(values, "int16"), pack(values, "int16", torch.full((11,), 0.1))
    assert (coarse.values - values).abs().max() <= 0.0501
    assert len(coarse.spec["data"]) < len(fine.spec["data"]) / 2


@pytest.mark.parametrize("strength", [0.1, 1.0, 5.0])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nonlocal", {}),
        ("nonlocal", {"reach": "space"}),
        ("nonlocal", {"reach": "time"}),
        ("nonlocal", {"pairwise": "dot_product"}),
        ("nonlocal", {"pairwise": "concatenation", "reach": "groups", "group_frames": 2}),
        ("asymmetric_pyramid", {"sizes": [(1, 1, 1), (2, 3, 2)]}),
        ("criss_cross", {}),
        ("axial", {}),
        ("snl", {}),
        ("se", {}),
    ],
)
@pytest.mark.parametrize("channels", [2, 83])
def test_weights_are_within_the_tolerance_of_the_block(name, options, channels, strength) -> None:
    block, x = awake(name, channels, strength, **options), features(channels)
    packed = pack_weights("res4.1", block, (x,))
    queries = torch.arange(105)
    expected = block.attention(x, queries)[0].flatten(1)
    largest = expected.abs().amax(dim=1, keepdim=True).clamp(min=1e-30)  # no query may read anything
    difference = (packed.rows(queries).reshape(105, -1) - expected).abs() / largest
    assert difference.max() <= TOLERANCE
    assert packed.error == pytest.approx(float(difference.max()), abs=1e-6)  # all 105 queries are checked
    assert packed.may_be_negative == bool(expected.min() < 0)


def test_few_channels_are_kept_as_a_product_and_many_as_a_table() -> None:
    forms = [pack_weights("b", awake("nonlocal", channels), (features(channels),)).spec["form"] for channels in (4, 83)]
    assert forms == ["product", "table"]


def test_a_form_that_is_too_far_off_is_not_taken(monkeypatch) -> None:
    block, x = awake("nonlocal", 4), features(4)
    monkeypatch.setattr(weights, "TOLERANCE", 1e-5)
    monkeypatch.setattr(weights, "_table", lambda *_: pytest.fail("too large to be tried before the factors"))
    packed = pack_weights("res4.1", block, (x,))
    assert packed.spec["left"]["kind"] == "float32"


def test_a_page_of_one_map_does_not_grow_with_the_queries() -> None:
    sizes = [
        len(str(pack_weights("b", awake("gc", 4), (features(4, grid),)).spec)) for grid in ((2, 5, 7), (8, 23, 29))
    ]
    assert sizes[1] < 3 * 8 * 23 * 29


def test_weights_that_are_not_finite_name_the_block() -> None:
    with pytest.raises(UserError, match=r"'res4\.1'.*not finite"):
        pack_weights("res4.1", awake("nonlocal", 4), (features(4) * float("nan"),))
