"""Ray casting against points marched along the rays, and against the formulas of the surfaces."""

import numpy as np
import pytest

from datasets.rooms.casting import Camera, cast
from datasets.rooms.shapes import Face, SolidTable, box, cylinder, shell, sphere
from datasets.rooms.surfaces import locate
from utils.sphere import erp_rays, yaw_rotation

H, W = 40, 80
CEILING = 3.0
SQUARE = ((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0))
L_SHAPE = ((-3.0, -2.0), (3.0, -2.0), (3.0, 0.5), (1.0, 0.5), (1.0, 2.0), (-3.0, 2.0))
STEP = 0.008  # meters between marched points


def marched_depth(camera: Camera, inside) -> np.ndarray:
    """Distance of the first marched point of each ray for which inside(points) holds; inf: no such point."""
    rays = erp_rays(H, W) @ yaw_rotation(camera.yaw).T
    depth = np.full((H, W), np.inf)
    for distance in np.arange(0, 7.5, STEP):
        points = np.array([camera.x, -camera.height, camera.z]) + distance * rays
        depth = np.where(np.isinf(depth) & inside(points), distance, depth)
    return depth


def inside_box(points, x, z, size_x, size_z, low, high, yaw):
    local = (points - np.array([x, 0, z])) @ yaw_rotation(yaw)
    flat = (np.abs(local[..., 0]) < size_x / 2) & (np.abs(local[..., 2]) < size_z / 2)
    return flat & (-points[..., 1] > low) & (-points[..., 1] < high)


def inside_cylinder(points, x, z, radius, low, high):
    distance = (points[..., 0] - x) ** 2 + (points[..., 2] - z) ** 2
    return (distance < radius**2) & (-points[..., 1] > low) & (-points[..., 1] < high)


def inside_sphere(points, x, z, height, radius):
    return np.linalg.norm(points - np.array([x, -height, z]), axis=-1) < radius


