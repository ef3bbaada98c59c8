"""Names of classes: the published lists, and files in the forms that are about."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from videonl.errors import UserError
from videonl.models.class_names import PUBLISHED, SIZES, class_names, lists_of

SHARED = Path(__file__).resolve().parents[3] / "shared" / "weights" / "kinetics400_label_map.txt"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("kinetics400", {0: "abseiling", 159: "hula hooping", 246: "playing tennis", 399: "zumba"}),
        ("kinetics600", {1: "acting in play", 250: "krumping", 388: "pumping fist", 599: "zumba"}),
        ("kinetics700", {17: "auctioning", 322: "marriage proposal", 550: "skydiving", 699: "zumba"}),
        ("imagenet", {0: "tench", 1: "goldfish", 207: "golden retriever", 999: "toilet tissue"}),
    ],
)
def test_published_lists(name: str, known: dict[int, str]) -> None:
    names = class_names(name)
    assert len(names) == len(set(names)) == SIZES[name]
    assert {index: names[index] for index in known} == known
    assert lists_of(len(names)) == [name]
    if name.startswith("kinetics"):
        assert names == sorted(names) and all(each == each.strip() for each in names)


def test_every_published_list_has_a_size() -> None:
    assert PUBLISHED.keys() == SIZES.keys()


@pytest.mark.parametrize(
    ("name", "digest"),
    [("kinetics400", "a8dafb93a1204d4e"), ("kinetics600", "5d9a560f98fcfed0"), ("kinetics700", "a34c9fed41f5f9ed")],
)
def test_lists_are_those_that_were_compared(name: str, digest: str) -> None:
    """Kinetics-400 in torchvision, Kinetics-600 in mmaction2, X-CLIP and MoViNet; 700 in mmaction2 and GluonCV."""
    assert sha256("\n".join(class_names(name)).encode()).hexdigest()[:16] == digest


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_file(), reason=f"{SHARED} is absent")
def test_kinetics400_is_deepminds_label_map() -> None:
    assert class_names("kinetics400") == SHARED.read_text().splitlines()


def test_kinetics400_is_torchvisions() -> None:
    from torchvision.models.video import R3D_18_Weights

    assert class_names("kinetics400") == R3D_18_Weights.KINETICS400_V1.meta["categories"]


NAMES = ["serve", "a smash, hard", "lob"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("plain.txt", "serve\na smash, hard\nlob\n\n"),
        ("marked.txt", "\ufeffserve\r\na smash, hard\r\nlob\r\n"),
        ("classInd.txt", "1 serve\n2 a smash, hard\n3 lob\n"),
        ("numbered.csv", "0,serve\n1,a smash, hard\n2,lob\n"),
        ("table.csv", 'id,name\n1,"a smash, hard"\n0,serve\n2,lob\n'),
        ("epic.csv", 'id,key,instances\n0,serve,x\n1,"a smash, hard",y\n2,lob,z\n'),
        ("unordered.csv", 'name,videos\nserve,3\n"a smash, hard",4\nlob,5\n'),
        ("list.json", json.dumps(NAMES)),
        ("classids.json", json.dumps({'"a smash, hard"': 1, "lob": 2, "serve": 0})),
        ("id2label.json", json.dumps({"2": "lob", "0": "serve", "1": "a smash, hard"})),
    ],
)
def test_files(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text, encoding="utf-8", newline="")
    assert class_names(tmp_path / file) == NAMES


def test_names_that_are_numbers_stay_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("3 points\n1 point\n2 points\n")
    assert class_names(tmp_path / "names.txt") == ["3 points", "1 point", "2 points"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("blank.txt", "serve\n\nlob\n", "class 1 has no name; a blank line would shift"),
        ("twice.txt", "serve\nlob\nserve\n", "class 0 and class 2 are both named 'serve'"),
        ("empty.txt", "\n", "names no classes"),
        ("gap.json", '{"serve": 0, "lob": 2}', "its indices do not count the classes one by one"),
        ("broken.json", "{", "cannot be read as a list of class names"),
        ("number.json", "3", "cannot be read as a list of class names"),
        ("table.csv", "id,name\nx,serve\n", "cannot be read as a list of class names"),
        ("short.csv", "id,name\n0\n", "cannot be read as a list of class names"),
    ],
)
def test_files_that_do_not_name_every_class_once(tmp_path: Path, file: str, text: str, message: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(UserError) as refused:
        class_names(tmp_path / file)
    assert message in str(refused.value) and file in str(refused.value)


def test_what_is_neither_a_file_nor_a_list() -> None:
    with pytest.raises(UserError, match="kinetics401 is neither a file nor a published list; those are: kinetics400"):
        class_names("kinetics401")


def test_other_encodings_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("Öffnen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin.txt cannot be read"):
        class_names(tmp_path / "latin.txt")
    with pytest.raises(UserError, match="is neither a file nor"):
        class_names(tmp_path)
