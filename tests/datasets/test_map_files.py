"""Unusable files of depth and normals are reported in one line with their path."""

import numpy as np
import pytest

from datasets.map_files import read_depth, read_normals
from utils.errors import UserError


def error_of(reader, path, *arguments) -> str:
    with pytest.raises(UserError) as error:
        reader(path, *arguments)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".hdr", ".exr", ".png"])
def test_missing_and_damaged(tmp_path, suffix):
    if suffix == ".exr":
        pytest.importorskip("OpenEXR")
    path = tmp_path / f"depth{suffix}"
    assert "missing" in error_of(read_depth, path)
    path.write_bytes(b"\x93NUMPY nothing of the kind")
    error_of(read_depth, path)


def test_truncated_arrays(tmp_path):
    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        save(tmp_path / name, np.ones((32, 64), np.float32))
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        error_of(read_depth, tmp_path / name)


def test_wrong_contents(tmp_path):
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}]), allow_pickle=True)
    error_of(read_depth, tmp_path / "pickled.npy")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    error_of(read_depth, tmp_path / "words.npy")
    np.savez(tmp_path / "two.npz", depth=np.ones((2, 4)), mask=np.ones((2, 4)))
    assert "2 arrays" in error_of(read_depth, tmp_path / "two.npz")
    np.save(tmp_path / "colors.npy", np.arange(24).reshape(2, 4, 3))
    assert "(2, 4, 3)" in error_of(read_depth, tmp_path / "colors.npy")
    np.save(tmp_path / "channels_first.npy", np.ones((3, 2, 4)))
    assert "(3, 2, 4)" in error_of(read_normals, tmp_path / "channels_first.npy", 8)
