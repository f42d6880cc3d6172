"""Meshes of box-shaped rooms, and of the ground truth of synthetic ones."""

import sys

import numpy as np
import pytest
import trimesh

from datasets.classes import STANFORD2D3D
from datasets.synthetic import SyntheticRooms
from prediction.mesh import Mesh
from utils.errors import UserError
from utils.pinhole import Pinhole
from utils.sphere import erp_rays

HEIGHT, WIDTH = 64, 128
ROOMS = {  # positions of the walls in meters: lower and upper x, y, z
    "living room": ((-2.1, -1.2, -1.7), (1.6, 1.5, 2.4)),
    "corridor": ((-0.9, -1.0, -1.3), (0.7, 1.5, 9.0)),
}


def box_depth(low, high, height: int = HEIGHT) -> np.ndarray:
    """Depth along the ray of an empty room, (H, 2H)."""
    rays = erp_rays(height, 2 * height)
    with np.errstate(divide="ignore"):
        return np.where(rays > 0, high / rays, low / rays).min(axis=-1)


def black(height: int = HEIGHT) -> np.ndarray:
    return np.zeros((height, 2 * height, 3), np.uint8)


@pytest.mark.parametrize("room", ROOMS)
def test_empty_room_is_closed(room):
    low, high = map(np.array, ROOMS[room])
    height, width = 256, 512
    mesh = Mesh.from_depth(box_depth(low, high, height), black(height))
    assert mesh.vertices.shape == (height * width + 2, 3), "each pixel once, and the two poles"
    assert len(mesh.faces) == 2 * height * width
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert body.is_watertight
    assert body.is_winding_consistent
    x, y, z = high - low
    assert -body.volume == pytest.approx(x * y * z, rel=0.005), "negative: seen from inside"
    assert body.area == pytest.approx(2 * (x * y + y * z + z * x), rel=0.015)
    centers = mesh.vertices[mesh.faces].mean(axis=1)
    to_wall = np.minimum(centers - low, high - centers).min(axis=-1)
    assert to_wall.min() > -1e-5
    assert np.mean(to_wall < 1e-5) > 0.98, "flat except where two walls meet"


def pixels_of(mesh: Mesh) -> np.ndarray:
    """The row and column of each corner of a mesh, (F, 3, 2); for poles, those of an adjacent pixel."""
    at = np.floor(mesh.uv[mesh.uv_faces] * (WIDTH, HEIGHT)).astype(int)
    return np.stack([at[..., 1].clip(0, HEIGHT - 1), at[..., 0] % WIDTH], axis=-1)


@pytest.mark.parametrize(("rooms", "index"), [("furnished", 0), ("varied", 4)])
def test_walls_are_flat_and_floors_are_level(rooms, index):
    room = SyntheticRooms("test", index + 1, HEIGHT, WIDTH, rooms=rooms).read(index)
    mesh = Mesh.from_depth(room.depth, room.rgb)
    row, column = np.moveaxis(pixels_of(mesh), -1, 0)
    points, normals, labels = mesh.vertices[mesh.faces], room.normal[row, column], room.semantic[row, column]
    on_floor = (labels == STANFORD2D3D.names.index("floor")).all(axis=1)
    heights = points[on_floor][..., 1]
    assert np.abs(heights - np.median(heights)).max() < 0.005
    is_floor = room.semantic == STANFORD2D3D.names.index("floor")
    whole = is_floor[:-1] & is_floor[1:] & np.roll(is_floor, -1, 1)[:-1] & np.roll(is_floor, -1, 1)[1:]
    assert on_floor.sum() > 2 * whole.sum(), "complete, also at grazing angles"
    on_wall = (labels == STANFORD2D3D.names.index("wall")).all(axis=1)
    on_wall &= (normals == normals[:, :1]).all(axis=(1, 2))
    assert on_wall.sum() > 1000
    across = (points[on_wall] - points[on_wall][:, :1]) * normals[on_wall]
    assert np.abs(across.sum(axis=-1)).max() < 0.005


def test_no_triangle_crosses_an_edge():
    """A board and a railing in front of a wall, and a step in the wall that is too small to count as an edge."""
    depth = np.full((HEIGHT, WIDTH), 3.0)
    board = np.zeros(depth.shape, bool)
    board[20:40, :9] = board[20:40, -7:] = True  # across the border
    board[:, 50:60:2] = True
    depth[board] = 1.5
    depth[:, 80:100] *= 0.97
    mesh = Mesh.from_depth(depth, black())
    row, column = np.moveaxis(pixels_of(mesh), -1, 0)
    on_board = board[row, column]
    assert (on_board.all(axis=1) == on_board.any(axis=1)).all()
    assert on_board[(column < 9).any(axis=1) & (column > WIDTH - 8).any(axis=1)].any(), "it continues at the border"
    stepped = (column == 79).any(axis=1) & (column == 80).any(axis=1)
    assert stepped.sum() == 2 * (HEIGHT - 1) + 2


