"""Rendered rooms against closed forms, and properties of textures and noise."""

import numpy as np
import pytest

from datasets.classes import STANFORD2D3D
from datasets.rooms import textures
from datasets.rooms.buildings import random_building
from datasets.rooms.casting import Camera
from datasets.rooms.layout import random_room
from datasets.rooms.lighting import illuminate
from datasets.rooms.noise import hash_unit, value_noise
from datasets.rooms.render import render_room
from datasets.rooms.scene import Light, Material, Part, Room
from datasets.rooms.shapes import SolidTable, box
from datasets.rooms.surfaces import Patch, Surfaces
from utils.sphere import angles_to_pixels, depth_to_points, erp_rays, yaw_rotation

GRAY = Material(textures.plain, (0.5, 0.5, 0.5))
CORNERS = ((-2.0, -2.5), (2.0, -2.5), (2.0, 2.5), (-2.0, 2.5))


def bare_room(parts=(), lights=(), camera=None, ambient=0.5) -> Room:
    return Room(
        corners=CORNERS,
        ceiling=2.6,
        floor_material=GRAY,
        ceiling_material=GRAY,
        wall_materials=(GRAY,) * 4,
        parts=tuple(parts),
        lights=tuple(lights),
        ambient=(ambient,) * 3,
        camera=camera or Camera(0.5, -0.4, 1.5),
    )


@pytest.mark.parametrize("yaw", [0.0, 0.9])
def test_points_of_an_empty_room_lie_on_its_planes(yaw):
    view = render_room(bare_room(camera=Camera(0.5, -0.4, 1.5, yaw)), 64, 128)
    to_world = yaw_rotation(yaw).T  # of row vectors
    points = depth_to_points(view.depth) @ to_world + [0.5, -1.5, -0.4]
    normals = view.normal @ to_world
    planes = [  # label, axis, position on the axis, normal
        ("floor", 1, 0.0, (0, -1, 0)),
        ("ceiling", 1, -2.6, (0, 1, 0)),
        *(("wall", 0, sign * 2.0, (-sign, 0, 0)) for sign in (-1, 1)),
        *(("wall", 2, sign * 2.5, (0, 0, -sign)) for sign in (-1, 1)),
    ]
    num_planes = np.zeros(view.depth.shape, int)
    for label, axis, position, normal in planes:
        on_plane = (np.abs(normals - normal).max(-1) < 1e-6) & (view.semantic == STANFORD2D3D.label(label))
        assert on_plane.sum() > 100
        assert np.abs(points[on_plane][:, axis] - position).max() < 1e-5
        num_planes += on_plane
    assert (num_planes == 1).all()


def test_camera_yaw_rolls_the_image():
    height, width, k = 32, 64, 11
    room = random_room(np.random.default_rng(5))
    angle = 2 * np.pi * k / width
    straight = render_room(room, height, width, sensor_noise=False)
    turned = render_room(room, height, width, camera_yaw=angle, sensor_noise=False)
    # The column at longitude `angle` moves to the center.
    shift = round(angles_to_pixels(0.0, 0.0, height, width)[1] - angles_to_pixels(angle, 0.0, height, width)[1])
    assert shift == -k
    # Due to rounding, rays that graze an edge may hit another surface; nothing else may change.
    same = np.isclose(np.roll(straight.depth, shift, 1), turned.depth, rtol=1e-5)
    assert same.mean() > 0.998
    assert np.array_equal(np.roll(straight.semantic, shift, 1)[same], turned.semantic[same])
    expected = np.roll(straight.normal, shift, 1) @ yaw_rotation(-angle).T
    assert (np.abs(expected - turned.normal).max(-1) < 1e-5).mean() > 0.998
    difference = np.abs(np.roll(straight.rgb, shift, 1).astype(int) - turned.rgb)
    assert (difference.max(-1) <= 1).mean() > 0.995
    assert (np.abs(straight.rgb.astype(int) - turned.rgb).max(-1) <= 1).mean() < 0.5, "different without the roll"


@pytest.mark.parametrize("seed", range(4))
def test_ground_truth_of_furnished_rooms(seed):
    view = render_room(random_room(np.random.default_rng(seed)), 64, 128)
    assert np.isfinite(view.depth).all()
    assert view.depth.min() > 0.05
    assert view.depth.max() < 20
    assert np.abs(np.linalg.norm(view.normal, axis=-1) - 1).max() < 1e-5
    assert ((view.normal * erp_rays(64, 128)).sum(-1) < 0).all()
    assert view.semantic.min() >= 0
    assert view.semantic.max() < len(STANFORD2D3D)
    assert (view.rgb.dtype, view.depth.dtype, view.normal.dtype) == (np.uint8, np.float32, np.float32)
    assert 40 < view.rgb.mean() < 230
    assert view.rgb.std() > 15


@pytest.mark.parametrize(("generate", "seed"), [(random_room, 0), (random_room, 1), (random_building, 3)])
def test_normals_match_depth(generate, seed):
    """Normals against cross products of differences between points."""
    view = render_room(generate(np.random.default_rng(seed)), 128, 256)
    points = depth_to_points(view.depth)
    across = (np.roll(points, -1, 1) - np.roll(points, 1, 1))[1:-1]
    down = points[2:] - points[:-2]
    normal = np.cross(down, across)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    cosine = (normal * view.normal[1:-1]).sum(-1)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert np.median(angles) < 0.5
    assert (angles < 5).mean() > 0.7


