"""Uploads are read as for prediction; messages name them without the server's folder."""

import cv2
import numpy as np
import pytest
from PIL import Image

from demo.uploads import read_upload
from prediction.input_image import read_image
from utils.errors import UserError


@pytest.mark.parametrize("suffix", [".png", ".hdr", ".tif", ".jp2", ".gif", ".tga"])
def test_formats(tmp_path, suffix):
    panorama = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    path = tmp_path / f"room{suffix}"
    if suffix in (".hdr", ".tif"):
        path.write_bytes(cv2.imencode(suffix, panorama.astype(np.float32))[1].tobytes())
    else:
        Image.fromarray(panorama).save(path)
    assert np.array_equal(read_upload(path), read_image(path).rgb)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"hello"),
        ("empty.png", b""),
        ("noise.png", bytes(range(256)) * 9),
        ("light.exr", b"\x76\x2f\x31\x01" + bytes(100)),
    ],
)
def test_unreadable_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as prediction_error:
        read_image(tmp_path / name)
    with pytest.raises(UserError, match=f"^{name} ") as upload_error:
        read_upload(tmp_path / name)
    assert str(upload_error.value) == str(prediction_error.value).replace(f"{tmp_path}/", "")


def test_truncated_image(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"^cut\.png is truncated$"):
        read_upload(tmp_path / "cut.png")


def test_dual_fisheye(tmp_path):
    distance = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])
    circle = np.where(distance < 1, 200, 0).astype(np.uint8)
    Image.fromarray(np.hstack([circle, circle])).save(tmp_path / "raw.png")
    with pytest.raises(UserError, match=r"^raw\.png looks like two fisheyes: .*--force"):
        read_upload(tmp_path / "raw.png")


def test_missing_file(tmp_path):
    """Another visitor uploaded the same file, which was then read and removed."""
    with pytest.raises(UserError, match=r"^room\.png was uploaded twice"):
        read_upload(tmp_path / "room.png")


def test_wrong_aspect_ratio(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"^photo\.png is 300x200: a full panorama is twice as wide as high$"):
        read_upload(tmp_path / "photo.png")


def test_too_many_pixels(tmp_path, monkeypatch):
    """The images are not decoded."""
    monkeypatch.setattr("prediction.input_image.ImageFile.colors", lambda _: pytest.fail("was decoded"))
    for width in (18000, 30000):  # below and above Pillow's limit
        Image.new("1", (width, width // 2)).save(tmp_path / "huge.png")
        with pytest.raises(UserError, match=rf"^huge\.png is {width}x{width // 2}: at most 128 million pixels"):
            read_upload(tmp_path / "huge.png")
    (tmp_path / "huge.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9000 +X 18000\n")
    with pytest.raises(UserError, match=r"^huge\.hdr is 18000x9000: at most 128 million"):
        read_upload(tmp_path / "huge.hdr")
