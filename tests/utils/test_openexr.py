"""OpenEXR: channels are read as they were written; errors are one line."""

import builtins

import numpy as np
import pytest

from utils.errors import UserError
from utils.openexr import read_openexr


def write_openexr(path, channels: dict[str, np.ndarray]) -> None:
    OpenEXR = pytest.importorskip("OpenEXR")
    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    contiguous = {name: np.ascontiguousarray(values) for name, values in channels.items()}
    with OpenEXR.File(header, contiguous) as file:
        file.write(str(path))


def test_channels(tmp_path):
    """With 16 and 32 bits."""
    row, column = np.mgrid[:20, :24].astype(np.float32)
    write_openexr(tmp_path / "a.exr", {"Z": row / 4 + column / 8, "A": (row - column).astype(np.float16)})
    channels = read_openexr(tmp_path / "a.exr")
    assert channels.keys() == {"A", "Z"}
    assert np.array_equal(channels["Z"], row / 4 + column / 8)
    assert np.array_equal(channels["A"], row - column)
    assert channels["A"].dtype == np.float32


def test_damaged(tmp_path):
    write_openexr(tmp_path / "a.exr", {"Z": np.ones((20, 24), np.float32)})
    content = (tmp_path / "a.exr").read_bytes()
    for number, damaged in enumerate((b"", content[:40], b"\x89PNG" + content[4:])):
        path = tmp_path / f"{number}.exr"
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=f"{number}.exr"):
            read_openexr(path)


def test_without_the_package(tmp_path, monkeypatch):
    import_module = builtins.__import__

    def without_openexr(name, *arguments):
        if name == "OpenEXR":
            raise ImportError(name)
        return import_module(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_openexr)
    with pytest.raises(UserError, match=r"requirements-extra\.txt"):
        read_openexr(tmp_path / "depth.exr")
