"""Files are written whole or not at all."""

import os
import tempfile
from pathlib import Path

import pytest

from utils.errors import UserError
from utils.files import atomic_path, write_text


def test_writes_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    write_text(path, "größer")
    assert path.read_text(encoding="utf-8") == "größer"
    assert [file.name for file in path.parent.iterdir()] == ["note.txt"]


def test_permissions_are_the_usual_ones(tmp_path):
    mask = os.umask(0o027)
    try:
        write_text(tmp_path / "note.txt", "")
    finally:
        os.umask(mask)
    assert (tmp_path / "note.txt").stat().st_mode & 0o777 == 0o640


def test_full_disk_is_told():
    """What a full disk says names no file."""

    def fill(path):
        with atomic_path(path):
            raise OSError(28, "No space left on device")

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(UserError, match=r"note.txt cannot be written: No space left"):
            fill(Path(folder) / "note.txt")
        assert not list(Path(folder).iterdir())


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
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
