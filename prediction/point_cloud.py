"""Point clouds and their file formats."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.files import atomic_path
from utils.tasks import METERS

_TO_GLTF = np.array([1, -1, -1], dtype=np.float32)  # 180 degrees about x
_PLY_TYPES = {"<f4": "float", "u1": "uchar"}


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

    def save_ply(self, path: str | Path) -> None:
        """Write a binary PLY file, atomically: with axes and unit as here, and labels as property ``label``."""
        columns = {"x y z": ("<f4", self.xyz)}
        if self.normals is not None:
            columns["nx ny nz"] = ("<f4", self.normals)
        if self.colors is not None:
            columns["red green blue"] = ("u1", self.colors)
        if self.labels is not None:
            columns["label"] = ("u1", self.labels[:, None])
        layout = [(name, kind) for names, (kind, _) in columns.items() for name in names.split()]
        vertices = np.empty(len(self.xyz), dtype=layout)
        for names, (_, values) in columns.items():
            for name, column in zip(names.split(), values.T, strict=True):
                vertices[name] = column
        header = [
            "ply",
            "format binary_little_endian 1.0",
            f"comment x right, y down, z forward, camera at the origin; made of depth in {self.unit}",
            f"element vertex {len(vertices)}",
            *(f"property {_PLY_TYPES[kind]} {name}" for name, kind in layout),
            "end_header",
        ]
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write("".join(f"{line}\n" for line in header).encode("ascii"))
            file.write(vertices.tobytes())

    def save_glb(self, path: str | Path) -> None:
        """Write a binary glTF file of the colored points, atomically, in glTF's axes: x right, y **up**, z backward.

        Raises:
            UserError: when trimesh is not installed, or there are no points, which glTF does not allow.
        """
        if not len(self.xyz):
            raise UserError("no pixel has a depth: a GLB file needs points")
        try:
            import trimesh
        except ImportError as error:
            raise UserError("GLB files need trimesh: pip install trimesh") from error
        scene = trimesh.Scene(trimesh.PointCloud(self.xyz * _TO_GLTF, colors=self.colors))
        with atomic_path(path) as temporary:
            temporary.write_bytes(scene.export(file_type="glb"))
