"""What is said before the page stands."""

import socket
import sys

import pytest

from demo.server import HOST, check_gradio, check_port
from utils.errors import UserError


def test_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^--port {port} cannot be used .*: choose another one$"):
            check_port(port)
    check_port(port)


def test_gradio_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match=r"^the demo needs gradio: pip install gradio$"):
        check_gradio()
