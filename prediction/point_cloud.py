"""Point clouds and their file formats."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from utils.errors import UserError
from utils.extras import import_extra
from utils.files import atomic_path
from utils.pinhole import Pinhole
from utils.sphere import erp_ray_rows
from utils.tasks import METERS

TO_GLTF = np.array([1, -1, -1], dtype=np.float32)  # 180 degrees about x
PLY_AXES = {  # axis that points up -> rotation from the camera frame, and axes in words
    "-y": (np.eye(3, dtype=np.float32), "x right, y down, z forward"),
    "y": (np.diag(TO_GLTF), "x right, y up, z backward"),
    "z": (np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float32), "x right, y forward, z up"),
}
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}
_CHUNK = 1 << 20  # points at a time, as large panoramas take gigabytes


@dataclass(frozen=True, eq=False)
class PointCloud:
    """N points in the camera frame: x right, y **down**, z forward, the camera at the origin.

    Attributes:
        xyz: (N, 3) float32 meters, or another `unit`.
        colors: (N, 3) uint8 RGB, or None.
        normals: (N, 3) float32 unit vectors that point to the camera, or None.
        labels: (N,) uint8 classes, or None.
        unit: of the depth, in words.
    """

    xyz: np.ndarray
    colors: np.ndarray | None = None
    normals: np.ndarray | None = None
    labels: np.ndarray | None = None
    unit: str = METERS

    @classmethod
    def from_depth(
        cls,
        depth: np.ndarray,
        colors: np.ndarray | None = None,
        normals: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        camera: Pinhole | None = None,
        unit: str = METERS,
    ) -> "PointCloud":
        """One point per pixel that has a depth (finite, above 0), predicted or ground truth.

        Args:
            depth: (H, W), along the ray for panoramas, along the optical axis for perspective images.
            colors: (H, W, 3) uint8 RGB.
            normals: (H, W, 3) unit vectors in the camera frame, toward the camera.
            labels: (H, W) uint8 classes.
            mask: (H, W) bool, the pixels to use; None: all.
            camera: of a perspective image; None for a panorama.
            unit: of depth, in words.

        Raises:
            ValueError: when a map or the camera has another size than `depth`.
        """
        maps = {"colors": colors, "normals": normals, "labels": labels}
        has_depth = pixels_with_depth(depth, mask, camera, **maps)
        return cls(
            xyz=camera.points(np.where(has_depth, depth, 0))[has_depth].astype(np.float32)
            if camera
            else _panorama_points(depth, has_depth),
            colors=None if colors is None else colors[has_depth],
            normals=None if normals is None else normals[has_depth],
            labels=None if labels is None else labels[has_depth],
            unit=unit,
        )

    def save_ply(self, path: str | Path, up: Literal["-y", "y", "z"] = "-y") -> None:
        """Write a binary PLY file, atomically, with labels as property ``label``.

        Args:
            path: of the file.
            up: the axis that points up in the file: "-y" for the axes of `xyz`; "y" (x right, z backward) or "z" (x
                right, y forward) for viewers. All are rotations of each other.
        """
        rotation, axes = PLY_AXES[up]
        columns = {"x y z": ("<f4", self.xyz, rotation)}
        if self.normals is not None:
            columns["nx ny nz"] = ("<f4", self.normals, rotation)
        if self.colors is not None:
            columns["red green blue"] = ("u1", self.colors, None)
        if self.labels is not None:
            columns["label"] = ("u1", self.labels[:, None], None)
        layout = [(name, kind) for names, (kind, *_) in columns.items() for name in names.split()]
        header = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment {axes}, camera at the origin; made of depth in {self.unit}",
            f"element vertex {len(self.xyz)}",
            *(f"property {_PLY_TYPES[kind]} {name}" for name, kind in layout),
            "end_header",
        ]
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write("".join(f"{line}\n" for line in header).encode("ascii"))
            for start in range(0, len(self.xyz), _CHUNK):
                chunk = slice(start, start + _CHUNK)
                vertices = np.empty(len(self.xyz[chunk]), dtype=layout)
                for names, (_, values, rotation) in columns.items():
                    rotated = values[chunk] if rotation is None else values[chunk] @ rotation.T
                    for name, column in zip(names.split(), rotated.T, strict=True):
                        vertices[name] = column
                file.write(vertices.tobytes())

    def save_glb(self, path: str | Path) -> None:
        """Write a binary glTF file of the colored points, atomically, in glTF's axes: x right, y **up**, z backward.

        Raises:
            UserError: when trimesh is not installed, or there are no points, which glTF does not allow.
        """
        if not len(self.xyz):
            raise UserError("no pixel has a depth: a GLB file needs points")
        trimesh = import_extra("trimesh", "a GLB file")
        scene = trimesh.Scene(trimesh.PointCloud(self.xyz * TO_GLTF, colors=self.colors))
        with atomic_path(path) as temporary:
            temporary.write_bytes(scene.export(file_type="glb"))


def pixels_with_depth(
    depth: np.ndarray, mask: np.ndarray | None, camera: Pinhole | None, **maps: np.ndarray | None
) -> np.ndarray:
    """Which pixels have a depth (finite, above 0) and are in the mask, (H, W) bool.

    Raises:
        ValueError: when mask, camera or one of the other maps have another size than `depth`.
    """
    sizes = {name: values.shape[:2] for name, values in {**maps, "mask": mask}.items() if values is not None}
    if camera:
        sizes["camera"] = (camera.height, camera.width)
    for name, size in sizes.items():
        if size != depth.shape:
            raise ValueError(f"{name} has size {size}, but depth {depth.shape}")
    has_depth = np.isfinite(depth) & (depth > 0)
    return has_depth if mask is None else has_depth & mask.astype(bool)


def _panorama_points(depth: np.ndarray, has_depth: np.ndarray) -> np.ndarray:
    """The points (N, 3) float32 of the pixels of a panorama that have a depth; both maps are (H, W)."""
    height, width = depth.shape
    points = np.empty((np.count_nonzero(has_depth), 3), np.float32)
    start = 0
    for rows in np.array_split(np.arange(height), -(-depth.size // _CHUNK)):
        used = has_depth[rows]
        chunk = erp_ray_rows(rows, height, width)[used] * depth[rows][used][:, None]
        points[start : start + len(chunk)] = chunk
        start += len(chunk)
    return points
