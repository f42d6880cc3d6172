"""Reading pictures that people have."""

import cv2
import numpy as np
import pytest

from utils.errors import UserError
from utils.images import list_images, read_panorama


def write(path, image):
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def test_reads_rgb(tmp_path):
    blue_in_bgr = np.zeros((4, 8, 3), np.uint8)
    blue_in_bgr[..., 0] = 255
    image = read_panorama(write(tmp_path / "blau-ä.png", blue_in_bgr))
    assert image[0, 0].tolist() == [0, 0, 255]


def test_grey_becomes_rgb(tmp_path):
    assert read_panorama(write(tmp_path / "grey.png", np.full((4, 8), 7, np.uint8))).shape == (4, 8, 3)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_not_an_image(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken.png is not an image"):
        read_panorama(path)


def test_not_a_panorama(tmp_path):
    with pytest.raises(UserError, match=r"square.png is 8x8"):
        read_panorama(write(tmp_path / "square.png", np.zeros((8, 8, 3), np.uint8)))


def test_missing(tmp_path):
    with pytest.raises(UserError, match=r"gone.png is missing"):
        read_panorama(tmp_path / "gone.png")


def test_list_images(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    assert list_images(tmp_path / "a.png") == [tmp_path / "a.png"]
    with pytest.raises(UserError, match="does not exist"):
        list_images(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no image"):
        list_images(tmp_path / "empty")
