"""When a training ends early."""

import os
import signal

from training.stop import StopRequest


def test_nothing_asked():
    with StopRequest() as stop:
        assert stop.reason() is None


def test_signals_are_noted_and_handlers_put_back():
    before = signal.getsignal(signal.SIGTERM)
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")):
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            assert stop.reason() == f"{name} was received"
            assert signal.getsignal(number) == signal.SIG_DFL, "a second one ends the process"
    assert signal.getsignal(signal.SIGTERM) == before


def test_time():
    with StopRequest(max_minutes=0) as stop:
        assert stop.reason() == "--max_minutes are over"
    with StopRequest(max_minutes=5) as stop:
        assert stop.reason() is None
