"""What may be uploaded, and what is said about the rest."""

import cv2
import numpy as np
import pytest
from PIL import Image

from demo.uploads import read_upload
from prediction.input_image import read_image
from utils.errors import UserError


def test_a_panorama_is_read(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "room.png")
    assert np.array_equal(read_upload(tmp_path / "room.png"), picture)


@pytest.mark.parametrize("suffix", [".hdr", ".tif", ".jp2", ".gif", ".tga"])
def test_what_prediction_reads_is_read(tmp_path, suffix):
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
def test_the_lines_are_those_of_prediction(tmp_path, name, content):
    """Without our folder."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as of_prediction:
        read_image(tmp_path / name)
    with pytest.raises(UserError, match=f"^{name} ") as of_the_demo:
        read_upload(tmp_path / name)
    assert str(of_the_demo.value) == str(of_prediction.value).replace(f"{tmp_path}/", "")


def test_a_truncated_image_is_named_without_our_folder(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"^cut\.png is truncated$"):
        read_upload(tmp_path / "cut.png")


def test_two_fisheyes_are_named(tmp_path):
    distance = np.hypot(*np.mgrid[-1:1:64j, -1:1:64j])
    circle = np.where(distance < 1, 200, 0).astype(np.uint8)
    Image.fromarray(np.hstack([circle, circle])).save(tmp_path / "raw.png")
    with pytest.raises(UserError, match=r"^raw\.png looks like two fisheyes: .*--force"):
        read_upload(tmp_path / "raw.png")


def test_an_upload_that_another_visitor_made_too(tmp_path):
    """It was read, and removed, before."""
    with pytest.raises(UserError, match=r"^room\.png was dropped twice at the same time: drop it again$"):
        read_upload(tmp_path / "room.png")


def test_another_shape(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"^photo\.png is 300x200: a full panorama is twice as wide as high$"):
        read_upload(tmp_path / "photo.png")


def test_too_many_pixels_are_never_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr("prediction.input_image.ImageFile.colors", lambda _: pytest.fail("was decoded"))
    for width in (18000, 30000):  # below and beyond Pillow's own limit
        Image.new("1", (width, width // 2)).save(tmp_path / "huge.png")
        with pytest.raises(UserError, match=rf"^huge\.png is {width}x{width // 2}: at most 128 million pixels"):
            read_upload(tmp_path / "huge.png")
    (tmp_path / "huge.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9000 +X 18000\n")
    with pytest.raises(UserError, match=r"^huge\.hdr is 18000x9000: at most 128 million"):
        read_upload(tmp_path / "huge.hdr")


def test_two_fisheyes_are_refused_in_a_line(tmp_path):
    """Here, as the page shows only the lines of reading."""
    circle = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, 64)] * 2)) < 1
    image = np.tile(circle, 2)[..., None] * np.full(3, 120, np.uint8)
    Image.fromarray(image.astype(np.uint8)).save(tmp_path / "raw.png")
    with pytest.raises(UserError, match=r"^raw\.png looks like two fisheyes"):
        read_upload(tmp_path / "raw.png")
