"""Requests to stop a training before its last epoch."""

import signal
import time
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Records SIGTERM, SIGINT or the end of the time limit, so that the current step can be finished.

    Signals are recorded within the context; their handlers are restored after it.

    Args:
        max_minutes: time limit from now on, or None.
    """

    def __init__(self, max_minutes: float | None = None):
        self._end = None if max_minutes is None else time.monotonic() + 60 * max_minutes
        self._received: str | None = None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def reason(self) -> str | None:
        """Why to stop, or None to continue."""
        if self._received:
            return self._received
        return "--max_minutes has passed" if self._end is not None and time.monotonic() >= self._end else None

    def _note(self, number: int, _: FrameType | None) -> None:
        self._received = f"{signal.Signals(number).name} was received"
        signal.signal(number, signal.SIG_DFL)  # a second signal ends the process
