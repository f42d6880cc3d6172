"""What may be uploaded, and what is said about the rest."""

import numpy as np
import pytest
from PIL import Image

from demo import uploads
from demo.uploads import read_upload
from utils.errors import UserError


def test_a_panorama_is_read(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "room.png")
    assert np.array_equal(read_upload(tmp_path / "room.png"), picture)


@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", b"hello"), ("empty.png", b""), ("noise.png", bytes(range(256)) * 9)],
)
def test_what_is_no_image(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"^{name} is no image of a kind that is read here, or is damaged$"):
        read_upload(tmp_path / name)


def test_a_truncated_image_is_named_without_our_folder(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"^cut\.png is truncated$"):
        read_upload(tmp_path / "cut.png")


def test_an_upload_that_another_visitor_made_too(tmp_path):
    """It was read, and removed, before."""
    with pytest.raises(UserError, match=r"^room\.png was dropped twice at the same time: drop it again$"):
        read_upload(tmp_path / "room.png")


def test_another_shape(tmp_path):
    Image.new("RGB", (300, 200)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"^photo\.png is 300x200: a full panorama is twice as wide as high$"):
        read_upload(tmp_path / "photo.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_never_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "as_rgb", lambda path: pytest.fail("was decoded"))
    Image.new("1", (18000, 9000)).save(tmp_path / "huge.png")
    with pytest.raises(UserError, match=r"^huge\.png is 18000x9000: 128 million pixels at most$"):
        read_upload(tmp_path / "huge.png")
    Image.new("1", (30000, 15000)).save(tmp_path / "bomb.png")  # beyond Pillow's limit too
    with pytest.raises(UserError, match=r"^bomb\.png has too many pixels: 128 million at most$"):
        read_upload(tmp_path / "bomb.png")