def test_objects_cast_shadows():
    block = Part(box(0.0, 1.0, 1.0, 1.0, 0.9, 1.1), "table", GRAY)
    lights = [Light(0.0, 1.0, 2.4, (2.0, 2.0, 2.0))]

    def brightness(room: Room, x: float, z: float) -> float:
        """Mean RGB of the floor at x, z."""
        view = render_room(room, 128, 256, sensor_noise=False)
        points = depth_to_points(view.depth) + np.array([room.camera.x, -room.camera.height, room.camera.z])
        distance = np.linalg.norm(points - [x, 0, z], axis=-1)
        assert distance.min() < 0.1
        return float(view.rgb[np.unravel_index(distance.argmin(), distance.shape)].mean())

    camera = Camera(0.0, -1.5, 1.0)
    lit = bare_room([block], lights, camera, ambient=0.1)
    without = bare_room([block], [], camera, ambient=0.1)
    assert brightness(lit, 0.0, 1.0) < 0.75 * brightness(lit, 0.0, -0.4)
    assert brightness(without, 0.0, 1.0) > 0.9 * brightness(without, 0.0, -0.4)


def test_light_against_plain_formulas():
    """Points on the floor and on a wall, lit by a lamp without shadows and by ambient light, which corners dim."""
    room = bare_room(lights=[Light(0.3, -0.2, 2.0, (2.0, 1.0, 0.5), shadows=False)])
    planes = [
        ((0, -1, 0), 0.0),
        ((0, 1, 0), 2.6),
        ((-1, 0, 0), 2.0),
        ((1, 0, 0), 2.0),
        ((0, 0, -1), 2.5),
        ((0, 0, 1), 2.5),
    ]
    floor, wall = np.random.default_rng(0).uniform((-2, -2.6, -2.5), (2, 0, 2.5), (2, 50, 3))
    floor[:, 1], wall[:, 0] = 0, 2
    points, normals = np.concatenate([floor, wall]), np.repeat([(0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)], 50, axis=0)
    solids = SolidTable.of([part.solid for part in room.all_parts()])
    found = illuminate(Surfaces(points, normals, points), room, solids, 32)
    for point, normal, light in zip(points, normals, found, strict=True):
        ambient = 0.5 * (0.85 - 0.15 * normal[1])
        for inward, offset in planes:
            distance = offset + np.dot(inward, point)
            ambient *= 1 - 0.55 * (1 - np.dot(inward, normal)) / 2 * np.exp(-distance / 0.35)
        ray = np.array([0.3, -2.0, -0.2]) - point
        lamp = ray @ normal / np.linalg.norm(ray) / (ray @ ray + 0.5)
        assert light == pytest.approx(ambient + lamp * np.array([2.0, 1.0, 0.5]), rel=1e-4)


def test_sensor_noise_is_small_and_reproducible():
    room = random_room(np.random.default_rng(1))
    clean = render_room(room, 32, 64, sensor_noise=False).rgb.astype(int)
    noisy = render_room(room, 32, 64).rgb.astype(int)
    assert np.array_equal(noisy, render_room(room, 32, 64).rgb)
    assert 0 < np.abs(noisy - clean).mean() < 5


TEXTURES = [
    f for name, f in vars(textures).items() if getattr(f, "__module__", "") == textures.__name__ and name[0] != "_"
]


@pytest.mark.parametrize("texture", TEXTURES, ids=lambda f: f.__name__)
def test_textures_vary(texture):
    rng = np.random.default_rng(0)
    half_s, half_t = np.full((2, 20000), [[0.8], [0.6]], np.float32)
    s, t = rng.uniform(-1, 1, (2, 20000)).astype(np.float32) * (half_s, half_t)
    patch = Patch(s, t, half_s, half_t, np.full_like(s, 0.003), np.full(len(s), 7))
    material = Material(texture, (0.5, 0.3, 0.2), (0.1, 0.1, 0.2), scale=0.15)
    colors = texture(patch, material)
    assert colors.shape == (20000, 3)
    assert np.isfinite(colors).all()
    assert colors.min() >= 0
    assert colors.max() < 2
    assert colors.std(0).max() > 0.005


def test_noise_is_uniform_and_smooth():
    i, j = np.meshgrid(np.arange(-100, 100), np.arange(-100, 100))
    values = hash_unit(i, j, 3)
    assert values.min() >= 0
    assert values.max() < 1
    counts, _ = np.histogram(values, bins=10, range=(0, 1))
    assert np.abs(counts / values.size - 0.1).max() < 0.01
    assert abs(np.corrcoef(values[:, 1:].ravel(), values[:, :-1].ravel())[0, 1]) < 0.03
    assert np.array_equal(value_noise(i.astype(float), j.astype(float), 3), values)
    x = np.linspace(-5, 5, 5001)
    assert np.abs(np.diff(value_noise(x, np.full_like(x, 0.3), 3))).max() < 1.6 * 10 / 5000
