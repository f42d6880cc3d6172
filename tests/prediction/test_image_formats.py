"""Image formats and headers, without decoding."""

import cv2
import numpy as np
import pytest
from PIL import Image

from prediction.image_formats import image_suffixes, read_header


def test_suffixes():
    suffixes = image_suffixes()
    assert {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jp2", ".ppm"} <= suffixes
    assert {".hdr", ".exr"} <= suffixes
    assert not {".mp4", ".mpg", ".pdf", ".eps", ".npy", ".h5", ".txt", ".json", ".ply", ".heic", ".dng", ""} & suffixes


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".gif", ".hdr", ".ppm", ".jp2"])
def test_size(tmp_path, suffix):
    pixels = np.zeros((64, 128, 3), np.float32 if suffix == ".hdr" else np.uint8)
    path = tmp_path / "image without suffix"
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    assert read_header(path)[:2] == (128, 64)


def test_any_number_of_pixels(tmp_path):
    """Pillow's limit is restored."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (30000, 15000)).save(tmp_path / "large.png")
    assert read_header(tmp_path / "large.png")[:2] == (30000, 15000)
    assert limit == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("content", [b"", b"text", b"#?RADIANCE\n", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_no_image(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read_header(tmp_path / "file") is None
