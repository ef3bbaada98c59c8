"""Parts by short name and by dotted path."""

import pytest

from videonl.blocks import BLOCKS, NonLocal
from videonl.errors import UserError
from videonl.registry import Registry


@pytest.fixture
def shapes() -> Registry[type]:
    return Registry("shape", {"round": complex})


def test_parts_are_found_by_name_and_by_path(shapes: Registry[type]) -> None:
    assert shapes.find("round") is complex
    assert shapes.find("fractions.Fraction").__name__ == "Fraction"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rond", "unknown shape 'rond'; the shapes are: round, or a dotted path"),
        ("no_such_module_37.Part", "shape no_such_module_37.Part: the module 'no_such_module_37' cannot be imported"),
        ("fractions.Fracture", "the module 'fractions' has no 'Fracture'"),
        (".x", "shape '.x' is not a dotted path"),
    ],
)
def test_what_is_not_there_is_named(shapes: Registry[type], name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        shapes.find(name)


def test_a_registered_part_is_stored_by_its_path(shapes: Registry[type]) -> None:
    from fractions import Fraction

    assert shapes.register("part")(Fraction) is Fraction
    assert shapes.find("part") is Fraction
    assert shapes.stored_name("part") == "fractions.Fraction"
    assert not shapes.is_trusted("part") and not shapes.is_trusted("fractions.Fraction")
    shapes.register("part")(Fraction)  # a module that is imported again
    with pytest.raises(UserError, match="there is a shape 'part' already"):
        shapes.register("part")(complex)
    with pytest.raises(UserError, match="a name without dots"):
        shapes.register("a.b")


def test_built_in_blocks_keep_their_short_names() -> None:
    assert BLOCKS.stored_name("nonlocal") == "nonlocal" and BLOCKS.is_trusted("nonlocal")
    assert BLOCKS["nonlocal"] is NonLocal
