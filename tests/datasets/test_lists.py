"""Lists of panoramas: the format, and messages about wrong lines."""

import pytest

from datasets.on_disk import PanoramaFiles, read_list
from utils.errors import UserError

ALL = ["rgb", "depth", "semantic", "normal"]
LINE = "a/rgb.png a/depth.png a/s.png a/n.png"
FILES = PanoramaFiles("a/rgb.png", "a/depth.png", "a/s.png", "a/n.png")
OTHER = PanoramaFiles("b", "c", "d", "e")


@pytest.fixture
def read(tmp_path):
    def read_content(content: str | bytes, needed=ALL):
        path = tmp_path / "list.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_list(path, needed)

    return read_content


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_byte_order_marks_and_line_ends(read, start, end):
    assert read(f"{start}{LINE}{end}b c d e{end}") == [FILES, OTHER]
    assert read(f"{start}{LINE}{end}{start}b c d e") == [FILES, OTHER], "two concatenated lists"
    assert read(f"{start}# a comment{end}{LINE}") == [FILES]


def test_comments_and_empty_lines(read):
    assert read(f"# rgb depth semantic normal\n\n   \n  # more\n{LINE}\n\t\n#{LINE}\nb\tc\td\te") == [FILES, OTHER]


def test_names_with_spaces(read):
    line = "living room/rgb 1.png\tliving room/d.png\t s 1.png \tn#1, left.png"
    assert read(line) == [PanoramaFiles("living room/rgb 1.png", "living room/d.png", "s 1.png", "n#1, left.png")]


def test_paths_outside_the_root(read):
    assert read("/data/rgb.png ../depth.png ./s.png it's.png") == [
        PanoramaFiles("/data/rgb.png", "../depth.png", "./s.png", "it's.png")
    ]


def test_only_needed_columns(read):
    """In the order depth, semantic, normal, or all four columns."""
    assert read(f"b c\n{LINE}", ["rgb", "depth"]) == [PanoramaFiles("b", "c", None, None), FILES]
    assert read("b c", ["rgb", "normal"]) == [PanoramaFiles("b", None, None, "c")]
    assert read("b c d", ["rgb", "semantic", "normal"]) == [PanoramaFiles("b", None, "c", "d")]


def test_absent_maps(read):
    assert read("b - - e\nb\tc\t-\t-") == [PanoramaFiles("b", None, None, "e"), PanoramaFiles("b", "c", None, None)]
    assert read("b -", ["rgb", "depth"]) == [PanoramaFiles("b", None, None, None)]


@pytest.mark.parametrize(
    ("line", "needed", "reason"),
    [
        ("a b c", ALL, r"expected four paths \(rgb depth semantic normal\), got 3"),
        ("a b c d e", ALL, "got 5"),
        ("a", ["rgb", "depth"], r"expected two paths \(rgb depth\) or four paths \(rgb depth semantic normal\), got 1"),
        ("a b c", ["rgb", "depth"], "got 3"),
        ("a b", ["rgb", "depth", "normal"], r"expected three paths \(rgb depth normal\) or four"),
        ("living room.png d.png s.png n.png", ALL, "separate names with spaces by tabs"),
        ("a,b,c,d", ALL, "the line holds ,"),
        ("a, b, c, d", ALL, "the line holds ,"),
        ("a;b;c;d", ALL, "the line holds ;"),
        ('"a a" b c d', ALL, 'the line holds "'),
        ("'a' b c d", ALL, "the line holds '"),
        ("a\t\tc\td", ALL, "between two tabs"),
        (r"a\a.png b c d", ALL, "backslash"),
        ("- b c d", ALL, "RGB image"),
    ],
)
def test_wrong_lines(read, line, needed, reason):
    with pytest.raises(UserError, match=rf"list\.txt, line 4: .*{reason}") as info:
        read(f"# one\n\n{LINE}\n{line}\n", needed)
    assert "\n" not in str(info.value)
    assert len(str(info.value)) < 500


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_other_encodings(read, encoding):
    with pytest.raises(UserError, match=r"list\.txt is not UTF-8 text.*save it as UTF-8") as info:
        read(LINE.replace("a/", "ä/").encode(encoding))
    assert ("UTF-16" in str(info.value)) == (encoding in ("utf-16", "utf-32")), "with a byte order mark"


def test_missing_list(tmp_path):
    with pytest.raises(UserError, match=r"list\.txt cannot be read: No such file"):
        read_list(tmp_path / "list.txt", ALL)


@pytest.mark.parametrize("content", ["", "\ufeff", "# nothing\n\n"])
def test_empty_lists(read, content):
    with pytest.raises(UserError, match=r"list\.txt names no panorama"):
        read(content)
