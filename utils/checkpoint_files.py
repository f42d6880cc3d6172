"""Files of tensors, numbers and strings, loaded with ``weights_only=True`` so that they cannot run code."""

import io
import pickle
from pathlib import Path

import torch

from utils.errors import UserError

LAST_MODEL = Path("models/weights_last/last_model.pth")  # within a run folder
_REMEDY = "download or copy it again, or use another file"


def save_content(content: dict, path: Path) -> None:
    """Write tensors, numbers and strings, to be read by `load_content`.

    Raises:
        OSError: when they cannot be written, for example on a full disk.
    """
    try:
        with open(path, "wb") as file:  # given a path, torch would raise its own errors
            torch.save(content, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # torch hides it behind its error about closing the archive
            raise error.__context__ from None
        raise


def load_content(path: Path, format_name: str) -> dict:
    """Load the content of a file of this program.

    Args:
        path: file to load.
        format_name: expected start of its ``format`` entry, to which earlier versions appended a number.

    Raises:
        UserError: when the file is missing or damaged, has another format, or contains Python objects.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing")
    content = load_plain_data(path, path)
    if not isinstance(content, dict) or not f"{content.get('format')}".startswith(format_name):
        raise UserError(f"{path} is not a file of the format {format_name}")
    return content


def load_plain_data(file: Path | io.BytesIO, path: Path) -> object:
    """The content of a file.

    Args:
        file: the file.
        path: its path, for messages.

    Raises:
        UserError: when the file is damaged or contains Python objects.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is damaged, is not a checkpoint, or contains Python objects, which could run code: {_REMEDY}"
        ) from error
    except Exception as error:  # torch raises many kinds of errors on damaged files
        raise UserError(f"{path} is damaged or not a checkpoint: {_REMEDY}") from error
