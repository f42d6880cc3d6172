"""Point clouds compared with closed forms; files are read back with trimesh."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from prediction import PanoramaPrediction, PointCloud
from prediction.point_cloud import TO_GLTF
from utils.errors import UserError
from utils.pinhole import Pinhole
from utils.sphere import erp_rays
from utils.tasks import RELATIVE

HEIGHT, WIDTH = 32, 64
DIRECTIONS = {  # name -> unit vector, and the nearest pixel (row, column)
    "right": ((1, 0, 0), (16, 48)),
    "down": ((0, 1, 0), (31, 20)),
    "forward": ((0, 0, 1), (16, 32)),
    "left": ((-1, 0, 0), (16, 16)),
    "up": ((0, -1, 0), (0, 50)),
    "backward": ((0, 0, -1), (16, 0)),
}


@pytest.fixture
def ball(settings):
    """A sphere seen from its center: 2 m away everywhere, with six spots of different colors."""
    rgb = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (_, pixel) in enumerate(DIRECTIONS.values(), start=1):
        rgb[pixel] = (10 * number, 0, 255)
        labels[pixel] = number % 3
    return PanoramaPrediction(
        rgb=rgb,
        settings=settings,
        depth=np.full((HEIGHT, WIDTH), 2, np.float32),
        normal=-erp_rays(HEIGHT, WIDTH).astype(np.float32),
        labels=labels,
    )


def check_directions(xyz: np.ndarray, colors: np.ndarray) -> None:
    """Each spot is in the direction in which the camera saw it, up to the size of a pixel."""
    for number, (direction, _) in enumerate(DIRECTIONS.values(), start=1):
        (point,) = xyz[(colors[:, :3] == (10 * number, 0, 255)).all(axis=1)]
        assert np.linalg.norm(point / 2 - direction) < np.pi / HEIGHT


def test_arrays(ball):
    cloud = ball.point_cloud()
    assert (cloud.xyz.shape, cloud.xyz.dtype) == ((HEIGHT * WIDTH, 3), np.float32)
    assert np.linalg.norm(cloud.xyz, axis=1) == pytest.approx(2)
    np.testing.assert_allclose(cloud.normals, -cloud.xyz / 2, atol=1e-6)
    check_directions(cloud.xyz, cloud.colors)


def test_ply(ball, tmp_path):
    path = tmp_path / "ball.ply"
    ball.point_cloud().save_ply(path)
    assert list(tmp_path.iterdir()) == [path], "no temporary file is left"
    header = path.read_bytes().partition(b"end_header\n")[0].decode("ascii")
    assert "format binary_little_endian 1.0\n" in header
    assert "x right, y down, z forward" in header
    assert "metres along the ray" in header
    read = trimesh.load(path)
    np.testing.assert_allclose(np.linalg.norm(read.vertices, axis=1), 2, rtol=1e-6)
    check_directions(read.vertices, read.colors)
    vertices = read.metadata["_ply_raw"]["vertex"]["data"]
    assert np.array_equal(vertices["label"], ball.labels.reshape(-1))
    normals = np.stack([vertices[name] for name in ("nx", "ny", "nz")], axis=-1)
    np.testing.assert_allclose(normals, -read.vertices / 2, atol=1e-6)


def test_ply_without_attributes(tmp_path):
    xyz = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    PointCloud(xyz).save_ply(tmp_path / "points.ply")
    np.testing.assert_array_equal(trimesh.load(tmp_path / "points.ply").vertices, xyz)


def test_glb(ball, tmp_path):
    """y up and z backward: a rotation, so nothing is mirrored."""
    ball.point_cloud().save_glb(tmp_path / "ball.glb")
    (read,) = trimesh.load(tmp_path / "ball.glb").geometry.values()
    check_directions(read.vertices * (1, -1, -1), read.colors)
    assert np.linalg.det(np.diag(TO_GLTF)) == 1


def test_glb_without_trimesh(ball, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match="pip install trimesh"):
        ball.point_cloud().save_glb(tmp_path / "ball.glb")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def ball_with_holes(ball):
    """Every second column has no depth: 0, NaN, infinite or negative."""
    depth = ball.depth.copy()
    depth[:, ::8], depth[:, 2::8], depth[:, 4::8], depth[:, 6::8] = 0, np.nan, np.inf, -1
    return replace(ball, depth=depth)


def test_pixels_without_depth_have_no_points(ball, ball_with_holes, tmp_path):
    cloud, whole = ball_with_holes.point_cloud(), ball.point_cloud()
    kept = np.tile(np.arange(WIDTH) % 2 == 1, HEIGHT)
    for name in ("xyz", "colors", "normals", "labels"):
        np.testing.assert_array_equal(getattr(cloud, name), getattr(whole, name)[kept])
    cloud.save_ply(tmp_path / "ball.ply")
    assert np.linalg.norm(trimesh.load(tmp_path / "ball.ply").vertices, axis=1) == pytest.approx(2)
    cloud.save_glb(tmp_path / "ball.glb")
    (read,) = trimesh.load(tmp_path / "ball.glb").geometry.values()
    assert len(read.vertices) == HEIGHT * WIDTH / 2


def test_no_depth_at_all(ball, tmp_path):
    cloud = replace(ball, depth=np.zeros_like(ball.depth)).point_cloud()
    assert cloud.xyz.shape == (0, 3)
    cloud.save_ply(tmp_path / "ball.ply")
    assert b"element vertex 0\n" in (tmp_path / "ball.ply").read_bytes()
    with pytest.raises(UserError, match="no pixel has a depth"):
        cloud.save_glb(tmp_path / "ball.glb")


def test_network_without_depth(ball):
    settings = replace(ball.settings, tasks=("normal", "segmentation"))
    without_depth = replace(ball, depth=None, settings=settings)
    assert without_depth.panel().shape[2] == 3, "everything else works"
    with pytest.raises(UserError, match="needs depth, but the network predicts only normal, segmentation"):
        without_depth.point_cloud()


def test_network_with_depth_only(ball):
    settings = replace(ball.settings, tasks=("depth",), depth_unit=RELATIVE)
    cloud = replace(ball, normal=None, labels=None, settings=settings).point_cloud()
    assert (cloud.normals, cloud.labels) == (None, None)
    assert cloud.unit == RELATIVE


def test_normals_in_a_world_frame_are_omitted(ball):
    assert replace(ball, settings=replace(ball.settings, normal_frame="world")).point_cloud().normals is None


def test_ground_truth_with_mask():
    """Pixels that are missing or masked have no points."""
    depth = np.full((HEIGHT, WIDTH), 3.0)
    depth[:4], depth[4] = 0, np.nan
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[:, :10] = False
    rgb = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    cloud = PointCloud.from_depth(depth, colors=rgb, mask=mask)
    expected = 3 * erp_rays(HEIGHT, WIDTH)[5:, 10:].reshape(-1, 3)
    np.testing.assert_allclose(cloud.xyz, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(cloud.colors, rgb[5:, 10:].reshape(-1, 3))
    assert (cloud.normals, cloud.labels) == (None, None)


def test_depth_along_the_optical_axis():
    camera = Pinhole.from_fov(90, 6, 8)
    depth = np.arange(1.0, 49).reshape(6, 8)
    depth[0, 0] = 0
    xyz = PointCloud.from_depth(depth, camera=camera).xyz
    np.testing.assert_allclose(xyz, camera.points(depth).reshape(-1, 3)[1:], rtol=1e-6)


def test_maps_of_other_sizes():
    depth = np.ones((4, 8))
    with pytest.raises(ValueError, match="mask"):
        PointCloud.from_depth(depth, mask=np.ones((8, 4), bool))
    with pytest.raises(ValueError, match="camera"):
        PointCloud.from_depth(depth, camera=Pinhole.from_fov(90, 8, 4))


@pytest.mark.parametrize(
    ("up", "right", "top", "front"),
    [
        ("-y", (1, 0, 0), (0, -1, 0), (0, 0, 1)),
        ("y", (1, 0, 0), (0, 1, 0), (0, 0, -1)),
        ("z", (1, 0, 0), (0, 0, 1), (0, 1, 0)),
    ],
)
def test_axes_of_ply(tmp_path, up, right, top, front):
    xyz = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1]], dtype=np.float32)
    PointCloud(xyz, normals=xyz).save_ply(tmp_path / "points.ply", up=up)
    read = trimesh.load(tmp_path / "points.ply")
    np.testing.assert_array_equal(read.vertices, [right, top, front])
    vertices = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(vertices["nz"], np.array([right, top, front])[:, 2])
    header = (tmp_path / "points.ply").read_bytes().partition(b"end_header")[0].decode()
    assert {"-y": "y down", "y": "y up", "z": "z up"}[up] in header
    assert np.linalg.det(np.stack([right, top, front])) == -1, "not mirrored"
