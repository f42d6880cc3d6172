"""Reading NumPy files."""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from utils.errors import UserError

ARRAY_SUFFIXES = (".npy", ".npz")


def read_array(path: Path, name: str | None = None) -> np.ndarray:
    """Read the array of a .npy file, or an array of a .npz file: `name`, or the only one if no name is given.

    Raises:
        UserError: when the file is missing or damaged, or has no such array.
    """
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content as arrays:
            if name is None and len(arrays) != 1:
                raise UserError(f"{path} holds {len(arrays)} arrays: expected one")
            return arrays[name or next(iter(arrays))]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except KeyError as error:
        raise UserError(f"{path} holds no array {name}") from error
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged, or holds no array of numbers: {f'{error}'[:100]}") from error
