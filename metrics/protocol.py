"""Evaluation protocols: which pixels are evaluated, and how metrics are averaged. This module does not import torch.

A `Protocol` may contain several protocols for depth; each adds the same metrics under its own keys, METRIC_NAME, such
as ``rms_median`` or ``abs_rel_da2``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.1  # meters: depths are clamped to at least this, unless the region has a minimum of its own
SMALLEST_DEPTH = 1e-3  # meters: minimum of predictions that are not clamped otherwise, for logarithms and inverses
SOLID_ANGLE = "_solid_angle"  # suffix of metrics that weight pixels by solid angle
PER_PIXEL = "_per_pixel"  # suffix of metrics of the pixels of all images together

ALIGNMENTS = {
    "none": "no alignment",
    "median": "prediction times median(truth) / median(prediction)",
    "scale": "prediction times the factor of least squares",
    "scale_shift": "scale and shift of the prediction by least squares",
    "disparity": "scale and shift of 1 / prediction by least squares of 1 / depth",
}
EXTRA_METRIC_TASKS = {  # extra metrics, computed on request, and the tasks whose predictions they need
    "consistency": ("depth", "normal"),
    "points": ("depth",),
    "boundaries": ("depth",),
    "cube_seams": ("depth",),
    "normal_mse": ("normal",),
}
CLAMPINGS = ("both", "prediction", "none")


@dataclass(frozen=True)
class Region:
    """The pixels that are evaluated.

    Attributes:
        min_depth, max_depth: limits in meters; depth is evaluated where min_depth < ground truth <= max_depth.
        pole_crop: degrees of latitude excluded at each pole, for all tasks.
        without_black: whether to exclude pixels whose RGB is black, for all tasks.
    """

    min_depth: float = 0.0
    max_depth: float = MAX_DEPTH
    pole_crop: float = 0.0
    without_black: bool = False

    def describe(self) -> str:
        """Description for results.json."""
        left_out = [f"{self.pole_crop:g} degrees at either pole"] if self.pole_crop else []
        left_out += ["pixels whose RGB is black"] if self.without_black else []
        without = f", without {' and '.join(left_out)}" if left_out else ""
        return f"pixels with a ground truth in ({self.min_depth:g}, {self.max_depth:g}] m{without}"


@dataclass(frozen=True)
class DepthProtocol:
    """How predicted depth is compared with ground truth.

    Attributes:
        name: suffix of its keys; the main protocol has none.
        region: evaluated pixels; None: `Protocol.region`.
        align: a key of ALIGNMENTS, fitted to the valid pixels of each image before clamping.
        fit_by_solid_angle: whether the alignment weights pixels by solid angle.
        clamp: which depths to clamp to the `limits` of the region, one of CLAMPINGS.
        pool_pixels: whether metrics are over the pixels of all images together instead of means over images.
        weightings: weightings of the pixels, as suffixes: "" (uniform), SOLID_ANGLE.
        at_truth_size: whether to resize predictions to the stored ground truth instead of the reverse.
    """

    name: str = ""
    region: Region | None = None
    align: str = "none"
    fit_by_solid_angle: bool = False
    clamp: str = "both"
    pool_pixels: bool = False
    weightings: tuple[str, ...] = ("", SOLID_ANGLE)
    at_truth_size: bool = False

    @property
    def suffix(self) -> str:
        """Suffix of the keys of its metrics."""
        return f"_{self.name}" if self.name else ""

    def describe(self, region: Region) -> str:
        """Description for results.json, given the region of the evaluation."""
        region = self.region or region
        low, high = limits(region)
        clamped = {"both": "prediction and ground truth", "prediction": "prediction"}.get(self.clamp)
        return "; ".join(
            (
                f"meters along the ray; {region.describe()}",
                f"{clamped} clamped to [{low:g}, {high:g}] m" if clamped else "nothing clamped",
                "all valid pixels of the set together"
                if self.pool_pixels
                else "mean over images of the mean over valid pixels",
                ALIGNMENTS[self.align]
                + (", weighted by solid angle" if self.fit_by_solid_angle and self.align != "none" else ""),
                *(["prediction resized to the stored ground truth"] if self.at_truth_size else []),
            )
        )


def limits(region: Region) -> tuple[float, float]:
    """Range in meters to which depths are clamped; without a minimum in the region it starts at MIN_DEPTH."""
    return region.min_depth or MIN_DEPTH, region.max_depth


@dataclass(frozen=True)
class Protocol:
    """Settings of an evaluation.

    Attributes:
        region: evaluated pixels.
        depth: protocols for depth; the first one has no name and no alignment.
        pool_pixels: whether to add metrics of the pixels of all images together (PER_PIXEL), except for depth
            protocols with their own region.
        more: extra metrics, keys of EXTRA_METRIC_TASKS.
        mask: SHA-256 of the valid masks (--mask) of all protocols; empty without masks.
        at_truth_size: whether to resize predictions to the stored ground truth instead of the reverse.
    """

    region: Region = Region()
    depth: tuple[DepthProtocol, ...] = (DepthProtocol(),)
    pool_pixels: bool = False
    more: tuple[str, ...] = ()
    mask: str = ""
    at_truth_size: bool = False

    @property
    def needs_stored(self) -> bool:
        """Whether ground truth is needed at its stored size."""
        return self.at_truth_size or any(protocol.at_truth_size for protocol in self.depth)

    def describe(self) -> dict[str, str]:
        """Descriptions of the depth protocols by the suffix of their keys; "depth" for the one without a suffix."""
        return {protocol.suffix or "depth": protocol.describe(self.region) for protocol in self.depth}


def aligned(names: tuple[str, ...], main: DepthProtocol, by_solid_angle: bool) -> tuple[DepthProtocol, ...]:
    """The unnamed protocol `main`, followed by one for each distinct alignment other than "none"."""
    distinct = dict.fromkeys(name for name in names if name != "none")
    return (main, *(replace(main, name=name, align=name, fit_by_solid_angle=by_solid_angle) for name in distinct))


def _unifuse(dataset: str) -> tuple[DepthProtocol, ...]:
    return (DepthProtocol("unifuse", Region(), weightings=("",)),)


def _mtpano(dataset: str) -> tuple[DepthProtocol, ...]:
    return (DepthProtocol("mtpano", Region(max_depth=3.2), clamp="none", pool_pixels=True, weightings=("",)),)


def _da2(dataset: str) -> tuple[DepthProtocol, ...]:
    """Range 0.001 to 5 in the unit of DA-2: 2560 / 4000 m for MP3D, 1000 / 512 m for S2D3D."""
    unit = {"MP3D": 2560 / 4000, "S2D3D": 1000 / 512}.get(dataset, 2.0)
    region = Region(0.001 * unit, 5 * unit, without_black=True)
    return (DepthProtocol("da2", region, "median", clamp="prediction", weightings=("",)),)


def _pager(dataset: str) -> tuple[DepthProtocol, ...]:
    """Without 14 % (MP3D) or 15 % (S2D3D) of the height at each pole; up to 128 m, the maximum of PaGeR's files."""
    cropped = {"MP3D": 0.14, "S2D3D": 0.15}.get(dataset, 0.0)
    region = Region(max_depth=128.0, pole_crop=180 * cropped)
    plain = DepthProtocol("pager", region, clamp="none", weightings=("",), at_truth_size=True)
    return (plain, *(replace(plain, name=f"pager_{fit}", align=fit) for fit in ("scale", "scale_shift")))


# Depth protocols of other programs, given the dataset (--dataset).
PRESETS: dict[str, Callable[[str], tuple[DepthProtocol, ...]]] = {
    "unifuse": _unifuse,
    "da2": _da2,
    "pager": _pager,
    "mtpano": _mtpano,
}