def test_pixels_without_depth_belong_to_no_triangle():
    depth = np.full((HEIGHT, WIDTH), 2.0)
    depth[30:34, 5], depth[40, 70], depth[-1, 8] = np.nan, 0, np.inf
    mask = np.ones(depth.shape, bool)
    mask[20, 20:30] = False
    mesh = Mesh.from_depth(depth, black(), mask=mask)
    known = np.isfinite(depth) & (depth > 0) & mask
    assert len(mesh.vertices) == known.sum() + 1, "one pole: the row around the lower one is incomplete"
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(2, abs=1e-5)
    assert (mesh.vertices[:, 1] == -2).any()
    row, column = np.moveaxis(pixels_of(mesh), -1, 0)
    assert known[row, column].all()


@pytest.mark.parametrize("missing", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_three_pixels_form_a_triangle(missing):
    depth = np.ones((2, 2))
    depth[missing] = 0
    mesh = Mesh.from_depth(depth, np.zeros((2, 2, 3), np.uint8), camera=Pinhole.from_fov(60, 2, 2))
    assert np.sort(mesh.faces).tolist() == [[0, 1, 2]]


def test_texture_coordinates_in_file(tmp_path):
    """Texels of a larger image, also at the border, are in the direction in which the camera saw them."""
    low, high = map(np.array, ROOMS["living room"])
    texture, rays = black(4 * HEIGHT), erp_rays(4 * HEIGHT, 4 * WIDTH)
    texels = [(128, 256), (30, 7), (250, 100), (100, 0), (100, 511), (2, 300)]
    for number, texel in enumerate(texels, start=1):
        texture[texel] = (0, 40 * number, 255)
    Mesh.from_depth(box_depth(low, high), texture).save_glb(tmp_path / "room.glb")
    (read,) = trimesh.load(tmp_path / "room.glb", process=False).geometry.values()
    image = np.asarray(read.visual.material.baseColorTexture.convert("RGB"))
    corners = np.stack([read.visual.uv[..., 0], 1 - read.visual.uv[..., 1]], axis=-1)[read.faces]  # v down
    corners = np.concatenate([corners, corners - (1, 0)])  # the texture repeats
    places = np.concatenate([read.triangles, read.triangles]) * (1, -1, -1)  # y down
    assert np.ptp(corners[..., 0], axis=1).max() < 1.01 / WIDTH, "no triangle spans the image"
    for number, (row, column) in enumerate(texels, start=1):
        assert tuple(image[row, column]) == (0, 40 * number, 255)
        at = np.array([(column + 0.5) / (4 * WIDTH), (row + 0.5) / (4 * HEIGHT)])
        flat = np.pad(corners, ((0, 0), (0, 0), (0, 1)))
        weights = trimesh.triangles.points_to_barycentric(flat, np.tile([*at, 0], (len(flat), 1)))
        (inside,) = np.nonzero((weights > -1e-9).all(axis=1))
        place = (places[inside[0]] * weights[inside[0]][:, None]).sum(axis=0)
        assert place / np.linalg.norm(place) == pytest.approx(rays[row, column], abs=0.2 * np.pi / HEIGHT)


def test_perspective_image():
    """A tilted plane; its borders are not connected."""
    camera = Pinhole.from_fov(90, 20, 30)
    rays = camera.rays()
    depth = 2 / (rays @ (0.3, -0.2, 1))
    mesh = Mesh.from_depth(depth, np.zeros((20, 30, 3), np.uint8), camera=camera)
    assert mesh.faces.shape == (2 * 19 * 29, 3)
    assert mesh.vertices @ (0.3, -0.2, 1) == pytest.approx(2, abs=1e-5)
    body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert body.face_normals == pytest.approx(np.tile([-0.282, 0.188, -0.941], (len(mesh.faces), 1)), abs=0.01)
    with pytest.raises(ValueError, match="camera"):
        Mesh.from_depth(np.ones((30, 20)), black(), camera=camera)


@pytest.mark.parametrize("step", [2, 3])
def test_fewer_triangles(step):
    """Every n-th pixel, also if n does not divide the width."""
    low, high = map(np.array, ROOMS["living room"])
    mesh = Mesh.from_depth(box_depth(low, high), black(), step=step)
    rows, columns = len(range(0, HEIGHT, step)), len(range(0, WIDTH, step))
    assert len(mesh.faces) == 2 * rows * columns
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_watertight
    row, column = pixels_of(mesh)[rows * columns // 2, 0]
    expected = box_depth(low, high)[row, column] * erp_rays(HEIGHT, WIDTH)[row, column]
    assert mesh.vertices[mesh.faces[rows * columns // 2, 0]] == pytest.approx(expected, abs=1e-5)


def test_no_triangles_or_no_trimesh(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="triangles"):
        Mesh.from_depth(np.zeros((HEIGHT, WIDTH)), black()).save_glb(tmp_path / "room.glb")
    monkeypatch.setitem(sys.modules, "trimesh", None)
    with pytest.raises(UserError, match="pip install trimesh"):
        Mesh.from_depth(np.ones((HEIGHT, WIDTH)), black()).save_glb(tmp_path / "room.glb")
    assert not list(tmp_path.iterdir())
