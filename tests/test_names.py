"""Names of any length become labels and parts of file names that are bounded and still tell them apart."""

import re

import pytest

from videonl.names import file_names, file_part, shortened


@pytest.mark.parametrize("most", range(1, 12))
def test_a_shortened_name_has_its_length_and_its_ends(most: int) -> None:
    name = "0123456789" * 7
    found = shortened(name, most)
    assert len(found) == most and found.count("…") == 1
    head, tail = found.split("…")
    assert name.startswith(head) and name.endswith(tail) and 0 <= len(head) - len(tail) <= 1


def test_names_that_fit_stay_and_lines_become_one() -> None:
    assert shortened("passing American football (not in game)") == "passing American football (not in game)"
    assert shortened(" a\n\n b\tc ") == "a b c"
    assert shortened("") == ""


@pytest.mark.parametrize("letter", ["x", "ü", "握", "𠀀"])
def test_a_part_of_a_file_name_is_bounded_in_bytes_and_distinct(letter: str) -> None:
    parts = [file_part(letter * 3000 + ending, number) for number, ending in enumerate("ab")]
    assert parts[0] != parts[1]
    assert all(len(part.encode()) <= 130 for part in parts)
    assert file_part("a b", 1) == "a-b_1" and file_part("a-b", 2) == "a-b"


def test_files_are_named_after_paths_and_never_alike() -> None:
    paths = [
        "x/a.mp4",
        "y/a.mp4",
        "x/A.mp4",
        "x/b c.mp4",
        "x/b  c.mp4",
        "d.avi",
        "x/d/e.mp4",
        "z/x/d/e.mp4",
        "x/" + "n" * 300,
    ]
    names = file_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert names[1] == "y-a" and names[5] == "d"
    assert all(re.fullmatch(r"[\w.-]+", name) and len(name.encode()) < 180 for name in names)
    for shift in range(1, len(paths)):  # not of their order
        assert file_names(paths[shift:] + paths[:shift]) == names[shift:] + names[:shift]
    assert file_names([]) == []
