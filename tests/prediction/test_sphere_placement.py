"""Images of parts of the sphere and of tilted cameras, in a world whose colors are a function of the direction."""

import numpy as np
import pytest

from prediction.gpano import GPano, parse_gpano
from prediction.panorama_input import panorama_input, resize_mask
from prediction.sphere_flags import SphereFlags
from prediction.sphere_placement import Placement, placement_of_gpano, placement_of_vfov
from utils.errors import UserError

HEIGHT, WIDTH = 32, 64


def rays(longitudes: np.ndarray, latitudes: np.ndarray) -> np.ndarray:
    """Unit vectors (h, w, 3), right, down, forward; angles in degrees, latitudes increase upward."""
    u, v = np.radians(longitudes)[None, :], np.radians(latitudes)[:, None]
    return np.stack(np.broadcast_arrays(np.cos(v) * np.sin(u), -np.sin(v), np.cos(v) * np.cos(u)), axis=-1)


def colors(directions: np.ndarray) -> np.ndarray:
    return np.rint(127.5 + 100 * directions).astype(np.uint8)


def centers(start: float, end: float, number: int) -> np.ndarray:
    return start + (np.arange(number) + 0.5) / number * (end - start)


def photo(left=-180, right=180, top=90, bottom=-90, size=(64, 128), matrix=None) -> np.ndarray:
    """The image of a camera whose axes are the columns of a matrix."""
    directions = rays(centers(left, right, size[1]), centers(top, bottom, size[0]))
    return colors(directions if matrix is None else directions @ matrix.T)


WORLD = photo(size=(HEIGHT, WIDTH))


def pitched(degrees: float) -> np.ndarray:
    """The forward axis points upward (y is down)."""
    a = np.radians(degrees)
    return np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])


def rolled(degrees: float) -> np.ndarray:
    """The right axis points downward: clockwise."""
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])


@pytest.mark.parametrize(
    ("pitch", "roll", "matrix"),
    [(20, 0, pitched(20)), (0, 30, rolled(30)), (-15, 10, pitched(-15) @ rolled(10)), (90, 0, pitched(90))],
)
def test_tilted_camera(pitch, roll, matrix):
    placement = Placement(pitch=pitch, roll=roll)
    assert not placement.is_plain
    found = placement.place(photo(matrix=matrix), HEIGHT)
    assert np.abs(found.astype(int) - WORLD).max() <= 4
    assert placement.place_mask(np.ones((64, 128), bool), HEIGHT).all()


def test_signs_of_pitch_and_roll():
    """Upward pitch lowers the horizon in the image; clockwise roll points the right side of the image downward."""
    pitched_image, rolled_image = photo(matrix=pitched(20)), photo(matrix=rolled(20))
    horizon = np.abs(pitched_image[:, 64, 1].astype(int) - 127).argmin()
    assert horizon == pytest.approx(31.5 + 64 * 20 / 180, abs=1)
    assert rolled_image[32, 96, 1] > rolled_image[32, 64, 1]


@pytest.mark.parametrize(
    "borders",
    [
        *({"left": -90, "right": 90, "top": 60, "bottom": -45}, {"top": 50, "bottom": -50}),
        *({"left": 100, "right": 250}, {"left": -360, "right": 0}),
    ],
)
def test_part_of_the_sphere(borders):
    placement = Placement(**borders)
    image = photo(**borders, size=(90, 180))
    found, seen = placement.place(image, HEIGHT), placement.place_mask(np.ones((90, 180), bool), HEIGHT)
    u, v = np.meshgrid(centers(-180, 180, WIDTH), centers(90, -90, HEIGHT))
    across = (u - placement.left) % 360 < placement.right - placement.left
    np.testing.assert_array_equal(seen, across & (v < placement.top) & (v > placement.bottom))
    assert np.abs(found.astype(int) - WORLD)[seen].max() <= 4


