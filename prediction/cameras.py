"""Which camera took a perspective image: by the command line, by EXIF, or the one of the training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from datasets.nyuv2_layouts import NYU_CAMERA, WINDOW, OwnersLayout
from networks.achievement_checkpoint import AchievementSettings
from utils.errors import UserError
from utils.padding import padded_size
from utils.pinhole import Pinhole


class Camera(NamedTuple):
    """A camera, and how it is known.

    Attributes:
        pinhole: its intrinsics, in pixels of the image.
        source: in words.
    """

    pinhole: Pinhole
    source: str

    def as_dict(self) -> dict:
        """As plain data: the source and the intrinsics."""
        return {"source": self.source, **{name: getattr(self.pinhole, name) for name in ("fx", "fy", "cx", "cy")}}


@dataclass(frozen=True)
class CameraFlags:
    """What the command line says about the cameras: one of two flags, or neither.

    Attributes:
        fov: horizontal field of view in degrees, above 0, below 180.
        intrinsics: fx, fy, cx, cy in pixels of the upright image.
    """

    fov: float | None = None
    intrinsics: tuple[float, float, float, float] | None = None

    def __str__(self) -> str:
        if self.fov is not None:
            return f"--fov {self.fov:.9g}"
        if self.intrinsics is not None:
            return "--intrinsics " + " ".join(f"{value:.9g}" for value in self.intrinsics)
        return "EXIF, or NYU v2's"

    def of(
        self,
        size: tuple[int, int],
        focal_length: float | None,
        settings: AchievementSettings,
        name: str | Path = "the image",
    ) -> Camera:
        """The camera of an image.

        Args:
            size: (H, W) of the upright image.
            focal_length: by EXIF, in millimeters on film of 36x24 mm; None if unknown.
            settings: of the network, which know the camera of the training images.
            name: of the image, for messages.

        Raises:
            UserError: when the image does not fit --intrinsics.
        """
        height, width = size
        if self.fov is not None:
            return Camera(Pinhole.from_fov(self.fov, height, width), "--fov")
        if self.intrinsics is not None:
            pinhole = Pinhole(*self.intrinsics, height, width)
            if pinhole.cx >= width or pinhole.cy >= height:
                raise UserError(f"{self}: the point (CX, CY) lies outside of {name}, which is {width}x{height}")
            return Camera(pinhole, "--intrinsics")
        if focal_length is not None:
            return Camera(Pinhole.from_35mm(focal_length, height, width), "EXIF")
        return Camera(training_camera(size, settings), "NYU v2's")


def training_camera(size: tuple[int, int], settings: AchievementSettings) -> Pinhole:
    """The camera that a network takes an image of (H, W) to be from: NYU v2's, as the training images show it.

    Most copies of NYU v2 are a window of what the camera sees. In an image of another aspect ratio the principal point
    is at the same fraction of width and height.
    """
    copy = str(settings.source.get("copy", ""))
    sees_all = settings.dataset == "SyntheticNYU" or copy.startswith(OwnersLayout.letter)
    nyu = NYU_CAMERA if sees_all else NYU_CAMERA.cropped(*WINDOW)

    def padded_width(height: int, width: int) -> int:
        return padded_size((height, width), settings.height, settings.width)[1]

    factor = padded_width(*size) / padded_width(nyu.height, nyu.width)
    resized = nyu.scaled(*size)
    return Pinhole(nyu.fx * factor, nyu.fy * factor, resized.cx, resized.cy, *size)
