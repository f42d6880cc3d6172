"""Cube maps, compared with the panorama that they show, and dual fisheyes."""

import cv2
import numpy as np
import pytest

from prediction.cubemap import cubemap_as_panorama, face_files, only_fronts, split_cubemap
from prediction.fisheye import refuse_fisheyes
from prediction.input_image import read_image
from prediction.naming import Job
from utils.errors import UserError
from utils.projection import erp_to_cube
from utils.sphere import erp_rays
from visual.drawing import save_image

SIZE = 32
WORLD = np.rint(127.5 + 100 * erp_rays(2 * SIZE, 4 * SIZE)).astype(np.uint8)


@pytest.fixture(scope="module")
def faces() -> dict[str, np.ndarray]:
    return erp_to_cube(WORLD, SIZE)


def layout(faces, rows: tuple[str, ...], turned: str = "") -> np.ndarray:
    """An image of faces, given their first letters; those in `turned` are upside down, dots are black."""
    by_letter = {name[0].upper(): face for name, face in faces.items()} | {".": np.zeros((SIZE, SIZE, 3), np.uint8)}
    by_letter |= {letter: by_letter[letter][::-1, ::-1] for letter in turned}
    return np.vstack([np.hstack([by_letter[letter] for letter in row]) for row in rows])


@pytest.mark.parametrize(
    ("rows", "turned", "order"),
    [
        ((".U..", "LFRB", ".D.."), "", "RLUDFB"),
        ((".U.", "LFR", ".D.", ".B."), "B", "FRBLUD"),
        (("FRBLUD",), "", "FRBLUD"),
        (("RLUDFB",), "", "RLUDFB"),
        (tuple("RLUDFB"), "", "RLUDFB"),
        (("LFR", "DBU"), "", "LFRDBU"),
    ],
)
def test_layouts(faces, rows, turned, order):
    found = cubemap_as_panorama(split_cubemap(layout(faces, rows, turned), order, "cube.png"))
    assert found.shape == (2 * SIZE, 4 * SIZE, 3)
    assert np.abs(found.astype(int) - WORLD).max() <= 5


def test_other_aspect_ratio():
    with pytest.raises(UserError, match=r"--cubemap: a.png is 64x32"):
        split_cubemap(np.zeros((32, 64, 3), np.uint8), "FRBLUD", "a.png")


@pytest.mark.parametrize(
    "names",
    [
        *(("room_front", "room_right", "room_back", "room_left", "room_up", "room_down"), tuple("frblud")),
        *(("a-F", "a-R", "a-B", "a-L", "a-U", "a-D"), ("pz", "px", "nz", "nx", "py", "ny")),
        ("Front", "Right", "Back", "Left", "Top", "Bottom"),
    ],
)
def test_six_files(tmp_path, names):
    paths = [tmp_path / f"{name}.png" for name in names]
    for path in (*paths, tmp_path / "other.png"):
        path.touch()
    assert list(face_files(paths[0]).values()) == paths
    assert face_files(tmp_path / "other.png") is None
    jobs = [Job(path, path.with_suffix("")) for path in sorted(tmp_path.iterdir())]
    assert {job.image for job in only_fronts(jobs)} == {paths[0], tmp_path / "other.png"}
    paths[5].unlink()
    assert face_files(paths[0]) is None


def test_command(predict, faces, tmp_path):
    """Six files and one image have the same results; a changed face is noticed."""
    for name, face in faces.items():
        save_image(tmp_path / "six" / f"room_{name}.png", face)
    save_image(tmp_path / "one.png", layout(faces, ("FRBLUD",)))

    def depth(path, out: str) -> np.ndarray:
        assert predict("--input", path, "--out", tmp_path / out, "--save", "depth", "--cubemap") == 0
        (file,) = (tmp_path / out).glob("*_depth.npy")
        return np.load(file)

    six = depth(tmp_path / "six", "six_out")
    np.testing.assert_array_equal(six, depth(tmp_path / "one.png", "one_out"))
    rgb = read_image(tmp_path / "one_out" / "one_rgb.png").rgb
    assert np.abs(rgb[::2, ::2].astype(int) - WORLD[::4, ::4]).max() <= 20, "the panorama that the maps belong to"
    save_image(tmp_path / "six" / "room_back.png", faces["front"])
    assert (depth(tmp_path / "six", "six_out") != six).any()


def fisheyes(size: int) -> np.ndarray:
    rgb = np.zeros((size, 2 * size, 3), np.uint8)
    for center in (size // 2, 3 * size // 2):
        cv2.circle(rgb, (center, size // 2), size // 2 - 2, (140, 130, 120), -1)
    return rgb


def test_fisheyes():
    with pytest.raises(UserError, match=r"a.jpg looks like two fisheyes: .*--force"):
        refuse_fisheyes(fisheyes(300), "a.jpg", "--force")


@pytest.mark.parametrize("kind", ["black", "panorama", "black poles", "dark", "square"])
def test_no_fisheyes(kind):
    rgb = {
        "black": np.zeros((64, 128, 3), np.uint8),
        "panorama": WORLD,
        "black poles": np.where((np.abs(np.arange(64) - 32) < 20)[:, None, None], WORLD, 0),
        "dark": WORLD // 8,
        "square": fisheyes(64)[:, :64],
    }[kind]
    refuse_fisheyes(rgb, "a.jpg", "--force")


def test_heic(tmp_path):
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x24ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(UserError, match=r"phone.heic is a HEIC file.*JPEG"):
        read_image(tmp_path / "phone.heic")


def test_fisheyes_in_python(model):
    with pytest.raises(UserError, match=r"the image looks like two fisheyes: .*force=True"):
        model.predict(fisheyes(32))
    assert model.predict(fisheyes(32), force=True).depth.shape == (32, 64)
