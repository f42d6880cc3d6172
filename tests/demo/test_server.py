"""Checks before the page is served."""

import socket
import sys

import pytest

from demo.server import HOST, check_gradio, check_port
from utils.errors import UserError


def test_port_in_use():
    with socket.socket() as server:
        server.bind((HOST, 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(UserError, match=f"^--port {port} "):
            check_port(port)
    check_port(port)


def test_missing_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError, match="pip install gradio"):
        check_gradio()
