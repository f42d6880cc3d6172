"""What the metrics of an evaluation are measured on, and how they are averaged. Nothing here imports torch.

A `Protocol` holds the settings of an evaluation. Of depth it may hold several protocols, each of which adds the same
metrics under its own keys: METRIC_NAME, such as ``rms_median`` or ``abs_rel_da2``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from utils.tasks import MAX_DEPTH

MIN_DEPTH = 0.1  # meters: the lower limit of clamped depths, if no pixel is left out for being nearer
SMALLEST_DEPTH = 1e-3  # meters: nearer predictions count as this where nothing clamps them, as logarithms are taken
SOLID_ANGLE = "_solid_angle"  # suffix of metrics in which every pixel is weighted by its solid angle
PER_PIXEL = "_per_pixel"  # suffix of metrics of the pixels of all images together

ALIGNMENTS = {
    "none": "no alignment",
    "median": "prediction times median(truth) / median(prediction)",
    "scale": "prediction times the factor of least squares",
    "scale_shift": "scale and shift of the prediction by least squares",
    "disparity": "scale and shift of 1 / prediction by least squares of 1 / depth",
}
MORE_METRICS = {  # computed on request: the tasks whose predictions they need
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
        min_depth, max_depth: meters: of depth, the pixels with min_depth < ground truth <= max_depth.
        pole_crop: degrees of latitude left out at each pole, of all tasks.
        without_black: whether pixels whose RGB is black are left out, of all tasks.
    """

    min_depth: float = 0.0
    max_depth: float = MAX_DEPTH
    pole_crop: float = 0.0
    without_black: bool = False

    def describe(self) -> str:
        """In words."""
        left_out = [f"{self.pole_crop:g} degrees at either pole"] if self.pole_crop else []
        left_out += ["pixels whose RGB is black"] if self.without_black else []
        without = f", without {' and '.join(left_out)}" if left_out else ""
        return f"pixels with a ground truth in ({self.min_depth:g}, {self.max_depth:g}] m{without}"


@dataclass(frozen=True)
class DepthProtocol:
    """How depth is compared.

    Attributes:
        name: that its keys end in; empty: no ending.
        region: the pixels; None: those of the evaluation (`Protocol.region`).
        align: a key of ALIGNMENTS, fitted to the valid pixels of each image before clamping.
        fit_by_solid_angle: whether the fit weights pixels by solid angle.
        clamp: what is clamped to the range of the region, one of CLAMPINGS; its lower end is at least MIN_DEPTH where
            the region has none.
        pool_pixels: whether the metrics are those of the pixels of all images together, not means over images.
        weightings: suffixes of the metrics: "", SOLID_ANGLE.
        at_truth_size: whether predictions are resized to the stored ground truth, instead of that to the predictions.
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
    def ending(self) -> str:
        """What the keys of its metrics end in."""
        return f"_{self.name}" if self.name else ""

    def describe(self, region: Region) -> str:
        """In words, given the region of the evaluation."""
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
    """The range that depths of a region are clamped to, in meters."""
    return region.min_depth or MIN_DEPTH, region.max_depth


@dataclass(frozen=True)
class Protocol:
    """Settings of an evaluation.

    Attributes:
        region: the pixels that are evaluated.
        depth: the protocols of depth; the first has no name, and nothing is aligned.
        pool_pixels: whether metrics of the pixels of all images together are added (PER_PIXEL), but for those of depth
            protocols with a region of their own.
        more: further metrics, of MORE_METRICS.
        mask: SHA-256 of the masks of pixels that count (--mask), in all protocols; empty: there are none.
        at_truth_size: whether predictions are resized to the stored ground truth, instead of that to the predictions.
    """

    region: Region = Region()
    depth: tuple[DepthProtocol, ...] = (DepthProtocol(),)
    pool_pixels: bool = False
    more: tuple[str, ...] = ()
    mask: str = ""
    at_truth_size: bool = False

    @property
    def needs_stored(self) -> bool:
        """Whether the ground truth is needed at its stored size."""
        return self.at_truth_size or any(one.at_truth_size for one in self.depth)

    def describe(self) -> dict[str, str]:
        """The protocols of depth in words, by the ending of their keys; "depth": that of the keys without one."""
        return {one.ending or "depth": one.describe(self.region) for one in self.depth}


def aligned(names: tuple[str, ...], main: DepthProtocol, by_solid_angle: bool) -> tuple[DepthProtocol, ...]:
    """The unnamed protocol `main`, and one for each alignment but none."""
    more = dict.fromkeys(name for name in names if name != "none")
    return (main, *(replace(main, name=name, align=name, fit_by_solid_angle=by_solid_angle) for name in more))


def _unifuse(dataset: str) -> tuple[DepthProtocol, ...]:
    return (DepthProtocol("unifuse", Region(), weightings=("",)),)


def _mtpano(dataset: str) -> tuple[DepthProtocol, ...]:
    return (DepthProtocol("mtpano", Region(max_depth=3.2), clamp="none", pool_pixels=True, weightings=("",)),)


def _da2(dataset: str) -> tuple[DepthProtocol, ...]:
    """Its range is 0.001 to 5 in its own unit: 2560 / 4000 m for MP3D, 1000 / 512 m for S2D3D."""
    unit = {"MP3D": 2560 / 4000, "S2D3D": 1000 / 512}.get(dataset, 2.0)
    region = Region(0.001 * unit, 5 * unit, without_black=True)
    return (DepthProtocol("da2", region, "median", clamp="prediction", weightings=("",)),)


def _pager(dataset: str) -> tuple[DepthProtocol, ...]:
    """Without 14 % (MP3D) or 15 % (S2D3D) of the height at each pole, up to the 128 m that its files can hold; at the
    size of the ground truth."""
    cropped = {"MP3D": 0.14, "S2D3D": 0.15}.get(dataset, 0.0)
    region = Region(max_depth=128.0, pole_crop=180 * cropped)
    plain = DepthProtocol("pager", region, clamp="none", weightings=("",), at_truth_size=True)
    return (plain, *(replace(plain, name=f"pager_{fit}", align=fit) for fit in ("scale", "scale_shift")))


# Protocols of depth of other programs, from the name of the dataset as in --dataset.
PRESETS: dict[str, Callable[[str], tuple[DepthProtocol, ...]]] = {
    "unifuse": _unifuse,
    "da2": _da2,
    "pager": _pager,
    "mtpano": _mtpano,
}
