"""A triangle mesh with a category for each face, and casting rays into it."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.errors import UserError
from utils.extras import import_extra

_CATEGORY_FIELDS = ("face_category", "category_id")
_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4"},
    **{"float": "<f4", "double": "<f8", "int8": "i1", "uint8": "u1", "int16": "<i2", "uint16": "<u2"},
    **{"int32": "<i4", "uint32": "<u4", "float32": "<f4", "float64": "<f8"},
}


@dataclass(frozen=True)
class MeshHits:
    """First hits of N rays.

    Attributes:
        distance: (N,) meters along the ray; 0 = no hit.
        normal: (N, 3) normal of the face, toward the origin of the ray; zero = no hit.
        face: (N,) index of the face; -1 = no hit.
    """

    distance: np.ndarray
    normal: np.ndarray
    face: np.ndarray


@dataclass(frozen=True)
class LabeledMesh:
    """V vertices (V, 3) in meters, F triangles (F, 3), and the category of each (F,)."""

    vertices: np.ndarray
    faces: np.ndarray
    category: np.ndarray


class RayCaster:
    """Casts rays into a mesh with Intel's Embree.

    Raises:
        UserError: when embreex is not installed.
    """

    def __init__(self, mesh: LabeledMesh):
        what = "casting rays into a mesh"
        self.mesh = mesh
        self._scene = import_extra("embreex.rtcore_scene", what).EmbreeScene()
        # Embree computes in single precision: coordinates must not be large.
        self._middle = mesh.vertices.mean(axis=0)
        corners = (mesh.vertices - self._middle).astype(np.float32), mesh.faces.astype(np.int32)
        self._geometry = import_extra("embreex.mesh_construction", what).TriangleMesh(self._scene, *corners)

    def cast(self, origin: np.ndarray, rays: np.ndarray) -> MeshHits:
        """First hits of unit rays (N, 3) from one point (3,)."""
        origins = np.broadcast_to((origin - self._middle).astype(np.float32), rays.shape).copy()
        face = self._scene.run(origins, rays.astype(np.float32)).astype(np.int64)
        hit = face >= 0
        a, b, c = (self.mesh.vertices[self.mesh.faces[face[hit], corner]] for corner in range(3))  # (M, 3)
        normal = np.cross(b - a, c - a)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        facing = (normal * rays[hit]).sum(axis=1)
        height = ((a - origin) * normal).sum(axis=1)  # signed distance of the plane from the origin
        hits = MeshHits(np.zeros(len(rays)), np.zeros(rays.shape), face)
        hits.distance[hit] = height / np.where(np.abs(facing) < 1e-9, np.inf, facing)
        hits.normal[hit] = -np.sign(facing)[:, None] * normal
        return hits


def parse_ply(data: bytes, path: str) -> LabeledMesh:
    """The mesh in a binary PLY file of triangles with a field ``face_category`` or ``category_id``.

    Args:
        path: path of the file, for messages.

    Raises:
        UserError: when it is another kind of file or damaged.
    """
    header, separator, body = data.partition(b"end_header\n")
    lines = header.decode("ascii", "replace").splitlines()
    if lines[:1] != ["ply"] or "format binary_little_endian 1.0" not in lines or not separator:
        raise UserError(f"{path} is not a binary PLY file (little endian)")
    elements = _elements(lines, path)
    tables, start = {}, 0
    for name, count, dtype in elements:
        end = start + count * dtype.itemsize
        if end > len(body):
            raise UserError(f"{path} is truncated")
        tables[name] = np.frombuffer(body[start:end], dtype)
        start = end
    vertices, faces = tables.get("vertex"), tables.get("face")
    if vertices is None or faces is None or "corners" not in (faces.dtype.names or ()):
        raise UserError(f"{path} contains no mesh of triangles")
    field = next((name for name in _CATEGORY_FIELDS if name in faces.dtype.names), None)
    if field is None:
        raise UserError(f"{path} has no categories: its faces need a field {' or '.join(_CATEGORY_FIELDS)}")
    if (faces["corner_count"] != 3).any():
        raise UserError(f"{path} has faces that are not triangles")
    points = np.stack([vertices[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    return LabeledMesh(points, faces["corners"].astype(np.int64), faces[field].astype(np.int64))


def _elements(lines: Sequence[str], path: str) -> list[tuple[str, int, np.dtype]]:
    """Name, count and type of the elements of a header; lists are assumed to have three items."""
    elements: list[tuple[str, int, list]] = []
    for line in lines:
        words = line.split()
        try:
            if words[:1] == ["element"]:
                elements.append((words[1], int(words[2]), []))
            elif words[:2] == ["property", "list"]:
                elements[-1][2].extend(
                    [("corner_count", _TYPES[words[2]]), ("corners", _TYPES[words[3]], (3,))],
                )
            elif words[:1] == ["property"]:
                elements[-1][2].append((words[2], _TYPES[words[1]]))
        except (IndexError, KeyError, ValueError) as error:
            raise UserError(f"{path} has a damaged PLY header: {line!r}") from error
    return [(name, count, np.dtype(fields)) for name, count, fields in elements]


def parse_category_mapping(text: str, path: str) -> dict[int, int]:
    """mpcat40 index of each category, from the published ``category_mapping.tsv``.

    Args:
        path: path of the file, for messages.

    Raises:
        UserError: when it is another file.
    """
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    if not {"index", "mpcat40index"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path} is not category_mapping.tsv as published: it has no columns index and mpcat40index")
    number = re.compile(r"\d+")
    return {
        int(row["index"]): int(row["mpcat40index"])
        for row in rows
        if number.fullmatch(row["index"] or "") and number.fullmatch(row["mpcat40index"] or "")
    }
