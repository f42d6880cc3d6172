"""The maps of a panorama of Matterport3D, made from the owners' views, skybox and labelled mesh."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from datasets.matterport3d import MPCAT40
from datasets.panorama import resize_rgb
from datasets.preparation.axes import ALL_AXES, axes_in_words
from datasets.preparation.labelled_mesh import MeshHits, RayCaster
from datasets.preparation.matterport_raw import DEPTH_UNITS, VIEWS_OF_VIEWPOINT, RawScan, RawView
from datasets.preparation.matterport_rig import (
    LEVEL,
    SKYBOX_FACES,
    Heading,
    measure_heading,
    panorama_pose,
    skybox_to_erp,
    turned,
)
from datasets.preparation.pinhole_normals import NEAR_ANGLE, add_measurements, implied_normals, measure_axes
from datasets.preparation.stitching import PlacedView, stitch
from utils.errors import UserError
from utils.sphere import erp_rays

MAX_PITCH = 0.5  # degrees between views and skybox, of a viewpoint whose cameras are read rightly
MAX_YAW = 3.0  # degrees by which the poses are corrected; more: the pictures do not tell
_MIN_NEAR = 0.5  # fraction of the normals that agree with depth under the right axes
_UNLABELED = len(MPCAT40)  # mpcat40 index
_NORMAL_CODES = 32768  # n = v / 32768 - 1


@dataclass
class Measured:
    """What was found out about a viewpoint, and what was lacking.

    Attributes:
        heading: of the views relative to the skybox; None: not verified.
        disagreement: see `datasets.preparation.stitching.StitchedMaps`; NaN without views.
        axes: along which the owners' normals are stored, in words; empty without normals.
        lacking: single views that are missing or damaged, and other remarks: the panorama was made without them.
    """

    heading: Heading | None = None
    disagreement: float = float("nan")
    axes: str = ""
    lacking: list[str] = field(default_factory=list)


class PanoramaMaker:
    """Makes the maps of one viewpoint as they are stored.

    Args:
        scan: of the viewpoint.
        viewpoint: its name.
        height: H of the panorama, W = 2H.

    Attributes:
        measured: grows with each map.

    Raises:
        UserError: when the viewpoint has no camera poses.
    """

    def __init__(self, scan: RawScan, viewpoint: str, height: int):
        self.scan, self.viewpoint, self.height = scan, viewpoint, height
        self.views = scan.cameras.get(viewpoint, [])
        if not self.views:
            raise UserError(f"{scan.name}/{viewpoint}: no camera poses")
        self.rotation, self.center = panorama_pose(self.views)
        self.measured = Measured()
        if len(self.views) < VIEWS_OF_VIEWPOINT:
            self.measured.lacking.append(f"poses of {VIEWS_OF_VIEWPOINT - len(self.views)} views are missing")

    def rgb(self) -> np.ndarray:
        """(H, W, 3) uint8 of the skybox, averaged by area. From then on the maps have the skybox's heading.

        Raises:
            UserError: when a face is missing or damaged.
        """
        names = [f"{self.viewpoint}_skybox{number}_sami.jpg" for number in range(len(SKYBOX_FACES))]
        faces = [self.scan.image("skybox", name).rgb() for name in names]
        # A pixel in the middle of a face covers 2 / S radians, one of the panorama pi / H.
        oversampling = max(1, round(np.pi * len(faces[0]) / (2 * self.height)))
        skybox = skybox_to_erp(faces, oversampling * self.height)
        self._verify_heading(skybox)
        return resize_rgb(skybox, self.height, 2 * self.height)

    def stitched(self, with_normals: bool) -> dict[str, np.ndarray]:
        """ "depth" (H, W) uint16, and "normal" (H, W, 3) uint8 if wanted, of the owners' views.

        Raises:
            UserError: when no view can be used, or the axes of the normals cannot be determined.
        """
        views = [placed for view in self.views if (placed := self._read_view(view, with_normals))]
        if not views:
            raise UserError(f"{self.scan.path('depth', self.viewpoint)}: none of the views can be used")
        if with_normals:
            views = self._along_our_axes(views)
        maps = stitch(views, self.height)
        self.measured.disagreement = maps.disagreement
        stored = {"depth": encode_depth(maps.depth)}
        return stored | ({"normal": encode_normals(maps.normal)} if with_normals else {})

    def cast(self, caster: RayCaster) -> MeshHits:
        """What the rays of all H * W pixels meet in the mesh; normals are in the panorama's axes."""
        rays = erp_rays(self.height, 2 * self.height).reshape(-1, 3)
        hits = caster.cast(self.center, rays @ self.rotation.T)
        return MeshHits(hits.distance, hits.normal @ self.rotation, hits.face)

    def depth_and_normals(self, hits: MeshHits) -> dict[str, np.ndarray]:
        """ "depth" (H, W) uint16 and "normal" (H, W, 3) uint8 of the mesh."""
        shape = self.height, 2 * self.height
        return {
            "depth": encode_depth(hits.distance.reshape(shape)),
            "normal": encode_normals(hits.normal.reshape(*shape, 3)),
        }

    def labels(self, hits: MeshHits, category: np.ndarray, mpcat40_of: dict[int, int]) -> np.ndarray:
        """Stored ids (H, W) uint8: mpcat40 index + 1, 0 where there is no mesh.

        Args:
            category: (F,) of each face of the mesh.
            mpcat40_of: mpcat40 index of categories; others are unlabeled.
        """
        categories, inverse = np.unique(category, return_inverse=True)
        of_category = np.array([mpcat40_of.get(int(one), _UNLABELED) + 1 for one in categories], np.uint8)
        ids = np.where(hits.face >= 0, of_category[inverse[hits.face]], 0)
        return ids.astype(np.uint8).reshape(self.height, 2 * self.height)

    def _verify_heading(self, skybox: np.ndarray) -> None:
        pictures = []
        for view in self.views:
            if view.camera == LEVEL and view.color_name in self.scan.names("color"):
                pictures.append((view, self.scan.image("color", view.color_name).rgb()))
        heading = measure_heading(skybox, pictures, self.rotation)
        if heading is None or abs(heading.yaw) > MAX_YAW:
            self.measured.lacking.append("heading not verified: too few color images match the skybox")
            return
        self.measured.heading = heading
        self.rotation = turned(self.rotation, heading)
        if abs(heading.pitch) > MAX_PITCH:
            self.measured.lacking.append(f"views lie {heading.pitch:+.1f} degrees above the skybox")

    def _read_view(self, view: RawView, with_normals: bool) -> PlacedView | None:
        """A view in the panorama; None, with a remark, when its depth cannot be used."""
        try:
            units = self.scan.image("depth", view.depth_name).single_channel("depth", bits=16)
        except UserError as error:
            self.measured.lacking.append(f"a view left out: {error}")
            return None
        return PlacedView(
            view.sized(*units.shape),
            self.rotation.T @ view.rotation,
            self.rotation.T @ (view.center - self.center),
            units / DEPTH_UNITS,
            self._read_normals(view, units.shape) if with_normals else None,
        )

    def _read_normals(self, view: RawView, shape: tuple[int, int]) -> np.ndarray | None:
        """Unit vectors (h, w, 3) along the owners' axes, zero = missing; None, with a remark, if there are none."""
        names = view.normal_names()
        try:
            codes = [self.scan.image("normal", name).single_channel("normals", bits=16) for name in names]
        except UserError as error:
            self.measured.lacking.append(f"normals of a view left out: {error}")
            return None
        if any(code.shape != shape for code in codes):
            path = self.scan.path("normal", names[0])
            self.measured.lacking.append(f"normals of a view left out: {path} has another size than its depth")
            return None
        normal = np.stack(codes, axis=-1).astype(np.float32) / _NORMAL_CODES - 1
        length = np.sqrt((normal**2).sum(axis=-1, keepdims=True))
        return np.where((length > 0.5) & (length < 1.5), normal / np.maximum(length, 0.5), 0)

    def _along_our_axes(self, views: Sequence[PlacedView]) -> list[PlacedView]:
        """The views with normals along the axes of their camera, as depth tells."""
        with_normals = [view for view in views if view.normal is not None]
        if not with_normals:
            raise UserError(f"{self.scan.path('normal', self.viewpoint)}: none of the views has normals")
        total = add_measurements(
            [measure_axes(view.normal, implied_normals(view.depth, view.camera)) for view in with_normals]
        )
        best = int(total.near.argmax())
        if total.near[best] < max(1, _MIN_NEAR * total.pixels):
            raise UserError(
                f"{self.scan.path('normal', self.viewpoint)}: along no axes do half of the normals agree with depth "
                f"within {NEAR_ANGLE} degrees"
            )
        self.measured.axes = axes_in_words(ALL_AXES[best])
        axes = ALL_AXES[best].astype(np.float32)
        return [view if view.normal is None else replace(view, normal=view.normal @ axes.T) for view in views]


def encode_depth(meters: np.ndarray) -> np.ndarray:
    """Stored depth (H, W) uint16: 1/4000 m, 0 where it is missing or too large."""
    units = np.rint(meters * DEPTH_UNITS)
    return np.where(units <= np.iinfo(np.uint16).max, units, 0).astype(np.uint16)


def encode_normals(normal: np.ndarray) -> np.ndarray:
    """Stored normals (H, W, 3) uint8: n = 2 v / 255 - 1, black where they are missing."""
    codes = np.rint(127.5 * normal + 127.5).clip(0, 255).astype(np.uint8)
    codes[~normal.any(axis=-1)] = 0
    return codes
