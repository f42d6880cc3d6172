"""Cameras of images: from the command line, from EXIF and of the training images."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from datasets.nyuv2_layouts import NYU_CAMERA, stored_camera
from prediction.cameras import CameraFlags, training_camera
from prediction.input_image import read_image
from utils.errors import UserError
from utils.padding import padded_size
from utils.pinhole import Pinhole

EXIF, FOCAL_LENGTH, ORIENTATION = 0x8769, 0xA405, 0x112


def test_precedence(perspective_settings):
    size = (480, 640)
    for flags, focal_length, source in (
        (CameraFlags(fov=60), 26, "--fov"),
        (CameraFlags(intrinsics=(500, 510, 300, 200)), 26, "--intrinsics"),
        (CameraFlags(), 26, "EXIF"),
        (CameraFlags(), None, "NYU v2's"),
    ):
        camera = flags.camera(size, focal_length, perspective_settings)
        expected = {
            "--fov": Pinhole.from_fov(60, *size),
            "--intrinsics": Pinhole(500, 510, 300, 200, *size),
            "EXIF": Pinhole.from_35mm(26, *size),
            "NYU v2's": NYU_CAMERA,
        }
        assert camera.source == source
        assert camera.pinhole == expected[source]
        assert camera.as_dict() == {"source": source} | {
            name: getattr(camera.pinhole, name) for name in ("fx", "fy", "cx", "cy")
        }


@pytest.mark.parametrize("point", [(640, 200), (300, 480)])
def test_principal_point_outside_the_image(perspective_settings, point):
    flags = CameraFlags(intrinsics=(500, 500, *point))
    with pytest.raises(UserError, match=r"--intrinsics .*room\.jpg, which is 640x480"):
        flags.camera((480, 640), None, perspective_settings, "room.jpg")


def test_flags_as_text():
    assert str(CameraFlags(fov=62.5)) == "--fov 62.5"
    assert str(CameraFlags(intrinsics=(518.8579, 519.4696, 324, 252.0))) == "--intrinsics 518.8579 519.4696 324 252"


SOURCES = [
    ("SyntheticNYU", {}, NYU_CAMERA),
    ("NYUv2", {"copy": "O: the owners' nyu_depth_v2_labeled.mat"}, NYU_CAMERA),
    ("NYUv2", {"copy": "B: NYUD_MT.tgz"}, stored_camera(True, 425, 560)),
    ("NYUv2", {"copy": "M: MTAN"}, stored_camera(True, 288, 384)),
]


@pytest.mark.parametrize(("dataset", "source", "stored"), SOURCES)
def test_training_camera(perspective_settings, dataset, source, stored):
    """At the stored size it is that of the stored images (M's are slightly stretched); padded and resized images of any
    size then have the same focal length."""
    settings = replace(perspective_settings, dataset=dataset, source=source, height=480, width=640)
    size = stored.height, stored.width
    own = training_camera(size, settings)
    for name in ("fx", "fy", "cx", "cy"):
        assert getattr(own, name) == pytest.approx(getattr(stored, name), rel=0.015), name
    shown = [
        training_camera(other, settings).fx * 640 / padded_size(other, 480, 640)[1]
        for other in (size, (480, 640), (1000, 1000), (4000, 3000), (720, 1280))
    ]
    assert shown == pytest.approx([shown[0]] * len(shown), rel=1e-6)


def save(path, focal_length=None, orientation=1):
    """Save an image (30, 40) with these tags."""
    image = Image.fromarray(np.zeros((30, 40, 3), np.uint8))
    known = {} if focal_length is None else {FOCAL_LENGTH: focal_length}
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(EXIF).update(known)
    tags = {"tiffinfo": {ORIENTATION: orientation, EXIF: known}} if path.suffix == ".tif" else {"exif": exif}
    image.save(path, **tags)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_focal_length_in_exif(tmp_path, suffix):
    image = read_image(save(tmp_path / f"room{suffix}", 26, orientation=6))
    assert (image.focal_length, image.size) == (26, (30, 40)), "upright"


@pytest.mark.parametrize("focal_length", [None, 0])
def test_no_focal_length(tmp_path, focal_length):
    assert read_image(save(tmp_path / "room.jpg", focal_length)).focal_length is None


def test_damaged_exif_is_ignored(tmp_path):
    path = save(tmp_path / "room.jpg", 26)
    data = bytearray(path.read_bytes())
    start = data.index(b"Exif\0\0") + 6
    data[start + 4 : start + 40] = b"\xff" * 36
    path.write_bytes(data)
    image = read_image(path)
    assert (image.focal_length, image.rgb.shape) == (None, (30, 40, 3))
