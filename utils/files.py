"""Writing files atomically."""

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.errors import UserError


def _read_umask() -> int:
    """The umask of the process, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()  # once, on import: while it is 0, other threads would create world-writable files


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` (same suffix) to write to; it becomes `path` when the block succeeds.

    Missing parent folders are created. When the block raises, the temporary file is removed and `path` is unchanged; a
    killed process may leave the temporary file (hidden, `.NAME-*`), but never an incomplete `path`.

    Raises:
        UserError: when the file cannot be written, for example on a full disk.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # the data must be on disk before the rename
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp creates private files
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(content: object, indent: int | None = None) -> str:
    """Plain data as strict JSON; non-finite numbers become null."""
    return json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: str | Path, content: dict) -> None:
    """Write a dict as indented JSON, atomically; see `to_json`."""
    # File names that are not valid UTF-8 hold lone surrogates, which are written as backslash escapes.
    write_text(path, to_json(content, indent=2).encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows as CSV, atomically. Columns are the keys of all rows; missing values stay empty."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