CASES = {
    "rotated box below": (box, inside_box, (1.2, 0.7, 0.9, 0.5, 0.0, 0.8, 0.6)),
    "box across the left edge": (box, inside_box, (0.1, -1.5, 0.7, 1.1, 0.3, 2.2, -1.1)),
    "beam overhead": (box, inside_box, (0.0, 0.0, 6.0, 0.3, 2.5, 3.0, 0.0)),
    "box directly below": (box, inside_box, (0.1, -0.1, 0.6, 0.8, 0.2, 0.9, 0.3)),
    "cylinder": (cylinder, inside_cylinder, (-1.0, 0.8, 0.4, 0.1, 0.9)),
    "column": (cylinder, inside_cylinder, (0.0, -1.2, 0.2, 0.0, 3.0)),
    "disk overhead": (cylinder, inside_cylinder, (0.1, 0.2, 0.5, 2.6, 2.9)),
    "ball": (sphere, inside_sphere, (-1.0, -1.0, 0.4, 0.4)),
    "ball overhead": (sphere, inside_sphere, (0.1, 0.1, 2.4, 0.3)),
    "ball across the left edge": (sphere, inside_sphere, (0.0, -1.3, 1.3, 0.5)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("camera", [Camera(0.0, 0.0, 1.5), Camera(0.25, -0.15, 1.3, 2.3)], ids=["ahead", "rotated"])
def test_hits_are_where_marched_points_enter(case, camera):
    build, inside, numbers = CASES[case]
    hits = cast(SolidTable.of([*shell(SQUARE, CEILING), build(*numbers)]), camera, H, W)
    expected = marched_depth(camera, lambda points: inside(points, *numbers))
    hit = hits.solid == 6  # after floor, ceiling and four walls
    assert hit.sum() > 20
    # Marched points may only miss corners that a ray grazes.
    assert (hit & np.isinf(expected)).sum() <= 0.02 * hit.sum() + 1
    assert not (np.isfinite(expected) & ~hit & (expected < hits.depth - STEP)).any()
    both = hit & np.isfinite(expected)
    assert np.abs(hits.depth - expected)[both].max() <= STEP * 1.01


def test_hits_are_where_marched_points_leave_an_l_shaped_room():
    camera = Camera(-1.0, 1.0, 1.4, 0.3)

    def outside(points):
        x, height, z = points[..., 0], -points[..., 1], points[..., 2]
        on_plan = (np.abs(x) < 3) & (np.abs(z) < 2) & ~((x > 1) & (z > 0.5))
        return ~on_plan | (height < 0) | (height > CEILING)

    hits = cast(SolidTable.of(shell(L_SHAPE, CEILING)), camera, H, W)
    expected = marched_depth(camera, outside)
    assert np.abs(hits.depth - expected).max() <= STEP * 1.01
    assert set(np.unique(hits.solid)) == {0, 1, 2, 3, 5, 6, 7}  # wall 4, beyond the inner corner, faces away


def test_normals_of_curved_and_flat_faces():
    camera = Camera(0.0, 0.0, 1.5, 0.7)
    solids = SolidTable.of(
        [*shell(SQUARE, CEILING), sphere(1.5, 0, 1, 0.5), cylinder(-1.5, 0, 0.4, 0, 1), box(0, 1.5, 1, 0.6, 0, 1, 0.5)]
    )
    hits = cast(solids, camera, H, W)
    surfaces = locate(hits, solids, camera)
    points, normals = surfaces.points.reshape(H, W, 3), surfaces.normals.reshape(H, W, 3)

    ball = hits.solid == 6
    assert np.abs(points[ball] - 0.5 * normals[ball] - [1.5, -1, 0]).max() < 1e-9

    tube = hits.solid == 7
    side, top = tube & (hits.face == Face.CURVED), tube & (hits.face == Face.TOP)
    assert side.any()
    assert top.any()
    assert np.abs(points[side] - 0.4 * normals[side] - [-1.5, 0, 0])[:, [0, 2]].max() < 1e-9
    assert np.array_equal(normals[top], np.broadcast_to([0, -1, 0], normals[top].shape))
    assert np.abs(points[top][:, 1] + 1).max() < 1e-9

    # On a face of a box, the distance to the center along the normal is half the size of the box.
    block = hits.solid == 8
    ahead = yaw_rotation(0.5) @ np.array([0, 0, 1.0])
    for axis, half in ((ahead, 0.3), (-ahead, 0.3), (np.cross([0, 1.0, 0], ahead), 0.5), ([0, -1, 0], 0.5)):
        on_face = block & (normals @ np.array(axis) > 1 - 1e-9)
        distance = (points[on_face] - [0, -0.5, 1.5]) @ np.array(axis)
        assert on_face.any() == bool(np.dot([0, -1.5, 0] - np.array([0, -0.5, 1.5]), axis) > half)
        assert np.abs(distance - half).max(initial=0) < 1e-9
    toward = (points - [0, -1.5, 0]) / hits.depth[..., None]
    assert ((normals * toward).sum(-1) < 0).all()


def test_nearest_solid_is_hit_in_any_order():
    near, far = box(0, 1.0, 0.5, 0.5, 0, 2), box(0, 2.0, 0.5, 0.5, 0, 2)
    camera = Camera(0.0, 0.0, 1.0)
    one = cast(SolidTable.of([*shell(SQUARE, CEILING), near, far]), camera, H, W)
    other = cast(SolidTable.of([*shell(SQUARE, CEILING), far, near]), camera, H, W)
    assert np.array_equal(one.depth, other.depth)
    assert one.solid[H // 2, W // 2] == 6
    assert other.solid[H // 2, W // 2] == 7


def test_solids_around_the_camera_are_invisible():
    solids = SolidTable.of([*shell(SQUARE, CEILING), box(0, 0, 1, 1, 0.5, 2.5, 0.4), cylinder(0, 0, 1, 1, 2)])
    assert solids.contains(0.0, 0.0, 1.5)[-2:].all()
    assert not solids.contains(0.0, 0.0, 2.6).any()
    assert cast(solids, Camera(0.0, 0.0, 1.5), H, W).solid.max() < 6
