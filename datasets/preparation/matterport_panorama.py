"""Makes the maps of a Matterport3D panorama from the published views, skybox and labeled mesh."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from datasets.matterport3d import MPCAT40
from datasets.panorama import resize_rgb
from datasets.preparation.axes import ALL_AXES, axes_in_words
from datasets.preparation.labeled_mesh import MeshHits, RayCaster
from datasets.preparation.matterport_raw import DEPTH_UNITS, VIEWS_OF_VIEWPOINT, RawScan, RawView
from datasets.preparation.matterport_rig import (
    LEVEL,
    SKYBOX_FACES,
    Heading,
    correct_heading,
    measure_heading,
    panorama_pose,
    skybox_to_erp,
)
from datasets.preparation.normal_codes import decode_normals, encode_normals
from datasets.preparation.pinhole_normals import (
    NEAR_ANGLE,
    AxesMeasurement,
    add_measurements,
    implied_normals,
    measure_axes,
)
from datasets.preparation.stitching import PlacedView, stitch
from utils.errors import UserError
from utils.sphere import erp_rays

MAX_PITCH = 0.5  # degrees between views and skybox; more: the camera file is misread
_MIN_NEAR = 0.5  # fraction of the normals that agree with depth under the right axes
_UNLABELED = len(MPCAT40)  # mpcat40 index
_MIDDLE_CODE = 32768  # published normals are n = v / 32768 - 1


@dataclass
class ViewpointMeasurement:
    """Measurements of a viewpoint.

    Attributes:
        heading: heading of the views relative to the skybox; None: not verified.
        disagreement: see `datasets.preparation.stitching.StitchedMaps`; NaN without views.
        axes: axes of the published normals, in words; empty without normals.
        lacking: warnings, for example on missing or damaged views without which the panorama was made.
    """

    heading: Heading | None = None
    disagreement: float = float("nan")
    axes: str = ""
    lacking: list[str] = field(default_factory=list)


class PanoramaMaker:
    """Makes the stored maps of one viewpoint.

    Args:
        scan: scan of the viewpoint.
        viewpoint: name.
        height: H of the panorama, W = 2H.

    Attributes:
        measured: filled in while maps are made.

    Raises:
        UserError: when the viewpoint has no camera poses.
    """

    def __init__(self, scan: RawScan, viewpoint: str, height: int):
        self.scan, self.viewpoint, self.height = scan, viewpoint, height
        self.views = scan.cameras.get(viewpoint, [])
        if not self.views:
            raise UserError(f"{scan.name}/{viewpoint}: no camera poses")
        self.rotation, self.center = panorama_pose(self.views)
        self.measured = ViewpointMeasurement()
        if len(self.views) < VIEWS_OF_VIEWPOINT:
            self.measured.lacking.append(f"poses of {VIEWS_OF_VIEWPOINT - len(self.views)} views are missing")

    def rgb(self) -> np.ndarray:
        """RGB (H, W, 3) uint8 of the skybox, averaged by area. Must be called first: it corrects the panorama's pose.

        Raises:
            UserError: when a face is missing or damaged.
        """
        names = [f"{self.viewpoint}_skybox{number}_sami.jpg" for number in range(len(SKYBOX_FACES))]
        faces = [self.scan.image("skybox", name).rgb() for name in names]
        # A pixel at the center of a face covers 2 / S radians, one of the panorama pi / H.
        oversampling = max(1, round(np.pi * len(faces[0]) / (2 * self.height)))
        skybox = skybox_to_erp(faces, oversampling * self.height)
        self._verify_heading(skybox)
        return resize_rgb(skybox, self.height, 2 * self.height)

    def stitched(self, with_normals: bool) -> dict[str, np.ndarray]:
        """Maps from the published views: "depth" (H, W) uint16 and, optionally, "normal" (H, W, 3) uint8.

        Raises:
            UserError: when no view can be used, or the axes of the normals cannot be determined.
        """
        views = [placed for view in self.views if (placed := self._read_view(view, with_normals))]
        if not views:
            raise UserError(f"{self.scan.path('depth', self.viewpoint)}: no view can be used")
        axes = self._find_axes(views) if with_normals else np.eye(3)
        maps = stitch(views, self.height, lambda codes: decode_normals(codes, _MIDDLE_CODE) @ axes.T)
        self.measured.disagreement = maps.disagreement
        stored = {"depth": encode_depth(maps.depth)}
        return stored | ({"normal": encode_normals(maps.normal)} if with_normals else {})

    def cast(self, caster: RayCaster) -> MeshHits:
        """Hits of the rays of all H * W pixels in the mesh; normals are in panorama axes."""
        rays = erp_rays(self.height, 2 * self.height).reshape(-1, 3)
        hits = caster.cast(self.center, rays @ self.rotation.T)
        return MeshHits(hits.distance, hits.normal @ self.rotation, hits.face)

    def depth_and_normals(self, hits: MeshHits) -> dict[str, np.ndarray]:
        """Maps from the mesh: "depth" (H, W) uint16 and "normal" (H, W, 3) uint8."""
        shape = self.height, 2 * self.height
        return {
            "depth": encode_depth(hits.distance.reshape(shape)),
            "normal": encode_normals(hits.normal.reshape(*shape, 3)),
        }

    def labels(self, hits: MeshHits, ids: np.ndarray) -> np.ndarray:
        """Stored ids (H, W) uint8, given the `ids` (F,) of the mesh's faces; 0 without a hit."""
        return np.where(hits.face >= 0, ids[hits.face], np.uint8(0)).reshape(self.height, 2 * self.height)

    def _verify_heading(self, skybox: np.ndarray) -> None:
        """Rotate the panorama's pose to the heading of the skybox, if enough color images match it."""
        images = []
        for view in (view for view in self.views if view.camera == LEVEL):
            try:
                images.append((view, self.scan.image("color", view.color_name).rgb()))
            except UserError as error:
                self.measured.lacking.append(f"heading measured without a view: {error}")
        heading = measure_heading(skybox, images, self.rotation)
        if heading is None:
            self.measured.lacking.append("heading not verified: too few color images match the skybox")
            return
        self.measured.heading = heading
        self.rotation = correct_heading(self.rotation, heading)
        if abs(heading.pitch) > MAX_PITCH:
            self.measured.lacking.append(f"views lie more than {MAX_PITCH} degrees above or below the skybox")

    def _read_view(self, view: RawView, with_normals: bool) -> PlacedView | None:
        """A view relative to the panorama; None, with a warning, if its depth cannot be used."""
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
        """Normals (h, w, 3) uint16 as published; None, with a warning, if they cannot be used."""
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
        return cv2.merge(codes)

    def _find_axes(self, views: Sequence[PlacedView]) -> np.ndarray:
        """The one of `ALL_AXES` (from published to camera axes) under which the normals agree best with depth."""
        with_normals = [view for view in views if view.normal is not None]
        if not with_normals:
            raise UserError(f"{self.scan.path('normal', self.viewpoint)}: no view has normals")
        total = add_measurements([_compare_normals(view) for view in with_normals])
        best = int(total.near.argmax())
        if total.near[best] < max(1, _MIN_NEAR * total.pixels):
            raise UserError(
                f"{self.scan.path('normal', self.viewpoint)}: along all axes, most normals disagree with "
                f"depth by more than {NEAR_ANGLE} degrees"
            )
        self.measured.axes = axes_in_words(ALL_AXES[best])
        return ALL_AXES[best]


def face_ids(category: np.ndarray, mpcat40_of: dict[int, int]) -> np.ndarray:
    """Stored ids (F,) uint8, mpcat40 index + 1, of the categories (F,) of faces; unlabeled if they have no index."""
    categories, inverse = np.unique(category, return_inverse=True)
    ids = np.array([mpcat40_of.get(int(one), _UNLABELED) + 1 for one in categories], np.uint8)
    return ids[inverse]


def _compare_normals(view: PlacedView) -> AxesMeasurement:
    """Compare the normals of a view with those computed from its depth."""
    implied = implied_normals(view.depth, view.camera)
    height, width = implied.shape[:2]
    small = cv2.resize(view.normal, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return measure_axes(decode_normals(small, _MIDDLE_CODE), implied)


def encode_depth(meters: np.ndarray) -> np.ndarray:
    """Stored depth (H, W) uint16 in 1/4000 m; 0 where it is missing or too large."""
    units = np.rint(meters * DEPTH_UNITS)
    return np.where(units <= np.iinfo(np.uint16).max, units, 0).astype(np.uint16)
