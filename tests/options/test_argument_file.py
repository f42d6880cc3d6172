"""Option files before a command line."""

import pytest

from options.argument_file import ArgumentFileParser
from utils.errors import UserError


@pytest.fixture
def parser():
    parser = ArgumentFileParser("test")
    parser.add_argument("--app", nargs="+", default=["detection"])
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("-b", "--batch_size", type=int, default=32)
    parser.add_argument("--amp", action="store_true")
    return parser


@pytest.fixture
def write(tmp_path):
    def write(text, name="a.cfg"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_files_and_command_line(parser, write):
    first = write("# a comment\n--app segmentation depth   # two tasks\n\n--lr 0.1 -b 8\n--amp\n")
    second = write("--lr 0.2", "b.cfg")
    options = parser.parse_args([first, second, "--batch_size", "4"])
    assert (options.app, options.lr, options.batch_size, options.amp) == (["segmentation", "depth"], 0.2, 4, True)
    assert options.cfg == [first, second]
    assert parser.parse_args([first]).lr == 0.1


def test_later_options_win(parser, write):
    assert parser.parse_args([write("--lr 0.1\n--lr 0.3\n")]).lr == 0.3
    assert parser.parse_args(["--lr", "0.5", "--lr", "0.4", write("--lr 0.1")]).lr == 0.4


def test_without_a_file(parser):
    options = parser.parse_args(["--lr", "0.5"])
    assert (options.lr, options.batch_size, options.cfg) == (0.5, 32, [])


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("--lr 1\n--unknown 3", "line 2", "--unknown"),
        ("--lr one", "line 1", "one"),
        ("--lr", "line 1", "--lr"),
        ("\n\nlr 1", "line 3", "lr"),
    ],
)
def test_errors_name_file_and_line(parser, write, capsys, text, place, word):
    path = write(text)
    with pytest.raises(SystemExit) as info:
        parser.parse_args([path])
    assert info.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert path in line
    assert place in line
    assert word in line


def test_errors_of_the_command_line_name_no_file(parser, write, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args([write("--lr 1"), "--unknown"])
    [line] = capsys.readouterr().err.splitlines()
    assert "--unknown" in line
    assert ".cfg" not in line


@pytest.mark.parametrize("name", ["missing.cfg", "."])
def test_a_missing_file(parser, tmp_path, name):
    path = str(tmp_path / name) + ("" if name != "." else "/x.cfg")
    with pytest.raises(UserError, match=r"\.cfg cannot be read"):
        parser.parse_args([path])


def test_binary_files(parser, tmp_path):
    (tmp_path / "a.cfg").write_bytes(b"\xff\xfe--lr")
    with pytest.raises(UserError, match=r"a\.cfg is not UTF-8"):
        parser.parse_args([str(tmp_path / "a.cfg")])


def test_unclosed_quotes(parser, write):
    with pytest.raises(UserError, match=r"a\.cfg, line 1"):
        parser.parse_args([write("--app 'depth")])


def test_other_positional_arguments(parser, capsys):
    with pytest.raises(SystemExit):
        parser.parse_args(["train"])
    assert "train" in capsys.readouterr().err
