"""OpenEXR: files of the OpenEXR library, and files written here as the format tells."""

import base64
import struct
import zlib

import numpy as np
import pytest

from utils.errors import UserError
from utils.openexr import MAGIC, read_openexr

# Written by OpenEXR 3.5, ZIP compression: 20 x 24 pixels, Z = row / 4 + column / 8 as float, A = row - column as half.
GOLDEN = (
    "di8xAQIAAABjaGFubmVscwBjaGxpc3QAJQAAAEEAAQAAAAAAAAABAAAAAQAAAFoAAgAAAAAAAAABAAAAAQAAAABjb21wcmVzc2lv"
    "bgBjb21wcmVzc2lvbgABAAAAA2RhdGFXaW5kb3cAYm94MmkAEAAAAAAAAAAAAAAAFwAAABMAAABkaXNwbGF5V2luZG93AGJveDJp"
    "ABAAAAAAAAAAAAAAABcAAAATAAAAbGluZU9yZGVyAGxpbmVPcmRlcgABAAAAAHBpeGVsQXNwZWN0UmF0aW8AZmxvYXQABAAAAAAA"
    "gD9zY3JlZW5XaW5kb3dDZW50ZXIAdjJmAAgAAAAAAAAAAAAAAHNjcmVlbldpbmRvd1dpZHRoAGZsb2F0AAQAAAAAAIA/dHlwZQBz"
    "dHJpbmcADQAAAHNjYW5saW5laW1hZ2UAVAEAAAAAAADZAgAAAAAAAAAAAAB9AQAAeF6V0S1QAkEUwPENBoKBYCAYLhgIBgKBQFgd"
    "AsFAIBgJBiPR4HDvGFQ+CtFINBiYAZXg6AYDwUAwEAwXDAQDwUAwMHvfu/eYnff+c+Vm3u/mdhkEw4IRwfjvuAAYNQR3Lcaya8st"
    "LLiojRuj5hCgezVs3l+OGg/n49qsGjoaxCiG4PNS5KgQpxiLwjIfOwoEFMO1VrmEo0AUY53dZJJOAmIUg7G9f8WJIU4xMpv9P9WJ"
    "IKAY2fXBr+bEEMHIrQ4vGA4Bwfix3KNv+WUMohj55XHd+4U0BATjq7AofvpnkYYoRmlergSHqkNAMD64qLyGt6NDFKM6Oyv6TgoC"
    "gjGtjeuP5U677TiOA2HgPROAt1PZ+wme4ErXFRyaEAwZ7IAmBEPWbuEQ6uwwZJ0WDk0JhuzGxiHFMRiyWxuHIsewH3Zn45DnGHaT"
    "dW0cejLs6XUBh6hOz8ahZ8OeXg9wiOr0bRx6Mezp9SWDQFRn4DFpaGbY0xv4TAqiOltU2zP9EAAAAJUAAAB4XmOAgQY0wMDA8ofj"
    "B88XgQ8ibyReyDxReKByR+OGzhWDCyZnLE7YHHE44LLHY4fPloANIWsiVsQ8ccBhEAlmLElYkCLjgMMgEsyYkzEjJ8QBh0EkmDGl"
    "YELJjfoGKKyvr6+rq3GxaWlqamxs3HnAgSTYAzMGzaBdBPShw54G7AbtJqAPHfY0YDdoDwF96BAAc5EM0A=="
)


def test_a_file_of_the_library(tmp_path):
    (tmp_path / "a.exr").write_bytes(base64.b64decode(GOLDEN))
    channels = read_openexr(tmp_path / "a.exr")
    row, column = np.mgrid[:20, :24]
    assert channels.keys() == {"A", "Z"}
    assert np.array_equal(channels["Z"], row / 4 + column / 8)
    assert np.array_equal(channels["A"], row - column)
    assert channels["A"].dtype == np.float32


def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
    return name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value


def write(path, channels: dict[str, np.ndarray], compression: int = 0, top: int = 0, flags: int = 2, step: int = 1):
    """Channels (H, W) of float32 in chunks of one line, or of 16 for ZIP (3)."""
    height, width = next(iter(channels.values())).shape
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iiii", 2, 0, step, 1) for name in sorted(channels)) + b"\0"
    header = struct.pack("<4sI", MAGIC, flags)
    header += attribute(b"channels", b"chlist", listed)
    header += attribute(b"compression", b"compression", bytes([compression]))
    header += attribute(b"dataWindow", b"box2i", struct.pack("<4i", 5, top, 5 + width - 1, top + height - 1)) + b"\0"
    lines = 16 if compression == 3 else 1
    chunks = []
    for first in range(0, height, lines):
        rows = range(first, min(first + lines, height))
        raw = b"".join(channels[name][row].astype("<f4").tobytes() for row in rows for name in sorted(channels))
        data = zipped(raw) if compression else raw
        data = data if len(data) < len(raw) else raw
        chunks.append(struct.pack("<ii", top + first, len(data)) + data)
    start = len(header) + 8 * len(chunks)
    offsets = [start + sum(map(len, chunks[:i])) for i in range(len(chunks))]
    path.write_bytes(header + struct.pack(f"<{len(offsets)}Q", *offsets) + b"".join(chunks))


def zipped(raw: bytes) -> bytes:
    values = np.frombuffer(raw, np.uint8)
    values = np.concatenate([values[0::2], values[1::2]]).astype(int)
    values[1:] = (np.diff(values) + 128) % 256
    return zlib.compress(values.astype(np.uint8).tobytes())


@pytest.mark.parametrize("compression", [0, 2, 3])
@pytest.mark.parametrize("top", [0, -7])
def test_channels(tmp_path, compression, top):
    """Random lines are stored as they are, as they cannot be compressed."""
    generator = np.random.default_rng(0)
    channels = {
        "R": np.repeat(np.arange(37.0), 8).reshape(37, 8),
        "G": generator.normal(size=(37, 8)),
        "B": np.ones((37, 8)),
    }
    write(tmp_path / "a.exr", channels, compression, top)
    found = read_openexr(tmp_path / "a.exr")
    assert found.keys() == channels.keys()
    for name, values in channels.items():
        assert np.array_equal(found[name], values.astype(np.float32)), name


@pytest.mark.parametrize(
    "changes", [{"flags": 2 | 0x200}, {"flags": 2 | 0x1000}, {"compression": 4}, {"step": 2}], ids=str
)
def test_other_kinds_are_refused(tmp_path, changes):
    write(tmp_path / "a.exr", {"Z": np.ones((3, 4))}, **changes)
    with pytest.raises(UserError, match=r"a\.exr"):
        read_openexr(tmp_path / "a.exr")


def test_damaged_files(tmp_path):
    """Cut anywhere, a file is refused."""
    write(tmp_path / "a.exr", {"Z": np.repeat(np.arange(20.0), 8).reshape(20, 8)}, 3)
    data = (tmp_path / "a.exr").read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "a.exr").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a\.exr"):
            read_openexr(tmp_path / "a.exr")
    with pytest.raises(UserError, match=r"b\.exr"):
        read_openexr(tmp_path / "b.exr")
