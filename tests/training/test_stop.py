"""Requests to stop a training."""

import os
import signal

from training.stop import StopRequest


def test_no_request():
    with StopRequest() as stop:
        assert stop.reason() is None


def test_signals_are_recorded_and_handlers_restored():
    before = signal.getsignal(signal.SIGTERM)
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT")):
        with StopRequest() as stop:
            os.kill(os.getpid(), number)
            assert stop.reason() == f"{name} was received"
            assert signal.getsignal(number) == signal.SIG_DFL, "a second signal ends the process"
    assert signal.getsignal(signal.SIGTERM) == before


def test_time_limit():
    with StopRequest(max_minutes=0) as stop:
        assert stop.reason() == "--max_minutes has passed"
    with StopRequest(max_minutes=5) as stop:
        assert stop.reason() is None
