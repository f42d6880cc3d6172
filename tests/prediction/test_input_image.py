"""Input images from files, Pillow and arrays."""

import hashlib
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from prediction.input_image import as_rgb, is_panorama, read_image, require_panorama, tone_map
from utils.errors import UserError
from utils.images import ImageFile

ORANGE = (200, 100, 50)
ROTATED = 6  # EXIF: rotate by 90 degrees clockwise to see it upright
ORIENTATION = 0x112


def orange(height=16, width=32) -> np.ndarray:
    return np.full((height, width, 3), ORANGE, dtype=np.uint8)


def encode(path, image, *parameters):
    """Write RGB or gray with OpenCV, which supports 16 bits and floats."""
    image = image[..., ::-1] if image.ndim == 3 else image
    path.write_bytes(cv2.imencode(path.suffix, image, parameters)[1].tobytes())
    return path


MODES = {
    ".png": ("RGB", "RGBA", "P", "L", "LA", "1"),
    ".jpg": ("RGB", "L", "CMYK"),
    ".webp": ("RGB", "RGBA"),
    ".bmp": ("RGB", "RGBA", "P", "L", "1"),
    ".tif": ("RGB", "RGBA", "P", "L", "CMYK", "1"),
}


@pytest.mark.parametrize(("suffix", "mode"), [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_modes_and_formats(tmp_path, suffix, mode):
    path = tmp_path / f"wohnung ä 部屋{suffix}"
    image = Image.fromarray(orange()).convert(mode)
    image.save(path)
    found = read_image(path)
    assert not found.tone_mapped
    assert (found.rgb.shape, found.rgb.dtype) == ((16, 32, 3), np.uint8)
    expected = np.asarray(image.convert("RGB"), dtype=int)
    lossy = suffix in (".jpg", ".webp")
    assert np.abs(found.rgb - expected).mean() <= (3 if lossy else 0)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("color", [True, False])
def test_16_bits(tmp_path, suffix, color):
    stored = np.random.default_rng(0).integers(0, 65536, (16, 32, 3), dtype=np.uint16)
    stored = stored if color else stored[..., 0]
    rgb = read_image(encode(tmp_path / f"deep{suffix}", stored)).rgb
    expected = np.rint(stored / 257)
    assert np.array_equal(rgb, expected if color else np.repeat(expected[..., None], 3, axis=-1))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exif_orientation(tmp_path, suffix):
    """The left half of the upright image is the lower half of the stored one."""
    stored = np.zeros((32, 16, 3), np.uint8)
    stored[16:] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED
    path = tmp_path / f"phone{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    with Image.open(path) as opened:
        for rgb in (read_image(path).rgb, as_rgb(opened)):
            assert rgb.shape == (16, 32, 3)
            assert (rgb[:, :14].min(), rgb[:, 18:].max()) == (255, 0)


@pytest.mark.parametrize("suffix", [".hdr", ".tif"])
def test_radiance_is_tone_mapped(tmp_path, suffix):
    radiance = np.full((16, 32, 3), 3000, np.float32)
    radiance[:, :16] = (1, 2, 3)
    image = read_image(encode(tmp_path / f"light{suffix}", radiance))
    assert image.tone_mapped
    dark, bright = image.rgb[0, 0], image.rgb[0, -1]
    assert 0 < dark[0] < dark[1] < dark[2] < bright.min()


def test_tone_mapping():
    """At any exposure, uniform radiance is scaled to 0.18; 0.18 / 1.18 on the sRGB curve is 0.428."""
    for exposure in (1e-3, 1.0, 1e4):
        assert np.unique(tone_map(np.full((4, 8, 3), exposure, np.float32))).tolist() == [109]
    odd = np.full((4, 8, 3), 1, np.float32)
    odd[0, 0] = (np.nan, np.inf, -1)
    assert tone_map(odd)[0, 0].tolist() == [0, 0, 0]
    assert not tone_map(np.zeros((4, 8, 3), np.float32)).any()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not an image, or is damaged"),
        (b"not an image", "is not an image, or is damaged"),
        (b"\x76\x2f\x31\x01\x02\0\0\0", "is an OpenEXR file, which this OpenCV cannot read: convert it to .hdr"),
    ],
)
def test_unreadable_files(tmp_path, content, problem):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"broken.png {problem}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".gif", ".jp2", ".tga", ".psd", ".hdr"])
def test_truncated_files(tmp_path, suffix, capfd):
    """There is one error, and decoders print nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    path = tmp_path / f"half{suffix}"
    if suffix == ".hdr":
        encode(path, noise.astype(np.float32))
    else:
        Image.fromarray(noise).save(path, format="PNG" if suffix == ".psd" else None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"half{suffix} is (truncated|not an image, or is damaged)"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".gif", ".jp2", ".ppm", ".jfif", ".tga", ".sgi", ".pcx", ".dds"])
def test_less_common_formats(tmp_path, suffix):
    path = tmp_path / f"room{suffix}"
    Image.fromarray(orange()).save(path)
    rgb = read_image(path).rgb
    assert rgb.shape == (16, 32, 3)
    assert np.abs(rgb.astype(int) - ORANGE).max() <= 3


def test_qoi(tmp_path):
    """Written by hand (a pixel, then runs of it), as older releases of Pillow can only read the format."""
    runs = [0xC0 | (length - 1) for length in (*(62,) * 8, 15)]
    content = b"qoif" + struct.pack(">IIBB", 32, 16, 3, 0) + bytes([0xFE, *ORANGE, *runs]) + bytes(7) + b"\1"
    (tmp_path / "room.qoi").write_bytes(content)
    assert np.array_equal(read_image(tmp_path / "room.qoi").rgb, orange())


def test_wrong_suffixes(tmp_path):
    for name, kind in (("room.png", "JPEG"), ("room", "PNG"), ("room.txt", "TIFF"), ("room.JPG", "TGA")):
        Image.fromarray(orange()).save(tmp_path / name, format=kind)
        assert np.abs(read_image(tmp_path / name).rgb.astype(int) - ORANGE).max() <= 3, name


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_several_images_in_a_file(tmp_path, suffix):
    """Animations are refused; a smaller second image is a preview of the first."""
    first, second = Image.fromarray(orange()), Image.new("RGB", (32, 16), "blue")
    first.save(tmp_path / f"room{suffix}", save_all=True, append_images=[second])
    with pytest.raises(UserError, match=f"room{suffix} holds several images"):
        read_image(tmp_path / f"room{suffix}")
    first.save(tmp_path / "pyramid.tif", save_all=True, append_images=[second.resize((8, 4))])
    assert np.array_equal(read_image(tmp_path / "pyramid.tif").rgb, orange())
    first.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "camera.jpg").rgb.shape == (16, 32, 3)


def test_raw_file(tmp_path):
    """Raw files are TIFF files that start with a preview."""
    Image.fromarray(orange()).save(tmp_path / "room.dng", format="TIFF", tiffinfo={254: 1})
    with pytest.raises(UserError, match=r"room\.dng starts with a preview"):
        read_image(tmp_path / "room.dng")


def test_too_many_pixels(tmp_path, monkeypatch):
    """The images are not decoded."""
    Image.new("1", (1, 1)).save(tmp_path / "huge.png")
    png = bytearray((tmp_path / "huge.png").read_bytes())
    png[16:24] = struct.pack(">II", 60000, 30000)  # size in the header, and the header's checksum below
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    (tmp_path / "huge.png").write_bytes(png)
    (tmp_path / "huge.hdr").write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 60000\n")
    monkeypatch.setattr("prediction.input_image.ImageFile.colors", lambda _: pytest.fail("was decoded"))
    for name in ("huge.png", "huge.hdr"):
        with pytest.raises(UserError, match=f"{name} is 60000x30000.* 537 million pixels"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("dtype", [np.int32, np.int16, np.float64])
def test_other_data_types(tmp_path, dtype):
    path = encode(tmp_path / "room.tif", np.full((16, 32, 3), 3, dtype))
    with pytest.raises(UserError, match=r"room\.tif"):
        read_image(path)


def test_file_changes_while_it_is_read(tmp_path, monkeypatch):
    path = encode(tmp_path / "room.png", orange())
    assert read_image(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    colors = ImageFile.colors

    def replace_and_decode(file):
        encode(path, orange()[:8])
        return colors(file)

    monkeypatch.setattr("prediction.input_image.ImageFile.colors", replace_and_decode)
    with pytest.raises(UserError, match=r"room\.png was written to while it was read"):
        read_image(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"gone.png is missing"):
        as_rgb(str(tmp_path / "gone.png"))


def test_require_panorama():
    require_panorama((32, 64), "room.png", "--force stretches it")
    with pytest.raises(UserError, match=r"room.png is 16x16: a full panorama is twice as wide as high \(--force str"):
        require_panorama((16, 16), "room.png", "--force stretches it")
    with pytest.raises(UserError, match=r"room.png is 64x16: a full panorama is twice as wide as high$"):
        require_panorama((16, 64), "room.png")


@pytest.mark.parametrize(
    ("size", "accepted"),
    [
        *(((4096, 2048), True), ((4095, 2048), True), ((4097, 2048), True), ((4096, 2047), True)),
        *(((4096, 2049), True), ((4094, 2048), True), ((4093, 2048), False), ((4096, 2050), False)),
        *(((64, 32), True), ((63, 32), True), ((2, 2), False), ((3, 2), False), ((2048, 2048), False)),
    ],
)
def test_is_panorama(size, accepted):
    assert is_panorama(*size) == accepted


@pytest.mark.parametrize(
    "array",
    [
        orange(),
        np.dstack([orange(), np.zeros((16, 32), np.uint8)]),
        orange().astype(np.uint16) * 257,
        orange() / 255,
        (orange() / 255).astype(np.float16),
        orange()[:, ::-1],
    ],
)
def test_arrays(array):
    rgb = as_rgb(array)
    assert (rgb.shape, rgb.dtype) == ((16, 32, 3), np.uint8)
    assert rgb.flags.c_contiguous
    assert np.unique(rgb.reshape(-1, 3), axis=0).tolist() == [list(ORANGE)]


@pytest.mark.parametrize("shape", [(16, 32), (16, 32, 1)])
def test_gray_arrays(shape):
    assert np.array_equal(as_rgb(np.full(shape, 7, np.uint8)), np.full((16, 32, 3), 7))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros((16, 32, 2), np.uint8), r"got \(16, 32, 2\)"),
        (np.zeros((1, 16, 32, 3), np.uint8), r"got \(1, 16, 32, 3\)"),
        (np.zeros((0, 0, 3), np.uint8), r"got \(0, 0, 3\)"),
        (np.full((16, 32, 3), 255.0), "from 0 to 1"),
        (np.full((16, 32, 3), np.nan), "from 0 to 1"),
        (np.zeros((16, 32, 3), np.int64), "got int64"),
    ],
)
def test_wrong_arrays(array, problem):
    with pytest.raises(ValueError, match=problem):
        as_rgb(array)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "LA", "1"])
def test_pillow_images(mode):
    image = Image.fromarray(orange()).convert(mode)
    assert np.array_equal(as_rgb(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_16_bit_pillow_images(dtype):
    assert np.unique(as_rgb(Image.fromarray(np.full((16, 32), 100 * 257, dtype)))).tolist() == [100]


@pytest.mark.parametrize("value", [-1, 1 << 16])
def test_pillow_images_with_other_integers(value):
    with pytest.raises(ValueError, match="from 0 to 65535"):
        as_rgb(Image.fromarray(np.full((16, 32), value, np.int32)))
