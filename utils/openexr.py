"""Reading OpenEXR images of one part in scanlines, uncompressed or with ZIP compression, which OpenCV often cannot.

The format: https://openexr.com/en/latest/OpenEXRFileLayout.html.
"""

import struct
import zlib
from pathlib import Path

import numpy as np

from utils.errors import UserError

MAGIC = b"\x76\x2f\x31\x01"
_NOT_PLAIN = 0x200 | 0x800 | 0x1000  # tiles, deep data, several parts
_TYPES = (np.dtype("<u4"), np.dtype("<f2"), np.dtype("<f4"))
_LINES = {0: 1, 2: 1, 3: 16}  # of a chunk, by the code of the compression: none, ZIPS, ZIP


def read_openexr(path: Path) -> dict[str, np.ndarray]:
    """The channels of an image, each (H, W) float32, by name.

    Raises:
        UserError: when the file is missing, damaged, or of another kind than described above.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return _decode(data, path)
    except (struct.error, ValueError, IndexError, KeyError, MemoryError, zlib.error) as error:
        raise UserError(f"{path} is a damaged OpenEXR file") from error


def _decode(data: bytes, path: Path) -> dict[str, np.ndarray]:
    magic, version = struct.unpack_from("<4sI", data)
    if magic != MAGIC:
        raise ValueError("no OpenEXR file")
    attributes, place = _header(data)
    compression = attributes["compression"][0]
    if version & _NOT_PLAIN or compression not in _LINES:
        raise UserError(f"{path} has tiles, several parts, or another compression than ZIP: convert it to .npy")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    height, width = bottom - top + 1, right - left + 1
    channels = _channels(attributes["channels"])
    num_chunks = -(-height // _LINES[compression])
    offsets = struct.unpack_from(f"<{num_chunks}Q", data, place)
    image = {name: np.full((height, width), np.nan, np.float32) for name, _ in channels}
    for offset in offsets:
        y, size = struct.unpack_from("<ii", data, offset)
        first = y - top
        lines = min(_LINES[compression], height - first)
        raw_size = lines * width * sum(dtype.itemsize for _, dtype in channels)
        chunk = data[offset + 8 : offset + 8 + size]
        raw = _unzipped(chunk, raw_size) if compression and size < raw_size else chunk
        if len(chunk) != size or len(raw) != raw_size:
            raise ValueError("a chunk of another size")
        start = 0
        for line in range(first, first + lines):
            for name, dtype in channels:
                image[name][line] = np.frombuffer(raw, dtype, width, start)
                start += width * dtype.itemsize
    return image


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    """The attributes, and the place after them."""
    attributes, place = {}, 8
    while data[place]:
        name_end = data.index(b"\0", place)
        type_end = data.index(b"\0", name_end + 1)
        (size,) = struct.unpack_from("<i", data, type_end + 1)
        value = type_end + 5
        attributes[data[place:name_end].decode()] = data[value : value + size]
        place = value + size
    return attributes, place + 1


def _channels(value: bytes) -> list[tuple[str, np.dtype]]:
    """Names and types of the channels, in the order of the file."""
    channels, place = [], 0
    while value[place]:
        end = value.index(b"\0", place)
        kind, _, x_step, y_step = struct.unpack_from("<iiii", value, end + 1)
        if (x_step, y_step) != (1, 1):
            raise ValueError("a subsampled channel")
        channels.append((value[place:end].decode(), _TYPES[kind]))
        place = end + 17
    return channels


def _unzipped(chunk: bytes, size: int) -> bytes:
    """The bytes that were split into even and odd ones, replaced by differences, and compressed."""
    differences = np.frombuffer(zlib.decompressobj().decompress(chunk, size), np.uint8).astype(np.int64)
    differences[1:] -= 128
    values = (differences.cumsum() & 255).astype(np.uint8)
    raw = np.empty(size, np.uint8)
    half = (size + 1) // 2
    raw[0::2], raw[1::2] = values[:half], values[half:]
    return raw.tobytes()
