"""Published zip archives."""

import zipfile
import zlib
from pathlib import Path

from utils.errors import UserError

DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)  # raised for damaged archives


def open_archive(path: Path) -> zipfile.ZipFile:
    """An archive for reading.

    Raises:
        UserError: when it is damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except DAMAGED as error:
        raise UserError(f"{path} is damaged or not a zip archive: download it again") from error
