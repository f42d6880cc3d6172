"""Textured triangle meshes from depth, and their file format."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from prediction.point_cloud import TO_GLTF, pixels_with_depth
from utils.errors import UserError
from utils.extras import import_extra
from utils.files import atomic_path
from utils.pinhole import Pinhole
from utils.sphere import angles_to_rays, pixels_to_angles
from utils.tasks import METERS

_JUMP = 0.05  # relative difference of depth between neighbors that is always bridged
_LARGEST_TEXTURE = 8192  # pixels of width, the limit of many devices
_LARGEST_PNG = 2048  # pixels of width; larger textures are JPEGs, as a PNG would be ten times as large


@dataclass(frozen=True, eq=False)
class Mesh:
    """F triangles of V vertices in the camera frame: x right, y **down**, z forward, the camera at the origin.

    Texture coordinates have separate indices, as a vertex on the border of a panorama has several.

    Attributes:
        vertices: (V, 3) float32 meters, or another `unit`.
        faces: (F, 3) indices of vertices, counterclockwise as seen from the camera.
        uv: (T, 2) float32 texture coordinates: u to the right, v **down**, (0, 0) the upper left *corner* of the
            texture, (1, 1) the lower right one; u is above 1 beyond the right border, where the texture repeats.
        uv_faces: (F, 3) indices of texture coordinates.
        texture: (h, w, 3) uint8 RGB.
        unit: of the depth, in words.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    uv_faces: np.ndarray
    texture: np.ndarray
    unit: str = METERS

    @classmethod
    def from_depth(
        cls,
        depth: np.ndarray,
        texture: np.ndarray,
        mask: np.ndarray | None = None,
        camera: Pinhole | None = None,
        unit: str = METERS,
        step: int = 1,
    ) -> "Mesh":
        """Connect neighboring pixels: two triangles between the centers of each two by two.

        A panorama is closed across its left and right border. Each pole is closed by triangles that meet in a point at
        the harmonic mean of the depths in the row of pixels around it (for a plane exact up to the cosine of half a
        pixel), if all of these are known.

        Pixels without depth belong to no triangle, and no triangle crosses an edge of the depth: two neighbors are
        connected if their inverse depths differ by at most `_JUMP` times the larger one, plus the slope on one side of
        them (the smaller of the next two differences there; 0 if one has the opposite sign). The inverse depth of a
        plane changes evenly from pixel to pixel, so floors and walls stay whole at any distance and angle of incidence,
        however much farther each row of their pixels is than the last.

        Args:
            depth: (H, W), along the ray for panoramas, along the optical axis for perspective images.
            texture: (h, w, 3) uint8 RGB, the same image at any size.
            mask: (H, W) bool, the pixels to use; None: all.
            camera: of a perspective image; None for a panorama.
            unit: of depth, in words.
            step: use only every n-th row and column, for fewer triangles.

        Raises:
            ValueError: when mask or camera have another size than `depth`.
        """
        known = pixels_with_depth(depth, mask, camera)[::step, ::step]
        rows, columns = (np.arange(0, size, step) for size in depth.shape)
        uv = np.stack(np.meshgrid((columns + 0.5) / depth.shape[1], (rows + 0.5) / depth.shape[0]), axis=-1)
        rays = (
            camera.rays()[::step, ::step]
            if camera
            else angles_to_rays(*pixels_to_angles(rows[:, None], columns, *depth.shape))
        )
        used = np.where(known, depth[::step, ::step], 0).astype(np.float64)
        inverse = np.divide(1, used, where=known, out=np.full(used.shape, np.nan))
        points = (used[..., None] * rays).reshape(-1, 3)
        index = np.arange(used.size).reshape(used.shape)
        if not camera:
            index, inverse, uv, poles = _wrapped(index, inverse, uv)
            points = np.concatenate([points, poles])
        corners = _triangles(index, inverse, wraps=not camera)
        vertices, faces = _used(points, index.reshape(-1)[corners])
        uv, uv_faces = _used(uv.reshape(-1, 2), corners)
        return cls(vertices.astype(np.float32), faces, uv.astype(np.float32), uv_faces, texture, unit)

    def save_glb(self, path: str | Path) -> None:
        """Write a binary glTF file, atomically, in glTF's axes: x right, y **up**, z backward.

        Triangles are visible only from the camera's side, so that one can look into a room from outside. Larger
        textures are reduced to a width of 8192 pixels, the limit of many devices.

        Raises:
            UserError: when trimesh is not installed, or there are no triangles, which glTF does not allow.
        """
        if not len(self.faces):
            raise UserError("no three neighboring pixels have a depth: a mesh needs triangles")
        trimesh = import_extra("trimesh", "a mesh as a GLB file")
        visual = import_extra("trimesh.visual", "a mesh as a GLB file")
        xyz = np.empty((len(self.uv), 3), dtype=np.float32)  # in files, points and texture coordinates share indices
        xyz[self.uv_faces] = self.vertices[self.faces]
        image = Image.fromarray(self.texture)
        image.thumbnail((_LARGEST_TEXTURE, _LARGEST_TEXTURE))
        image.format = "PNG" if image.width <= _LARGEST_PNG else "JPEG"
        material = visual.material.PBRMaterial(
            baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0, doubleSided=False
        )
        mesh = trimesh.Trimesh(
            xyz * TO_GLTF,
            self.uv_faces,
            visual=visual.TextureVisuals(self.uv * (1, -1) + (0, 1), material),  # trimesh's v points up
            process=False,
        )
        with atomic_path(path) as temporary:
            temporary.write_bytes(trimesh.Scene(mesh).export(file_type="glb"))


