"""A synthetic room in the raw format of Matterport3D, and the panorama that its preparation should produce."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.classes import STANFORD2D3D
from datasets.matterport3d import MPCAT40
from datasets.preparation.matterport_raw import KINDS
from datasets.preparation.matterport_rig import SKYBOX_FACES, SKYBOX_ROTATION, nominal_rotation
from datasets.preparation.synthetic_layouts import MP3D
from datasets.rooms.casting import Camera
from datasets.rooms.layout import random_room
from datasets.rooms.perspective import Pose, cast_rays, render_perspective
from datasets.rooms.render import RenderedRoom, part_labels, render_room
from datasets.rooms.scene import Room
from datasets.rooms.shapes import Kind, Solid, SolidTable
from datasets.rooms.surfaces import locate_on_rays
from utils.pinhole import Pinhole
from utils.projection import CUBE_FACES, cube_camera, erp_to_pinhole
from utils.sphere import erp_rays, icosphere, yaw_rotation

SCAN = "17DRP5sb8fy"
CAMERA = Pinhole(fx=268.0, fy=269.0, cx=157.0, cy=130.0, height=256, width=320)
FACE_SIZE = 192
HEADING = 0.4  # degrees by which views are rotated to the left of their nominal direction
RIGHT_UP_BACK = np.diag([1.0, -1.0, -1.0])  # from our axes to those of the stored normals
TILT = 1.2  # of the tripod, degrees
_TO_OWNERS = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # y down to z up
_SHIFT = np.array([12.5, -3.0, 0.7])  # origin of the scan's world
_ARM, _STEM = 0.04, 0.03  # meters: from the rig's axis, and between its cameras
_CATEGORIES = 10 + 7 * np.arange(len(STANFORD2D3D))  # ids of the room's classes in the owners' list


@dataclass(frozen=True)
class Release:
    """The written room, and the rotation (3, 3) from the panorama to the room's world."""

    root: Path
    viewpoint: str
    room: Room
    rotation: np.ndarray

    def folder(self, kind: str) -> Path:
        return self.root / SCAN / KINDS[kind]

    def panorama(self, height: int) -> RenderedRoom:
        """The exact maps of the panorama (H = height, W = 2H), without RGB."""
        parts = self.room.all_parts()
        solids = SolidTable.of([part.solid for part in parts])
        rays = erp_rays(height, 2 * height) @ self.rotation.T
        hits = cast_rays(solids, self.room.camera, rays)
        normals = locate_on_rays(hits, solids, self.room.camera, rays.reshape(-1, 3)).normals @ self.rotation
        labels = part_labels(parts)[hits.solid]
        return RenderedRoom(np.zeros(rays.shape, np.uint8), hits.depth, normals.reshape(rays.shape), labels)


def write_release(root: Path, seed: int = 0, axes: np.ndarray = RIGHT_UP_BACK) -> Release:
    """Write a scan with a single viewpoint, unpacked."""
    room = random_room(np.random.default_rng(seed))
    tilt = np.radians(TILT)
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), np.sin(tilt)], [0, -np.sin(tilt), np.cos(tilt)]])
    release = Release(root, f"{seed:032x}", room, yaw_rotation(room.camera.yaw) @ lean)
    lines = ["dataset matterport", "n_images 18", ""]
    for camera in range(3):
        lines.append(f"intrinsics_matrix {CAMERA.fx} 0 {CAMERA.cx}  0 {CAMERA.fy} {CAMERA.cy}  0 0 1")
        lines += [_write_view(release, camera, yaw, axes) for yaw in range(6)]
    release.folder("cameras").mkdir(parents=True, exist_ok=True)
    (release.folder("cameras") / f"{SCAN}.conf").write_text("\n".join(lines) + "\n")
    _write_skybox(release)
    _write_mesh(release)
    return release


def zip_release(root: Path) -> None:
    """Pack the folders of the scan into archives like the downloaded ones."""
    for kind in KINDS.values():
        with zipfile.ZipFile(root / SCAN / f"{kind}.zip", "w") as archive:
            for path in sorted((root / SCAN / kind).iterdir()):
                archive.write(path, f"{SCAN}/{kind}/{path.name}")
        shutil.rmtree(root / SCAN / kind)


def _write_view(release: Release, camera: int, yaw: int, axes: np.ndarray) -> str:
    """Write the images of a view. Returns: its line in the camera file."""
    rotation = release.rotation @ yaw_rotation(-np.radians(HEADING)) @ nominal_rotation(camera, yaw)
    on_arm = release.rotation @ yaw_rotation(np.radians(60 * yaw - 30)) @ [0, (camera - 1) * _STEM, _ARM]
    center = _center(release.room) + on_arm
    view = render_perspective(release.room, CAMERA, _pose(rotation, center), sensor_noise=False)
    stem = f"{release.viewpoint}_d{camera}_{yaw}"
    color = f"{release.viewpoint}_i{camera}_{yaw}.jpg"
    _save(release.folder("color") / color, view.rgb, quality=95)
    _save(release.folder("depth") / f"{stem}.png", np.rint(view.depth * 4000).astype(np.uint16))
    stored = np.rint(32768 * (1 + view.normal @ axes.T)).clip(0, 65535).astype(np.uint16)
    for number, axis in enumerate("xyz"):
        _save(release.folder("normal") / f"{stem}_n{axis}.png", stored[..., number])
    matrix = np.eye(4)
    matrix[:3, :3] = _TO_OWNERS @ rotation @ np.diag([1.0, -1.0, -1.0])
    matrix[:3, 3] = _TO_OWNERS @ center + _SHIFT
    return f"scan {stem}.png {color} " + " ".join(f"{number:.9f}" for number in matrix.ravel())


