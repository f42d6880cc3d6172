"""The camera of a perspective image: from the command line, from EXIF, or that of the training images."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from datasets.nyuv2_layouts import NYU_CAMERA, WINDOW, OwnersLayout
from networks.achievement_checkpoint import AchievementSettings
from utils.errors import UserError
from utils.padding import padded_size
from utils.pinhole import Pinhole


class Camera(NamedTuple):
    """The camera of an image.

    Attributes:
        pinhole: its intrinsics, in pixels of the image.
        source: where they come from, in words.
    """

    pinhole: Pinhole
    source: str

    def as_dict(self) -> dict:
        """The source and the intrinsics as plain data."""
        return {"source": self.source, **{name: getattr(self.pinhole, name) for name in ("fx", "fy", "cx", "cy")}}


@dataclass(frozen=True)
class CameraFlags:
    """The camera options of a command line: one of the two, or neither.

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

    def camera(
        self,
        size: tuple[int, int],
        focal_length: float | None,
        settings: AchievementSettings,
        name: str | Path = "the image",
    ) -> Camera:
        """The camera of an image.

        Args:
            size: (H, W) of the upright image.
            focal_length: from EXIF, equivalent on 36x24 mm film, in millimeters; None if unknown.
            settings: of the network; they determine the camera of the training images.
            name: of the image, for messages.

        Raises:
            UserError: when the principal point of --intrinsics lies outside the image.
        """
        height, width = size
        if self.fov is not None:
            return Camera(Pinhole.from_fov(self.fov, height, width), "--fov")
        if self.intrinsics is not None:
            pinhole = Pinhole(*self.intrinsics, height, width)
            if pinhole.cx >= width or pinhole.cy >= height:
                raise UserError(f"{self}: the point (CX, CY) lies outside {name}, which is {width}x{height}")
            return Camera(pinhole, "--intrinsics")
        if focal_length is not None:
            return Camera(Pinhole.from_35mm(focal_length, height, width), "EXIF")
        return Camera(training_camera(size, settings), "NYU v2's")


def training_camera(size: tuple[int, int], settings: AchievementSettings) -> Pinhole:
    """The camera that a network assumes for an image of (H, W): NYU v2's, as in the training images.

    Most copies of NYU v2 are cropped to a window of the full image. In images of other aspect ratios the principal
    point is at the same fractions of width and height.
    """
    copy = str(settings.source.get("copy", ""))
    is_full = settings.dataset == "SyntheticNYU" or copy.startswith(OwnersLayout.letter)
    nyu = NYU_CAMERA if is_full else NYU_CAMERA.cropped(*WINDOW)

    def padded_width(height: int, width: int) -> int:
        return padded_size((height, width), settings.height, settings.width)[1]

    factor = padded_width(*size) / padded_width(nyu.height, nyu.width)
    resized = nyu.scaled(*size)
    return Pinhole(nyu.fx * factor, nyu.fy * factor, resized.cx, resized.cy, *size)
