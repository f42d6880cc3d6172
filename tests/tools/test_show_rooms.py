"""The image of synthetic rooms."""

import sys

import pytest
from PIL import Image

from tools import show_rooms


def show(monkeypatch, path, *more):
    monkeypatch.setattr(sys, "argv", ["show_rooms.py", "--out", str(path), "--height", "16", *more])
    show_rooms.main()


def test_grid(tmp_path, monkeypatch):
    """Two columns; the last place of three is white."""
    path = tmp_path / "rooms.png"
    show(monkeypatch, path, "--num", "3")
    with Image.open(path) as image:
        assert image.size == (64, 32)
        assert image.crop((32, 16, 64, 32)).getextrema() == ((255, 255),) * 3


def test_no_rooms(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        show(monkeypatch, tmp_path / "rooms.png", "--num", "0")
    assert "--num" in capsys.readouterr().err
