"""The part of the sphere that an image shows: from the command line, from its metadata, or all of it."""

from dataclasses import dataclass, replace
from pathlib import Path

from prediction.gpano import GPano
from prediction.input_image import is_panorama, require_panorama
from prediction.sphere_placement import Placement, placement_of_gpano, placement_of_vfov
from utils.errors import UserError

_REMEDY = (
    "--force stretches it; --vfov or --crop says which part of the sphere it shows; --cubemap reads faces of a cube"
)


@dataclass(frozen=True)
class SphereFlags:
    """Options on the part of the sphere that images show.

    Attributes:
        vfov: vertical field of view in degrees, around the horizon, or None.
        crop: longitudes of the left and right border, latitudes of the upper and lower one, in degrees, or None.
        upright: pitch and roll of the camera in degrees, or None.
        force: whether to stretch images of any shape to whole spheres if neither flags nor metadata place them.
        remedy: advice on images that are not 2:1, for the message.

    Raises:
        UserError: when the values of a flag do not fit together.
    """

    vfov: float | None = None
    crop: tuple[float, float, float, float] | None = None
    upright: tuple[float, float] | None = None
    force: bool = False
    remedy: str = _REMEDY

    def __post_init__(self):
        if self.crop:
            left, right, top, bottom = self.crop
            if not (-360 <= left < right <= left + 360 and 90 >= top > bottom >= -90):
                raise UserError(
                    f"--crop {left:g} {right:g} {top:g} {bottom:g}: LEFT < RIGHT, at most 360 apart, and 90 >= TOP > "
                    "BOTTOM >= -90, all in degrees"
                )
        if self.upright and not (abs(self.upright[0]) <= 90 and abs(self.upright[1]) <= 180):
            raise UserError("--upright: PITCH is from -90 to 90 degrees, ROLL from -180 to 180")

    def __str__(self) -> str:
        flags = {"--vfov": [self.vfov] if self.vfov else None, "--crop": self.crop, "--upright": self.upright}
        given = [f"{flag} {' '.join(f'{value:.9g}' for value in values)}" for flag, values in flags.items() if values]
        return " ".join(given) or "GPano metadata, or a whole, upright sphere"

    def placement(self, size: tuple[int, int], gpano: GPano | None, name: str | Path) -> Placement:
        """The placement of an image of (H, W): from the flags, else from its metadata, else a whole, upright sphere.

        Raises:
            UserError: when it is not twice as wide as high and neither flags nor metadata place it, or when they do not
                fit it.
        """
        try:
            placement = self._borders(size, gpano, name)
        except UserError as error:
            raise UserError(f"{name}: {error}" if str(name) not in str(error) else str(error)) from error
        if self.upright:
            pitch, roll = self.upright
            placement = replace(placement, pitch=pitch, roll=roll, source=f"{placement.source}, --upright")
        return placement

    def _borders(self, size: tuple[int, int], gpano: GPano | None, name: str | Path) -> Placement:
        pose = {"pitch": gpano.pitch, "roll": gpano.roll, "heading": gpano.heading} if gpano else {}
        if self.vfov:
            return replace(placement_of_vfov(self.vfov, size), **pose)
        if self.crop:
            return Placement(*self.crop, **pose, source="--crop")
        if gpano:
            placement = placement_of_gpano(gpano, size)
            if gpano.crop or is_panorama(size[1], size[0]) or self.force:
                return placement
        if not self.force:
            require_panorama(size, name, self.remedy)
        return Placement()
