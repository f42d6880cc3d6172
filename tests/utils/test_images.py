"""Reading image files."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from utils.errors import UserError
from utils.images import ImageFile

ROOT = Path(__file__).parents[2]


def write(path, image):
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)


def test_reads_rgb(tmp_path):
    blue_in_bgr = np.zeros((4, 8, 3), np.uint8)
    blue_in_bgr[..., 0] = 255
    file = ImageFile(write(tmp_path / "blau-ä.png", blue_in_bgr))
    assert file.rgb()[0, 0].tolist() == file.colors()[0, 0].tolist() == [0, 0, 255]


def test_gray_becomes_rgb(tmp_path):
    assert ImageFile(write(tmp_path / "gray.png", np.full((4, 8), 7, np.uint8))).rgb().shape == (4, 8, 3)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colors(tmp_path, noise, suffix):
    """Includes TIFF files, which OpenCV reads wrongly with IMREAD_COLOR_RGB."""
    stored = noise.astype(np.uint16) * 257 + 1
    assert np.array_equal(ImageFile(write(tmp_path / f"deep{suffix}", stored)).colors(), stored[..., ::-1])


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png is not an image"):
        ImageFile(path).rgb()


def test_too_many_pixels(tmp_path, noise):
    """OpenCV reads its limit once, so lowering it needs a separate process."""
    path = write(tmp_path / "huge.png", noise)
    program = f"from utils.images import ImageFile; from pathlib import Path; ImageFile(Path({str(path)!r})).rgb()"
    environment = {**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert f"UserError: {path} cannot be decoded: pixels <= CV_IO_MAX_IMAGE_PIXELS" in done.stderr


def test_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone.png is missing"):
        ImageFile(tmp_path / "gone.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated(tmp_path, noise, suffix):
    path = write(tmp_path / f"cut{suffix}", noise)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=f"cut{suffix} is truncated"):
        ImageFile(path)


def test_data_after_jpeg(tmp_path, noise):
    """Many 360-degree cameras append data to the JPEG."""
    path = write(tmp_path / "camera.jpg", noise)
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert ImageFile(path).rgb().shape == noise.shape


def test_truncated_jpeg_with_preview(tmp_path, noise):
    """The preview in its EXIF segment is complete."""
    whole = write(tmp_path / "cut.jpg", noise).read_bytes()
    preview = write(tmp_path / "preview.jpg", noise[:8, :8]).read_bytes()
    segment = b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview
    (tmp_path / "cut.jpg").write_bytes(whole[:2] + segment + whole[2 : len(whole) // 2])
    with pytest.raises(UserError, match=r"cut.jpg is truncated"):
        ImageFile(tmp_path / "cut.jpg")


def png(bits: int, rows: list[list[int]]) -> bytes:
    """A gray PNG of few bits, which neither Pillow nor OpenCV writes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    packed = b"".join(
        b"\0" + int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(len(row) * bits // 8, "big")
        for row in rows
    )
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_not_scaled(tmp_path, bits):
    """Decoders scale them to 0 to 255, as in photographs."""
    rows = [[(row + column) % 2**bits for column in range(8)] for row in range(4)]
    path = tmp_path / "few.png"
    path.write_bytes(png(bits, rows))
    assert ImageFile(path).single_channel("label ids").tolist() == rows


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_indices(tmp_path, bits):
    indices = (np.arange(32).reshape(4, 8) % 2**bits).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * 2**bits).astype(np.uint8).tobytes())
    image.save(tmp_path / "palette.png", bits=bits)
    assert np.array_equal(ImageFile(tmp_path / "palette.png").single_channel("label ids"), indices)


def test_damaged_palette_image(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 128), dtype=np.uint8))
    image.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    path = tmp_path / "palette.png"
    image.save(path)
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes(200) + data[middle + 200 :])
    with pytest.raises(UserError, match=r"palette.png is not an image"):
        ImageFile(path).single_channel("label ids")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_three_channels_are_exact(tmp_path, noise, suffix):
    path = tmp_path / f"noise{suffix}"
    Image.fromarray(noise).save(path, lossless=True)
    assert np.array_equal(ImageFile(path).three_channels(), noise)
    with pytest.raises(UserError, match="holds colors, not depth"):
        ImageFile(path).single_channel("depth")


def test_extended_webp(tmp_path, noise):
    """With metadata, the header does not tell lossy from lossless."""
    path = tmp_path / "noise.webp"
    for lossless in (True, False):
        Image.fromarray(noise).save(path, lossless=lossless, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
        assert path.read_bytes()[12:16] == b"VP8X"
        if lossless:
            assert np.array_equal(ImageFile(path).three_channels(), noise)
        else:
            with pytest.raises(UserError, match=r"noise.webp is a WEBP file"):
                ImageFile(path).three_channels()
