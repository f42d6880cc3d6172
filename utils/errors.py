"""Errors that are the user's to mend: shown as one clear line, exit code 2, no traceback."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class UserError(Exception):
    """A wrong flag, file or folder. The message is one line that names it and says what to do."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a UserError, or a file that cannot be used, into one line on stderr and exit code 2.

    Everything else is a defect and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        # One that was raised in a DataLoader's worker arrives with the worker's traceback before its line.
        _exit(str(error).strip().rpartition("\n")[2].removeprefix("utils.errors.UserError: "))
    except OSError as error:  # no permission, or a file where a folder should be
        if error.filename is None:
            raise
        _exit(f"{error.filename}: {error.strerror}")


def _exit(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
