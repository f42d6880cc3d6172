"""Depth and normals in the formats of `datasets.folder`: lossless images, .npy, .npz, Radiance .hdr and OpenEXR."""

from pathlib import Path

import numpy as np

from utils.array_files import ARRAY_SUFFIXES, read_array
from utils.errors import UserError
from utils.images import ImageFile
from utils.openexr import read_openexr

_FLOAT_IMAGE_SUFFIXES = (".hdr", ".exr")
_COLOR_CHANNELS = (("R", "G", "B"), ("X", "Y", "Z"))  # names in OpenEXR files


def holds_floats(path: str) -> bool:
    """Whether the suffix is that of an array file or a float image."""
    return Path(path).suffix.lower() in (*ARRAY_SUFFIXES, *_FLOAT_IMAGE_SUFFIXES)


def read_depth(path: Path) -> np.ndarray:
    """Stored depth (H, W): uint16 from a lossless 16-bit gray image, float32 from other files (see `holds_floats`).

    Raises:
        UserError: when the file is missing, damaged or in the wrong format.
    """
    if not holds_floats(path.name):
        return ImageFile(path).single_channel("depth", bits=16)
    depth = _read_floats(path)
    if depth.ndim == 3 and (depth == depth[..., :1]).all():
        depth = depth[..., 0]
    if depth.ndim != 2:
        raise UserError(f"{path} has shape {depth.shape}: expected depth (H, W)")
    return np.ascontiguousarray(depth)


def read_normals(path: Path, bits: int) -> np.ndarray:
    """Stored normals (H, W, 3): uint8 from a lossless 8-bit color image, float32 from other files.

    Args:
        path: the file.
        bits: expected bit depth of a lossless image, 8 or 16.

    Raises:
        UserError: when the file is missing, damaged or in the wrong format.
    """
    if not holds_floats(path.name):
        normals = ImageFile(path).three_channels(bits)
        return normals if bits == 8 else normals.astype(np.float32)
    normals = _read_floats(path)
    if normals.ndim != 3 or normals.shape[2] != 3:
        raise UserError(f"{path} has shape {normals.shape}: expected normals (H, W, 3)")
    return np.ascontiguousarray(normals)


def _read_floats(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) float32."""
    if not path.is_file():
        raise UserError(f"{path} is missing")
    suffix = path.suffix.lower()
    if suffix == ".hdr":
        return ImageFile(path).colors().astype(np.float32)
    return _read_exr(path) if suffix == ".exr" else _read_array(path)


def _read_array(path: Path) -> np.ndarray:
    """A .npy file, or the only array of a .npz file, as float32."""
    array = read_array(path)
    if array.dtype.kind not in "uif":
        raise UserError(f"{path} holds {array.dtype} values: expected numbers")
    return array.astype(np.float32)


def _read_exr(path: Path) -> np.ndarray:
    """The single channel of an OpenEXR file (H, W), or its channels R, G, B or X, Y, Z (H, W, 3)."""
    channels = read_openexr(path)
    names = next((names for names in (tuple(channels)[:1], *_COLOR_CHANNELS) if set(names) == set(channels)), None)
    if names is None:
        raise UserError(f"{path} has the channels {', '.join(channels)}: expected one, R G B or X Y Z")
    pixels = [channels[name] for name in names]
    return pixels[0] if len(pixels) == 1 else np.stack(pixels, axis=-1)
