"""The first solid hit by each ray of an ERP image, in closed form.

All solids except spheres are upright prisms, and in an ERP image each column is a heading and each row a slope. So
where a ray is over a prism's *footprint* depends only on its column, and where it is between the heights of bottom and
top only on its row; both are measured by the **run**, the distance covered on the floor plan. Only the intersection of
both intervals is computed per pixel, in the rectangle of pixels where both exist.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from datasets.rooms.shapes import Face, Kind, SolidTable
from utils.sphere import pixels_to_angles

TINY = 1e-12  # avoids division by zero for rays parallel to a face
CORNER = 1e-9  # meters by which walls extend beyond corners, to avoid gaps


@dataclass(frozen=True)
class Camera:
    """A point of view in the world: position in meters (height above the floor) and heading in radians."""

    x: float
    z: float
    height: float
    yaw: float = 0.0


@dataclass(frozen=True)
class RayHits:
    """Hits of the rays of an H x W ERP image, (H, W) arrays."""

    depth: np.ndarray  # float64, meters along the ray
    solid: np.ndarray  # int, index of the solid in the table
    face: np.ndarray  # int, a `Face`


@dataclass(frozen=True)
class _Spans:
    """Runs between which rays are within the solids' footprints (P, W) and heights (P, H); enter = inf: never."""

    column_enter: np.ndarray
    column_leave: np.ndarray
    column_face: np.ndarray
    row_enter: np.ndarray
    row_leave: np.ndarray


def cast(solids: SolidTable, camera: Camera, height: int, width: int) -> RayHits:
    """Cast all rays of an ERP image from `camera`, which must be inside the shell.

    Solids that contain the camera are invisible.
    """
    u, v = pixels_to_angles(np.arange(height), np.arange(width), height, width)
    spans = _spans(solids, camera, u + camera.yaw, v)
    run, solid = _cast_shell(solids, spans)
    hidden = solids.contains(camera.x, camera.z, camera.height)
    is_sphere = solids.kind == Kind.SPHERE
    for i, windows in _windows(solids, spans, hidden):
        for rows, columns in windows:
            if is_sphere[i]:
                enter, hit = _cross_sphere(solids, i, camera, u[columns] + camera.yaw, v[rows])
            else:
                enter = np.maximum(spans.column_enter[i, columns], spans.row_enter[i, rows, None])
                hit = enter < np.minimum(spans.column_leave[i, columns], spans.row_leave[i, rows, None])
            hit &= enter < run[rows, columns]
            np.copyto(run[rows, columns], enter, where=hit)
            np.copyto(solid[rows, columns], i, where=hit)
    return RayHits(run / np.cos(v)[:, None], solid, _faces(solids, spans, solid))


def _spans(solids: SolidTable, camera: Camera, u: np.ndarray, v: np.ndarray) -> _Spans:
    """Spans of all solids for columns of world longitudes u (W,) and rows of latitudes v (H,)."""
    # The camera and the headings in the local axes of each solid: (P, 1) and (P, W).
    camera_x, camera_z = (p[:, None] for p in solids.to_local(np.arange(len(solids.x)), camera.x, camera.z))
    heading_x, heading_z = np.sin(u - solids.yaw[:, None]), np.cos(u - solids.yaw[:, None])
    enter, leave, face = _cross_boxes(solids, camera_x, camera_z, heading_x, heading_z)
    round_ = (solids.kind == Kind.CYLINDER) | (solids.kind == Kind.SPHERE)
    circles = solids.half_x[round_], *(a[round_] for a in (camera_x, camera_z, heading_x, heading_z))
    enter[round_], leave[round_] = _cross_circles(*circles)
    face[round_] = Face.CURVED
    enter[(leave <= 0) | (enter >= leave)] = np.inf
    walls = solids.kind == Kind.WALL
    enter[walls] = _cross_walls(solids.half_x[walls], *(a[walls] for a in (camera_x, camera_z, heading_x, heading_z)))

    # y grows downward: the top of a solid has the smaller y.
    slope = np.tan(v)
    slope = np.where(np.abs(slope) < TINY, TINY, slope)
    at_top = (camera.height - solids.high)[:, None] / slope
    at_bottom = (camera.height - solids.low)[:, None] / slope
    row_enter, row_leave = np.minimum(at_top, at_bottom), np.maximum(at_top, at_bottom)
    row_enter[row_leave <= 0] = np.inf
    return _Spans(enter, leave, face, row_enter, row_leave)


