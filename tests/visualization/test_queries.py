import pytest

from videonl.errors import UserError
from videonl.visualization import parse_queries, parse_query

SIZE = (6, 40, 56)


def test_queries_of_every_kind_keep_their_order_and_are_named():
    queries = parse_queries([" 4, 36,20 ", "auto", "grid:3x1x2"], SIZE)
    assert queries == {
        "t4_y36_x20": (4, 36, 20),
        "auto": None,
        "t1_y20_x14": (1, 20, 14),
        "t1_y20_x42": (1, 20, 42),
        "t3_y20_x14": (3, 20, 14),
        "t3_y20_x42": (3, 20, 42),
        "t5_y20_x14": (5, 20, 14),
        "t5_y20_x42": (5, 20, 42),
    }
    assert list(queries)[:2] == ["t4_y36_x20", "auto"]


def test_a_query_given_twice_is_asked_once():
    assert parse_queries(["1,2,3", "auto", "01,2,3", "auto"], SIZE) == {"t1_y2_x3": (1, 2, 3), "auto": None}


def test_a_grid_as_fine_as_the_clip_is_every_pixel():
    assert list(parse_queries(["grid:6x2x1"], (6, 2, 1)).values()) == [(t, y, 0) for t in range(6) for y in range(2)]


@pytest.mark.parametrize("text", ["", "4,36", "4,36,20,1", "a,b,c", "4;36;20", "1.5,2,3"])
def test_parse_query_names_the_text_and_shows_an_example(text):
    with pytest.raises(UserError, match="4,36,20") as raised:
        parse_query(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grid:4x4", "three whole numbers"),
        ("grid:axbxc", "three whole numbers"),
        ("grid:0x2x2", "1 to 6 parts in time, 40 in height, 56 in width"),
        ("grid:7x2x2", "1 to 6 parts in time"),
        ("grid:6x40x56", "13440 positions; at most 1000"),
    ],
)
def test_a_grid_that_does_not_work_says_why(text, expected):
    with pytest.raises(UserError, match=expected) as raised:
        parse_queries([text], SIZE)
    assert repr(text) in str(raised.value)