def _wrapped(
    index: np.ndarray, inverse: np.ndarray, uv: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Extend the maps (H, W, ...) of a panorama by its first column and a row for each pole, to (H + 2, W + 1, ...).

    Args:
        index: vertex of each pixel.
        inverse: inverse depth; NaN where it is missing.
        uv: texture coordinates.

    Returns:
        The three maps, and the points of the poles (2, 3), to be appended to the vertices; NaN where they are missing.
    """
    pole_inverse = inverse[[0, -1]].mean(axis=1)
    pole_index = index.size + np.arange(2)

    def extended(values: np.ndarray, at_poles: np.ndarray) -> np.ndarray:
        values = np.concatenate([values, values[:, :1]], axis=1)
        top, bottom = (np.full((1, values.shape[1]), value) for value in at_poles)
        return np.concatenate([top, values, bottom])

    u = extended(uv[..., 0], (0, 0))
    u[:, -1] += 1
    u[0] = u[-1] = u[1]
    points = np.array([[0, -1, 0], [0, 1, 0]]) / pole_inverse[:, None]
    return (
        extended(index, pole_index),
        extended(inverse, pole_inverse),
        np.stack([u, extended(uv[..., 1], (0, 1))], axis=-1),
        points,
    )


def _triangles(index: np.ndarray, inverse: np.ndarray, wraps: bool) -> np.ndarray:
    """The triangles (F, 3) between neighbors, as indices into the flattened map; see `Mesh.from_depth`.

    Each two by two pixels are divided along the diagonal with the smaller change of inverse depth.

    Args:
        index: (H, W), vertex of each pixel; triangles that have one vertex twice are omitted.
        inverse: (H, W), inverse depth; NaN where it is missing.
        wraps: whether the last column is the first one.
    """
    across, down = _connected(inverse, wraps), _connected(inverse.T, False).T
    top, bottom, left, right = across[:-1], across[1:], down[:, :-1], down[:, 1:]  # sides of each two by two pixels
    grid = np.arange(inverse.size).reshape(inverse.shape)
    a, c, b, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]  # upper left, upper right, lower ones
    values = inverse.reshape(-1)
    falling = np.abs(values[a] - values[d]) < np.abs(values[b] - values[c])  # False if one is missing
    falling |= np.isnan(values[b] + values[c])
    corners = np.concatenate(
        [
            np.stack(triangle, axis=-1)[kept]
            for triangle, kept in (
                ((a, b, d), falling & left & bottom),
                ((a, d, c), falling & right & top),
                ((a, b, c), ~falling & left & top),
                ((c, b, d), ~falling & bottom & right),
            )
        ]
    )
    p, q, r = index.reshape(-1)[corners].T
    return corners[(p != q) & (q != r) & (r != p)]


def _connected(inverse: np.ndarray, wraps: bool) -> np.ndarray:
    """Whether neighbors in the rows of inverse depth (N, M) belong to one surface, (N, M - 1)."""
    step = np.diff(inverse)
    # The two steps before and the two after each, (N, M - 1), positive if they have its sign
    padded = np.pad(np.nan_to_num(step), ((0, 0), (2, 2)), mode="wrap" if wraps else "constant")
    steps = [np.sign(step) * padded[:, shift : shift + step.shape[1]] for shift in (0, 1, 3, 4)]
    slope = np.maximum(np.minimum(*steps[:2]), np.minimum(*steps[2:])).clip(0)
    return np.abs(step) <= _JUMP * np.maximum(inverse[:, 1:], inverse[:, :-1]) + slope


def _used(values: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values (N, ...) to which faces (F, 3) refer, and the faces as indices into these."""
    is_used = np.zeros(len(values), dtype=bool)
    is_used[faces] = True
    return values[is_used], (np.cumsum(is_used) - 1)[faces]