def _write_skybox(release: Release) -> None:
    """Cut the faces from a panorama, so that they have the same exposure."""
    whole = render_room(release.room, 2 * FACE_SIZE, 4 * FACE_SIZE, sensor_noise=False).rgb
    leaning = yaw_rotation(release.room.camera.yaw).T @ release.rotation
    for number, name in enumerate(SKYBOX_FACES):
        face = erp_to_pinhole(whole, cube_camera(FACE_SIZE), leaning @ SKYBOX_ROTATION @ CUBE_FACES[name])
        _save(release.folder("skybox") / f"{release.viewpoint}_skybox{number}_sami.jpg", face, quality=95)


def _write_mesh(release: Release) -> None:
    parts = release.room.all_parts()
    vertices, faces, categories = [], [], []
    for part in parts:
        points, triangles = triangulated(part.solid)
        faces.append(triangles + sum(map(len, vertices)))
        vertices.append(points @ _TO_OWNERS.T + _SHIFT)
        categories += [_CATEGORIES[STANFORD2D3D.label(part.label)]] * len(triangles)
    corners = np.concatenate(faces)
    points = np.zeros(sum(map(len, vertices)), [*((axis, "<f4") for axis in "xyz"), ("red", "u1")])
    for number, axis in enumerate("xyz"):
        points[axis] = np.concatenate(vertices)[:, number]
    fields = [("count", "u1"), ("corners", "<i4", 3), ("material_id", "<i4"), ("segment_id", "<i4")]
    table = np.zeros(len(corners), [*fields, ("category_id", "<i4")])
    table["count"], table["corners"], table["category_id"] = 3, corners, categories
    header = [
        *("ply", "format binary_little_endian 1.0", "comment synthetic", f"element vertex {len(points)}"),
        *("property float x", "property float y", "property float z", "property uchar red"),
        *(f"element face {len(table)}", "property list uchar int vertex_indices", "property int material_id"),
        *("property int segment_id", "property int category_id", "end_header"),
    ]
    release.folder("mesh").mkdir(parents=True, exist_ok=True)
    path = release.folder("mesh") / f"{SCAN}.ply"
    path.write_bytes("\n".join(header).encode() + b"\n" + points.tobytes() + table.tobytes())
    rows = ["index\traw_category\tmpcat40index\tmpcat40"]
    for label, name in enumerate(STANFORD2D3D.names):
        index = int(MP3D.ids[label]) - 1
        rows.append(f"{_CATEGORIES[label]}\t{name}\t{index}\t{MPCAT40[index]}")
    (release.root / "category_mapping.tsv").write_text("\n".join(rows) + "\n")


def triangulated(solid: Solid) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3), axes of the room's world, and triangles (F, 3) of a solid; curved ones are approximated."""
    middle, half = -(solid.low + solid.high) / 2, (solid.high - solid.low) / 2
    if solid.kind == Kind.SPHERE:
        points, triangles = icosphere(4)
        return points * solid.half_x + [solid.x, middle, solid.z], triangles
    around = np.pi / 4 + np.pi / 2 * np.arange(4)
    scale = np.sqrt(2) * np.array([solid.half_x, solid.half_z])
    if solid.kind == Kind.CYLINDER:
        around, scale = 2 * np.pi / 96 * np.arange(96), np.array([solid.half_x, solid.half_z])
    num = len(around)
    ring = np.stack([np.cos(around) * scale[0], np.zeros(num), np.sin(around) * scale[1]], axis=-1)
    below = np.array([[0, half, 0]])
    points = np.concatenate([ring + below, ring - below, below, -below])
    i = np.arange(num)
    j = (i + 1) % num
    ends = [np.stack([i, j, 0 * i + 2 * num], 1), np.stack([i + num, j + num, 0 * i + 2 * num + 1], 1)]
    sides = [np.stack([i, j, i + num], 1), np.stack([j, j + num, i + num], 1)]
    return points @ yaw_rotation(solid.yaw).T + [solid.x, middle, solid.z], np.concatenate([*ends, *sides])


def _center(room: Room) -> np.ndarray:
    return np.array([room.camera.x, -room.camera.height, room.camera.z])


def _pose(rotation: np.ndarray, center: np.ndarray) -> Pose:
    """The pose with this rotation to the room's world."""
    forward = rotation[:, 2]
    camera = Camera(center[0], center[2], -center[1], float(np.arctan2(forward[0], forward[2])))
    pose = Pose(camera, pitch=float(np.arcsin(forward[1])), roll=float(np.arctan2(rotation[1, 0], rotation[1, 1])))
    assert np.allclose(pose.rotation(), rotation)
    return pose


def _save(path: Path, image: np.ndarray, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
