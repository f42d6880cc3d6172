"""The predictions for an image."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

import numpy as np

from networks.saved_network import NetworkSettings
from prediction.cameras import Camera
from prediction.mesh import Mesh
from prediction.point_cloud import PointCloud
from prediction.sphere_placement import Placement
from tasks import DISPLAYS
from tasks.perspective import perspective_displays
from utils.errors import UserError
from utils.pinhole import Pinhole
from utils.sphere import depth_to_points
from visual.displays import Display, DisplaySettings
from visual.panels import maps_panel

_MESH_WIDTH = 1024  # of larger maps, a mesh connects every n-th pixel
_PANEL_WIDTH = 1024  # of larger maps, a panel shows every n-th pixel, as its text has a fixed size


@dataclass(frozen=True, eq=False)
class Prediction(ABC):
    """The maps of one image, H x W.

    Camera frame: x right, y **down**, z forward.

    Attributes:
        rgb: (H, W, 3) uint8.
        settings: of the network: `class_names`, `class_colours`, `depth_unit`, `normal_frame` and more.
        depth: (H, W) float32 in `settings.depth_unit`, or None.
        normal: (H, W, 3) float32, unit vectors that point to the camera, in the camera frame (but see
            `settings.normal_frame`), or None.
        labels: (H, W) uint8, indices into `settings.class_names`, or None.
        valid: (H, W) bool, the pixels that the image shows and no mask excludes; None: all. Pixels that it does not
            show have depth 0, normal (0, 0, 0) and label 255; masked pixels keep their predictions.
        is_resampled: whether the maps belong to `rgb` only, as the image was turned, padded or a cube map.

    Maps of tasks that the network was not trained for are None.
    """

    rgb: np.ndarray
    settings: NetworkSettings
    depth: np.ndarray | None = None
    normal: np.ndarray | None = None
    labels: np.ndarray | None = None
    valid: np.ndarray | None = None
    is_resampled: bool = False

    @property
    @abstractmethod
    def displays(self) -> Mapping[str, Display]:
        """Visualization of the predictions of each task of the network."""

    @property
    @abstractmethod
    def pinhole(self) -> Pinhole | None:
        """The camera of a perspective image; None for panoramas."""

    def points(self) -> np.ndarray:
        """The point (x, y, z) of each pixel, (H, W, 3), in the unit of depth."""
        return self.pinhole.points(self.depth) if self.pinhole else depth_to_points(self.depth)

    def maps(self) -> dict[str, np.ndarray]:
        """The map of each task of the network, in the format of its display (`visual.displays`)."""
        return {task: getattr(self, display.map_name) for task, display in self.displays.items()}

    def panel(self) -> np.ndarray:
        """Image and predictions in colors, with scales and a legend, as one image (any, any, 3) uint8."""
        step = -(-self.rgb.shape[1] // _PANEL_WIDTH)
        maps = {task: self.displays[task].shrunk(values, step) for task, values in self.maps().items()}
        rgb = np.ascontiguousarray(self.rgb[::step, ::step])
        valid = None if self.valid is None else self.valid[::step, ::step]
        return maps_panel(rgb, maps, self.displays, DisplaySettings.of(self.settings), valid=valid)

    def point_cloud(self) -> PointCloud:
        """One colored point per valid pixel with a depth (finite, above 0), with normals and labels if available.

        Normals in a world frame are omitted, as the points are in the camera frame.

        Raises:
            UserError: when the network does not predict depth.
        """
        self._require_depth("a point cloud")
        in_camera_frame = self.settings.normal_frame == "camera"
        return PointCloud.from_depth(
            self.depth,
            colors=self.rgb,
            normals=self.normal if in_camera_frame else None,
            labels=self.labels,
            mask=self.valid,
            camera=self.pinhole,
            unit=self.settings.depth_unit,
        )

    def mesh(self, texture: np.ndarray | None = None) -> Mesh:
        """Textured triangles between the pixels that have a depth, see `Mesh.from_depth`.

        They connect every n-th row and column of large maps, so that there are at most a million.

        Args:
            texture: the image (any, any, 3) uint8 in its full resolution; None: `rgb`.

        Raises:
            UserError: when the network does not predict depth.
        """
        self._require_depth("a mesh")
        texture = self.rgb if texture is None else texture
        step = -(-self.depth.shape[1] // _MESH_WIDTH)
        unit = self.settings.depth_unit
        return Mesh.from_depth(self.depth, texture, mask=self.valid, camera=self.pinhole, unit=unit, step=step)

    def _require_depth(self, what: str) -> None:
        if self.depth is None:
            raise UserError(f"{what} needs depth, but the network predicts only {', '.join(self.settings.tasks)}")


@dataclass(frozen=True, eq=False)
class PanoramaPrediction(Prediction):
    """The maps of one panorama, at the training size of the network or at the requested size.

    Depth is **along the ray**; z points to the center of the panorama; `rgb` is the panorama at the size of the maps.

    Attributes:
        tta: number of averaged views.
        seam: per task, the change across the left/right border, relative to that between other columns
            (`metrics.seam`); about 1 is good.
        plain_seam: the same without averaging over views.
        placement: of the image in the panorama, if it is not a whole, upright sphere; None otherwise.
    """

    tta: int = 1
    seam: dict[str, float] = field(default_factory=dict)
    plain_seam: dict[str, float] = field(default_factory=dict)
    placement: Placement | None = None

    @property
    def displays(self) -> dict[str, Display]:
        return {task: DISPLAYS[task] for task in self.settings.tasks}

    @property
    def pinhole(self) -> None:
        return None


@dataclass(frozen=True, eq=False)
class PerspectivePrediction(Prediction):
    """The maps of one perspective image at its own size; z is the optical axis.

    Depth is **along the optical axis**, the z coordinate; `rgb` is the image.

    Attributes:
        camera: of the image; only the points depend on it.
        boxes: (n, 6) float32, detections, the best first: class (an index into `settings.class_names`), score, and the
            corners x1, y1, x2, y2 in pixels of the image: its upper left corner is 0, 0, its lower right one W, H. None
            if the network does not detect objects.
    """

    _: KW_ONLY
    camera: Camera
    boxes: np.ndarray | None = None

    @property
    def displays(self) -> dict[str, Display]:
        return perspective_displays(self.settings)

    @property
    def pinhole(self) -> Pinhole:
        return self.camera.pinhole
