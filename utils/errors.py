"""Errors that users can fix, and Ctrl-C: scripts exit with one line and no traceback."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

LONGEST_LINE = 499  # characters of a message
INTERRUPTED = 130  # exit code after Ctrl-C, as in shells


class UserError(Exception):
    """A wrong flag, file or folder. The message is one line that names it and the remedy."""


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Exit with one line on stderr: with code 2 on a UserError or an unusable file, with 130 on Ctrl-C.

    All other exceptions are defects and keep their traceback.
    """
    try:
        with exit_on_interrupt():
            yield
    except UserError as error:
        # An error from a DataLoader worker has the worker's traceback before its message.
        _exit(str(error).strip().rpartition("\n")[2].removeprefix("utils.errors.UserError: "))
    except OSError as error:  # no permission, or a file where a folder should be
        if error.filename is None:
            raise
        _exit(f"{error.filename}: {error.strerror}")


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Turn Ctrl-C into one line on stderr and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the cleanup
        print("\ninterrupted", file=sys.stderr)  # below a progress bar
        sys.exit(INTERRUPTED)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of a block that they would leave half done, or in which they would be lost.

    For example, Python loses exceptions while it forks, so Ctrl-C while workers start. Only the main thread can defer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in received[:1]:
            signal.raise_signal(number)


def _exit(message: str) -> NoReturn:
    line = f"error: {message}"
    if len(line) > LONGEST_LINE:  # file names and names in files may have any length
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 + 5 :]}"
    print(line, file=sys.stderr)
    sys.exit(2)