def test_padding_repeats_the_nearest_border():
    image = np.full((8, 16, 3), 50, np.uint8)
    image[:, 8:] = 200
    found = Placement(left=-90, right=90).place(image, HEIGHT)[HEIGHT // 2, :, 0]
    assert set(found[: WIDTH // 4].tolist()) == {50}, "from its left border to behind the camera"
    assert set(found[-WIDTH // 4 :].tolist()) == {200}


def test_interpolation_across_the_seam():
    """Rotated by half a pixel, a column is the mean of the image's last and first ones."""
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, -1] = 200
    found = Placement(left=-180 - 22.5 / 2, right=180 - 22.5 / 2).place(image, 8)
    assert found[4, -1, 0] == found[4, -2, 0] == 100


def test_own_height():
    assert Placement(top=60, bottom=-60).own_height(1000) == 1500
    assert Placement(pitch=3).own_height(20000) == 8192


def test_largest_height():
    with pytest.raises(UserError, match="--height 8193"):
        panorama_input(WORLD, Placement(pitch=3), 8193, HEIGHT)


def test_large_images_are_averaged():
    """Stripes of one pixel do not alias."""
    image = np.zeros((256, 512, 3), np.uint8)
    image[::2] = 200
    found = Placement(pitch=10).place(image, 16)
    assert np.abs(found[4:12].astype(int) - 100).max() < 25


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:P="http://ns.google.com/photos/1.0/panorama/" {}>{}</rdf:Description>'
    "</rdf:RDF></x:xmpmeta>"
)
CROP = {
    **{"FullPanoWidthPixels": 4000, "FullPanoHeightPixels": 2000},
    **{"CroppedAreaImageWidthPixels": 2000, "CroppedAreaImageHeightPixels": 1000},
    **{"CroppedAreaLeftPixels": 1000, "CroppedAreaTopPixels": 400},
}


def as_attributes(values: dict) -> str:
    return XMP.format(" ".join(f'P:{name}="{value}"' for name, value in values.items()), "")


def as_elements(values: dict) -> str:
    return XMP.format("", "".join(f"<P:{name}>{value}</P:{name}>" for name, value in values.items()))


@pytest.mark.parametrize("xmp", [as_attributes, as_elements, lambda values: as_elements(values).encode() + b"\0"])
def test_gpano(xmp):
    values = {"ProjectionType": "equirectangular", **CROP, "PosePitchDegrees": 3.5, "PoseRollDegrees": -2}
    gpano = parse_gpano(xmp({**values, "PoseHeadingDegrees": 350}))
    assert gpano == GPano("equirectangular", (2000, 1000, 1000, 400, 4000, 2000), 3.5, -2, 350)
    placement = placement_of_gpano(gpano, (500, 1000))
    assert [placement.left, placement.right, placement.top, placement.bottom] == pytest.approx([-90, 90, 54, -36])
    assert (placement.pitch, placement.roll, placement.heading, placement.source) == (3.5, -2, 350, "GPano")


@pytest.mark.parametrize("xmp", [None, b"", "no xml", XMP.format("", "")])
def test_no_gpano(xmp):
    assert parse_gpano(xmp) is None


def test_gpano_of_a_whole_sphere_changes_nothing():
    assert placement_of_gpano(parse_gpano(as_attributes({"PoseHeadingDegrees": 90})), (32, 64)).is_plain


def test_gpano_with_unknown_values():
    """NaN is not a pose."""
    names = ("PosePitchDegrees", "PoseRollDegrees", "PoseHeadingDegrees", *CROP)
    assert parse_gpano(as_attributes(dict.fromkeys(names, "NaN"))) == GPano()


@pytest.mark.parametrize(
    ("values", "size", "message"),
    [
        ({"ProjectionType": "cylindrical"}, (32, 64), "cylindrical"),
        (CROP, (500, 900), "--crop"),
        ({**CROP, "CroppedAreaLeftPixels": 3000}, (500, 1000), "outside"),
        ({"PosePitchDegrees": "level"}, (32, 64), "PosePitchDegrees"),
    ],
)
def test_wrong_gpano(values, size, message):
    with pytest.raises(UserError, match=message):
        placement_of_gpano(parse_gpano(as_attributes(values)), size)


def test_flags():
    gpano = GPano(pitch=5, roll=1, crop=(2, 1, 1, 0, 4, 2))
    assert SphereFlags().placement((32, 64), None, "a.png").is_plain
    assert SphereFlags().placement((32, 64), gpano, "a.png").pitch == 5
    wide = SphereFlags(vfov=60, upright=(0, 0)).placement((100, 600), gpano, "a.png")
    assert (wide.left, wide.right, wide.top, wide.bottom, wide.pitch) == (-180, 180, 30, -30, 0)
    cropped = SphereFlags(crop=(-90, 90, 30, -60)).placement((100, 600), gpano, "a.png")
    assert (cropped.left, cropped.bottom, cropped.pitch) == (-90, -60, 5)
    assert SphereFlags(force=True).placement((50, 50), None, "a.png").is_plain
    assert placement_of_vfov(90, (100, 100)).right == 45


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, r"a.png is 600x100: .*--vfov or --crop"),
        ({"vfov": 90}, r"a.png: --vfov 90: .* 540 degrees"),
        ({"crop": (10, -10, 30, -30)}, r"--crop 10 -10 30 -30"),
        ({"crop": (0, 361, 30, -30)}, r"--crop 0 361"),
        ({"upright": (91, 0)}, "--upright"),
    ],
)
def test_wrong_flags(flags, message):
    with pytest.raises(UserError, match=message):
        SphereFlags(**flags).placement((100, 600), None, "a.png")


def test_valid_pixels():
    """Pixels outside the image are not valid; masks are in the pixels of the image."""
    mask = np.ones((50, 100), bool)
    mask[40:] = False
    half = Placement(-90, 90, 45, -45)
    panorama = panorama_input(photo(-90, 90, 45, -45, (50, 100)), half, None, HEIGHT, mask)
    assert panorama.rgb.shape == (HEIGHT, WIDTH, 3)
    assert panorama.seen.sum() == 16 * 32
    assert panorama.seen[8:24, 16:48].all()
    np.testing.assert_array_equal(panorama.valid[21:24], False)
    assert panorama.valid[8:21, 16:48].all()
    own = panorama_input(photo(-90, 90, 45, -45, (50, 100)), half, "own", HEIGHT)
    assert own.rgb.shape == (100, 200, 3)
    plain = panorama_input(WORLD, Placement(), "own", 8)
    assert plain.seen is plain.valid is plain.placement is None
    assert plain.rgb is WORLD


def test_resize_mask():
    mask = np.arange(12).reshape(3, 4) % 2 == 0
    np.testing.assert_array_equal(resize_mask(mask, 6, 8), mask.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_array_equal(resize_mask(mask.repeat(3, axis=0).repeat(3, axis=1), 3, 4), mask)