def _cross_boxes(
    solids: SolidTable, camera_x, camera_z, heading_x, heading_z
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs (P, W) at which headings enter and leave rectangular footprints, and the face through which they enter."""
    heading_x = np.where(np.abs(heading_x) < TINY, TINY, heading_x)
    heading_z = np.where(np.abs(heading_z) < TINY, TINY, heading_z)
    reach_x = solids.half_x[:, None] / np.abs(heading_x)
    reach_z = solids.half_z[:, None] / np.abs(heading_z)
    middle_x, middle_z = -camera_x / heading_x, -camera_z / heading_z
    enter_x, enter_z = middle_x - reach_x, middle_z - reach_z
    face_x = np.where(heading_x < 0, np.int8(Face.RIGHT), np.int8(Face.LEFT))
    face_z = np.where(heading_z < 0, np.int8(Face.FRONT), np.int8(Face.BACK))
    face = np.where(enter_x > enter_z, face_x, face_z)
    return np.maximum(enter_x, enter_z), np.minimum(middle_x + reach_x, middle_z + reach_z), face


def _cross_circles(radius, camera_x, camera_z, heading_x, heading_z) -> tuple[np.ndarray, np.ndarray]:
    """Runs at which headings enter and leave circular footprints; enter = inf if they miss."""
    nearest = -(camera_x * heading_x + camera_z * heading_z)
    aside = camera_x * heading_z - camera_z * heading_x
    squared = radius[:, None] ** 2 - aside**2
    half_chord = np.sqrt(np.maximum(squared, 0))
    return np.where(squared > 0, nearest - half_chord, np.inf), nearest + half_chord


def _cross_walls(half_length, camera_x, camera_z, heading_x, heading_z) -> np.ndarray:
    """Runs at which headings hit the fronts of walls; inf if they miss."""
    run = -camera_z / np.minimum(heading_z, -TINY)
    hit = (heading_z < 0) & (camera_z > 0) & (np.abs(camera_x + run * heading_x) <= half_length[:, None] + CORNER)
    return np.where(hit, run, np.inf)


def _cast_shell(solids: SolidTable, spans: _Spans) -> tuple[np.ndarray, np.ndarray]:
    """Run and index of the first surface of the shell on each ray, (H, W) each."""
    walls = np.flatnonzero(solids.kind == Kind.WALL)
    levels = np.flatnonzero((solids.kind == Kind.FLOOR) | (solids.kind == Kind.CEILING))
    wall, wall_run = walls[spans.column_enter[walls].argmin(0)], spans.column_enter[walls].min(0)
    level, level_run = levels[spans.row_enter[levels].argmin(0)], spans.row_enter[levels].min(0)
    run = np.minimum(wall_run[None, :], level_run[:, None])
    return run, np.where(wall_run[None, :] < level_run[:, None], wall[None, :], level[:, None])


def _cross_sphere(
    solids: SolidTable, i: int, camera: Camera, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Runs at which rays enter sphere i, and whether they do, (rows, columns) each."""
    x, z = solids.x[i] - camera.x, solids.z[i] - camera.z
    y = camera.height - (solids.low[i] + solids.high[i]) / 2
    nearest = np.cos(v)[:, None] * (x * np.sin(u) + z * np.cos(u)) + (y * np.sin(v))[:, None]
    squared = nearest**2 - (x * x + y * y + z * z - solids.half_x[i] ** 2)
    enter = nearest - np.sqrt(np.maximum(squared, 0))
    return enter * np.cos(v)[:, None], (squared > 0) & (enter > 0)


def _windows(solids: SolidTable, spans: _Spans, hidden: np.ndarray) -> Iterator[tuple[int, list[tuple[slice, slice]]]]:
    """Index i, and the rows and columns of the pixels whose rays can hit solid i, for all but shell and hidden solids.

    Solids are convex, so these pixels are one rectangle, or two if it crosses the left edge of the image.
    """
    seen_columns = np.isfinite(spans.column_enter)
    nearest = np.where(seen_columns, spans.column_enter, np.inf).min(1, keepdims=True)
    farthest = np.where(seen_columns, spans.column_leave, -np.inf).max(1, keepdims=True)
    seen_rows = (spans.row_enter < farthest) & (spans.row_leave > nearest)
    seen = seen_columns.any(1) & seen_rows.any(1) & (solids.kind <= Kind.SPHERE) & ~hidden
    height, width = seen_rows.shape[1], seen_columns.shape[1]
    first_row = seen_rows.argmax(1)
    last_row = height - seen_rows[:, ::-1].argmax(1)
    column_count = seen_columns.sum(1)
    begins = seen_columns & ~np.roll(seen_columns, 1, axis=1)
    first_column = begins.argmax(1)  # 0 for a solid that covers all columns
    for i in np.flatnonzero(seen):
        rows = slice(first_row[i], last_row[i])
        start, stop = first_column[i], first_column[i] + column_count[i]
        columns = [slice(start, stop)] if stop <= width else [slice(start, width), slice(0, stop - width)]
        yield i, [(rows, c) for c in columns]


def _faces(solids: SolidTable, spans: _Spans, solid: np.ndarray) -> np.ndarray:
    """The face of each hit, (H, W). A prism is hit on its side if the ray enters its footprint after its heights."""
    height, width = solid.shape
    rows, columns = np.ogrid[:height, :width]
    sideways = spans.column_enter[solid, columns] >= spans.row_enter[solid, rows]
    level = np.where(rows < height / 2, Face.BOTTOM, Face.TOP)  # rays of the upper half rise
    face = np.where(sideways, spans.column_face[solid, columns], level)
    kind = solids.kind[solid]
    face[kind == Kind.WALL] = Face.FRONT
    face[kind == Kind.FLOOR] = Face.TOP
    face[kind == Kind.CEILING] = Face.BOTTOM
    face[kind == Kind.SPHERE] = Face.CURVED
    return face
