"""Normals stored in wrong frames or along wrong axes are detected; correct ones are accepted."""

import numpy as np
import pytest

from datasets.checks.normal_frames import evaluate_normals, measure_normals
from utils.sphere import erp_rays, pixels_to_angles, yaw_rotation

HEIGHT, WIDTH = 64, 128
NUM = 5


@pytest.fixture
def generator():
    return np.random.default_rng(0)


@pytest.fixture
def implied(generator):
    """Normals (NUM, H, W, 3) of walls, floors, ceilings and slanted surfaces."""
    flat = np.repeat(np.eye(3), 4, axis=0) * np.tile([1, -1], 6)[:, None]
    directions = np.concatenate([flat, generator.normal(size=(8, 3))])
    return unit(directions[generator.integers(0, 20, (NUM, HEIGHT, WIDTH))] @ yaw_rotation(0.3).T)


@pytest.fixture
def stored(implied, generator):
    """The same with noise of about 3 degrees."""
    return unit(implied + generator.normal(scale=0.03, size=implied.shape))


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def evaluate(stored, implied, frame="camera"):
    normals = [measure_normals(*maps) for maps in zip(stored, implied, strict=True)]
    return evaluate_normals([f"room {number}" for number in range(len(stored))], normals, frame, with_depth=True)


def rotated(stored, rotations):
    """Normals (N, H, W, 3) of N panoramas, rotated by rotations (N, 3, 3)."""
    return np.einsum("nij,nhwj->nhwi", rotations, stored)


def in_views(stored, width):
    """Normals in the frames of views `width` degrees apart that face their pixels; 0: each pixel has its own view."""
    u, _ = pixels_to_angles(0, np.arange(WIDTH), HEIGHT, WIDTH)
    facing = np.rint(u / np.radians(width)) * np.radians(width) if width else u
    return np.einsum("wij,nhwj->nhwi", [yaw_rotation(-angle) for angle in facing], stored)


def test_correct_normals(stored, implied):
    finding = evaluate(stored, implied)
    assert finding.problems == []
    assert finding.outliers == []
    assert "100.0% differ from depth by less than 11.25 degrees" in finding.rows


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        (np.diag([1, -1, 1]), "(x, -y, z)"),
        (np.diag([-1, -1, -1]), "(-x, -y, -z)"),
        (np.array([[0, 1, 0], [0, 0, -1], [1, 0, 0]]), "(z, x, -y)"),  # stored = axes @ camera
    ],
)
def test_wrong_axes(stored, implied, axes, words):
    finding = evaluate(stored @ axes.T, implied)
    assert finding.problems == ["normals disagree with depth"]
    assert finding.rows[-1] == f"100.0% would if read as {words}"


def test_minority_of_wrong_pixels_is_detected(stored, implied):
    """A wrong sign of y does not affect walls, which are the majority."""
    walls = np.abs(implied[..., 1]) < 0.1
    floors = np.abs(implied[..., 1]) > 0.9
    stored = np.where((walls | floors)[..., None], stored, 0) * [1, -1, 1]
    assert (walls.sum() / (walls | floors).sum()) > 0.6
    finding = evaluate(stored, implied)
    assert finding.problems == ["normals disagree with depth"]
    assert finding.rows[-1] == "100.0% would if read as (x, -y, z)"


@pytest.mark.parametrize("axes", [np.diag([1, -1, 1]), np.diag([-1, 1, 1]), -np.eye(3), np.eye(3)[[2, 1, 0]]])
def test_one_panorama_in_another_frame(stored, implied, axes):
    stored[3] = stored[3] @ axes.T
    finding = evaluate(stored, implied)
    assert finding.problems == ["1 of 5 panoramas: normals in another frame"]
    assert [line.partition(":")[0] for line in finding.outliers] == ["room 3"]


@pytest.mark.parametrize("width", [0, 60])
def test_stitched_views(stored, implied, width):
    finding = evaluate(in_views(stored, width), implied)
    assert finding.problems == ["normals disagree with depth"]
    assert finding.rows[-1].endswith("in the frame of each stitched view")
    finding = evaluate(in_views(stored, width) * [1, -1, -1], implied)
    assert finding.rows[-1].endswith("in the frame of each stitched view, read as (x, -y, -z)")


def test_building_frame(stored, implied, generator):
    """Each panorama has another rotation about the vertical, and the axes have another order."""
    rotations = np.array([np.eye(3)[[2, 0, 1]] @ yaw_rotation(angle) for angle in generator.uniform(0.5, 1, NUM)])
    in_building = rotated(stored, rotations)
    finding = evaluate(in_building, implied)
    assert finding.problems == ["normals disagree with depth"]
    assert "use --normal_frame world" in finding.rows[-1]
    assert evaluate(in_building, implied, "world").problems == []
    for frame in ("camera", "world"):
        finding = evaluate(in_building * [1, 1, -1], implied, frame)
        assert finding.problems
        assert "in a frame of the building, mirrored" in finding.rows[-1]


def test_one_panorama_with_another_vertical(stored, implied):
    """A rotation can be fitted to any single panorama: only the vertical differs."""
    in_building = rotated(stored, np.array([yaw_rotation(0.7 + number) for number in range(NUM)]))
    in_building[2] = in_building[2] * [1, -1, -1]
    finding = evaluate(in_building, implied, "world")
    assert finding.problems == ["1 of 5 panoramas: normals in another frame of the building"]
    assert finding.outliers[0].startswith("room 2:")


def test_camera_frame_is_not_a_building_frame(stored, implied):
    finding = evaluate(stored, implied, "world")
    assert finding.problems == ["normals are in the camera's frame"]
    assert "--normal_frame world" in finding.rows[-1]


def test_random_normals_have_no_explanation(implied, generator):
    finding = evaluate(unit(generator.normal(size=implied.shape)), implied)
    assert finding.problems == ["normals disagree with depth"]
    assert "no other frame, explains them" in finding.rows[-1]


def test_too_few_normals(stored, implied):
    few = np.zeros_like(stored)
    few[:, 30, :99] = stored[:, 30, :99]
    finding = evaluate(few, implied)
    assert "only 1.2% of the normals are known" in finding.problems
    assert "too few normals to compare with depth" in finding.problems
    some = stored.copy()
    some[1] = few[1]
    finding = evaluate(some, implied)
    assert finding.problems == ["1 of 5 panoramas: hardly any normals"]
    assert finding.outliers[0].startswith("room 1:")


def test_poles_are_ignored(stored, implied):
    stored[:, : HEIGHT // 6 - 1] *= -1
    stored[:, -HEIGHT // 6 + 1 :] *= -1
    assert measure_normals(stored[0], implied[0]).agreeing[0] > 0.99


@pytest.mark.parametrize(("axes", "is_right"), [(np.eye(3), True), (np.diag([1, -1, 1]), False), (-np.eye(3), False)])
def test_without_depth_normals_must_face_the_camera(generator, axes, is_right):
    rays = erp_rays(HEIGHT, WIDTH)
    facing = unit(-rays + generator.normal(scale=0.3, size=rays.shape))
    facing *= -np.sign((facing * rays).sum(-1, keepdims=True))
    measured = measure_normals(facing @ axes.T, None)
    finding = evaluate_normals(["room"], [measured], "camera", with_depth=False)
    assert (finding.problems == []) == is_right


def test_too_few_normals_without_depth(stored):
    few = np.zeros_like(stored[0])
    few[30, :99] = stored[0, 30, :99]
    finding = evaluate_normals(["room"], [measure_normals(few, None)], "camera", with_depth=False)
    assert finding.problems[-1] == "too few normals to compare with the camera"
