"""Decoding and checking NYU v2 files, so that all copies have the same units and codes."""

import zlib
from pathlib import Path

import numpy as np

from datasets.on_disk import label_table
from utils.errors import UserError
from utils.extras import import_extra
from utils.tasks import IGNORE_LABEL

_LABELS_OF_IDS = label_table({number: number - 1 for number in range(1, 41)}, ignored=[0])
_HDF5 = b"\x89HDF\r\n\x1a\n"  # magic number; MATLAB 7.3 puts 512 bytes before it
_DAMAGED = (OSError, ValueError, TypeError, EOFError, NotImplementedError, zlib.error)


def labels_40(ids: np.ndarray, where: str) -> np.ndarray:
    """Labels (H, W) int8 from stored ids 1 to 40, 0 = ignore."""
    wrong = ids[(ids < 0) | (ids > 40) | (ids != np.rint(ids))]
    if wrong.size:
        raise UserError(f"{where} holds the label id {wrong[0]:g}: expected 1 to 40, and 0 to ignore")
    return _LABELS_OF_IDS[ids.astype(np.uint8)]


def decode_normals(colors: np.ndarray) -> np.ndarray:
    """Unit vectors (H, W, 3) float32 from 8-bit colors, n = 2 v / 255 - 1; black and middle gray are missing."""
    return unit_vectors(colors.astype(np.float32) * np.float32(2 / 255) - 1)


def read_npy(path: Path, channels: int) -> np.ndarray:
    """Read an array (H, W, channels), or (H, W) for one channel.

    Raises:
        UserError: when the file is missing, damaged or of the wrong shape.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is not a .npy file of numbers, or is damaged") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return checked(array, channels, str(path))


def checked(array: np.ndarray, channels: int, where: str) -> np.ndarray:
    """The array, if it has numbers and the shape (H, W, channels); (H, W, 1) becomes (H, W).

    Raises:
        UserError: naming `where`, when the shape or type is wrong.
    """
    if channels == 1 and array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    expected = array.ndim == 2 if channels == 1 else array.ndim == 3 and array.shape[2] == channels
    if not expected or array.dtype.kind not in "fiub" or not array.size:
        shape = "x".join(map(str, array.shape))
        raise UserError(f"{where} holds {shape} {array.dtype}: expected height x width x {channels} numbers")
    return array


def colors_of_floats(image: np.ndarray, where: str) -> np.ndarray:
    """Colors (H, W, 3) uint8 from floats in [0, 1]."""
    if not (image.min() >= -0.01 and image.max() <= 1.01):
        raise UserError(f"{where} holds colors from {image.min():g} to {image.max():g}: expected 0 to 1")
    return np.rint(image.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)


def labels_13(stored: np.ndarray, where: str) -> np.ndarray:
    """Labels (H, W) int8 from stored labels 0 to 12, -1 = ignore."""
    if not (stored.min() >= IGNORE_LABEL and stored.max() <= 12):
        raise UserError(
            f"{where} holds labels from {stored.min():g} to {stored.max():g}: expected 0 to 12, and -1 to ignore"
        )
    if (stored != np.rint(stored)).any():
        raise UserError(f"{where} holds labels that are not integers")
    return stored.astype(np.int8)


def meters(depth: np.ndarray) -> np.ndarray:
    """Depth (H, W) float32; values that are not positive and finite become 0."""
    depth = depth.astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Normalize vectors (H, W, 3) to float32; vectors shorter than 0.5 or longer than 1.5 become 0."""
    vectors = vectors.astype(np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    known = (length > 0.5) & (length < 1.5)
    return np.where(known, vectors / np.where(known, length, 1), np.float32(0))


def read_mat(path: Path, key: str) -> np.ndarray:
    """Read a matrix of a MATLAB file, with MATLAB's order of dimensions.

    Raises:
        UserError: when the file is missing or damaged, or lacks the matrix; when h5py (for MATLAB 7.3 files) or scipy
            is missing.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(520)
        if _HDF5 in (head[:8], head[512:]):
            with import_extra("h5py", f"{path.name}, a MATLAB 7.3 file,").File(path) as stored:
                return np.asarray(stored[key]).T
        return import_extra("scipy.io", f"{path.name}, a MATLAB file,").loadmat(path, variable_names=[key])[key]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except KeyError as error:
        raise UserError(f"{path} has no matrix {key}") from error
    except _DAMAGED as error:
        raise UserError(f"{path} is not a MATLAB file, or is damaged") from error
