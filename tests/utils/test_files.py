"""Files are written completely or not at all."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import atomic_path, to_json, write_json, write_text


def test_creates_folders(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert [file.name for file in path.parent.iterdir()] == ["note.txt"]


def test_permissions_follow_umask(tmp_path):
    code = "from utils.files import write_text; import sys; write_text(sys.argv[1], '')"
    command = ["sh", "-c", 'umask 027; exec "$@"', "sh", sys.executable, "-c", code, str(tmp_path / "note.txt")]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o640


def test_writing_does_not_change_umask(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("all threads share the umask"))
    write_text(tmp_path / "note.txt", "")


def test_full_disk():
    """The message names the file, which the error of a full disk does not."""

    def fill(path):
        with atomic_path(path):
            raise OSError(28, "No space left on device")

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(UserError, match=r"note.txt cannot be written: No space left"):
            fill(Path(folder) / "note.txt")
        assert not list(Path(folder).iterdir())


def test_failure_keeps_old_file(tmp_path):
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fail_halfway():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_file_names_in_json(tmp_path):
    """Names that are not valid UTF-8, for which Python uses lone surrogates, are preserved."""
    names = {"path": "bad\udcff.png", "other": "部屋 ä"}
    write_json(tmp_path / "names.json", names)
    assert json.loads((tmp_path / "names.json").read_text(encoding="utf-8")) == names
    assert "部屋 ä" in (tmp_path / "names.json").read_text(encoding="utf-8")


def test_json_is_strict(tmp_path):
    """NaN and infinity are not valid JSON; most parsers reject them."""
    content = {"a": [float("nan"), 1.5, {"b": float("-inf")}], "c": (float("inf"),), "d": "NaN"}
    write_json(tmp_path / "numbers.json", content)

    def reject(constant):
        raise AssertionError(constant)

    read = json.loads((tmp_path / "numbers.json").read_text(), parse_constant=reject)
    assert read == {"a": [None, 1.5, {"b": None}], "c": [None], "d": "NaN"}
    assert json.loads(to_json(content)) == read
