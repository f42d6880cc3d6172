"""Normals that were stored in a known wrong way must be found out, and right ones left in peace."""

import numpy as np
import pytest

from utils.normal_frames import NormalPairs, axes_in_words, draw_pairs, join_pairs, judge_normals
from utils.sphere import erp_rays, yaw_rotation

HEIGHT, WIDTH = 64, 128


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def pairs(generator):
    """Eight panoramas with 100 pairs each of walls, floors and slanted things, 3 degrees or so apart."""
    num, each = 8, 100
    flat = np.repeat(np.eye(3), 4, axis=0) * np.tile([1, -1], 6)[:, None]
    implied = np.concatenate([flat, generator.normal(size=(8, 3))])[generator.integers(0, 20, num * each)]
    implied = unit(implied @ yaw_rotation(0.3).T)
    return NormalPairs(
        stored=unit(implied + generator.normal(scale=0.03, size=implied.shape)),
        implied=implied,
        longitude=generator.uniform(-np.pi, np.pi, len(implied)),
        panorama=np.repeat(np.arange(num), each),
    )


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def with_stored(pairs, stored):
    return NormalPairs(stored, pairs.implied, pairs.longitude, pairs.panorama)


def turned(vectors, angles):
    """Vectors (N, 3), each turned by an angle of its own about the vertical."""
    return np.stack([yaw_rotation(angle) @ vector for angle, vector in zip(angles, vectors, strict=True)])


def test_right_normals(pairs):
    judgement = judge_normals(pairs, "camera")
    assert judgement.problem == ""
    angles = np.degrees(np.arccos((pairs.stored * pairs.implied).sum(-1)))
    assert f"median {np.median(angles):.1f} degrees, 100.0% below 11.25 degrees" in judgement.text


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (np.diag([1, -1, 1]), "(x, -y, z)"),
        (np.diag([-1, -1, -1]), "(-x, -y, -z)"),
        (np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]]), "(z, x, -y)"),  # stored = axes @ camera
    ],
)
def test_wrong_axes(pairs, axes, words):
    judgement = judge_normals(with_stored(pairs, pairs.stored @ axes.T), "camera")
    assert judgement.problem == "normals disagree with depth"
    assert judgement.text.endswith(f"degrees) if read as {words}")
    assert "they would agree (" in judgement.text


@pytest.mark.parametrize("width", [0, 60])
def test_stitched_views(pairs, width):
    """Each vector in the frame of a view that faces its pixel, exactly or to within the width of a view."""
    step = np.radians(width)
    facing = np.rint(pairs.longitude / step) * step if width else pairs.longitude
    stored = turned(pairs.stored, -facing)
    assert judge_normals(with_stored(pairs, stored), "camera").text.endswith("in the frame of each stitched view")
    judgement = judge_normals(with_stored(pairs, stored * [1, -1, -1]), "camera")
    assert judgement.text.endswith("in the frame of each stitched view, read as (x, -y, -z)")


def test_building(pairs, generator):
    """A rotation of each panorama's own, not only about the vertical."""
    rotations = np.linalg.qr(generator.normal(size=(8, 3, 3)))[0]
    rotations *= np.linalg.det(rotations)[:, None, None]
    in_building = with_stored(pairs, np.einsum("nij,nj->ni", rotations[pairs.panorama], pairs.stored))
    judgement = judge_normals(in_building, "camera")
    assert judgement.problem
    assert "in a frame of the building: use --normal_frame world" in judgement.text
    assert judge_normals(in_building, "world").problem == ""
    mirrored = with_stored(pairs, in_building.stored * [1, 1, -1])
    for frame in ("camera", "world"):
        judgement = judge_normals(mirrored, frame)
        assert judgement.problem
        assert "in a frame of the building, mirrored" in judgement.text


def test_camera_normals_are_not_of_the_building(pairs):
    judgement = judge_normals(pairs, "world")
    assert judgement.problem == "normals are in the camera's frame"
    assert "leave out --normal_frame world" in judgement.text


def test_nonsense_is_not_explained(pairs, generator):
    stored = unit(generator.normal(size=pairs.stored.shape))
    judgement = judge_normals(with_stored(pairs, stored), "camera")
    assert judgement.problem
    assert "no other frame, would mend it" in judgement.text


def test_drawn_pairs():
    """They stem from pixels where both are known, away from the poles, and are the same ones every time."""
    rays = erp_rays(HEIGHT, WIDTH)
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[:, 70:] = 0
    stored = -rays.copy()
    stored[:, :20] = 0
    drawn = draw_pairs(stored, depth, seed=5)
    assert len(drawn) == 200
    assert drawn.stored == pytest.approx(drawn.implied, abs=1e-6)
    assert np.abs(drawn.stored[:, 1]).max() < np.sin(np.radians(60))
    assert drawn.longitude == pytest.approx(np.arctan2(-drawn.stored[:, 0], -drawn.stored[:, 2]), abs=1e-6)
    columns = drawn.longitude / (2 * np.pi) * WIDTH + WIDTH / 2 - 0.5
    assert columns.min() > 19.5
    assert columns.max() < 69.5
    assert np.array_equal(draw_pairs(stored, depth, seed=5).stored, drawn.stored)
    assert not np.array_equal(draw_pairs(stored, depth, seed=6).stored, drawn.stored)


def test_panoramas_without_enough_pairs():
    few = np.zeros((HEIGHT, WIDTH, 3))
    few[30, :19] = [0, 0, 1]
    full = -erp_rays(HEIGHT, WIDTH)
    depth = np.full((HEIGHT, WIDTH), 2.0)
    joined = join_pairs([draw_pairs(normal, depth, seed=0) for normal in (full, few, full)])
    assert len(joined) == 400
    assert np.unique(joined.panorama).tolist() == [0, 2]
    assert judge_normals(joined, "camera").problem == ""
    assert judge_normals(join_pairs([draw_pairs(few, depth, seed=0)]), "world").problem


def test_axes_in_words():
    assert axes_in_words(np.eye(3)) == "(x, y, z)"
    assert axes_in_words(np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]])) == "(-z, -y, x)"
