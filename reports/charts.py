"""The charts of a report, drawn by matplotlib as inline SVG; report.css sets the color and font of their text."""

import io
from itertools import pairwise
from typing import Literal
from xml.etree import ElementTree

import numpy as np
from matplotlib import rcParams, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from metrics.breakdown import PixelError, Profile
from visual.drawing import Colors

_NAMESPACE = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", _NAMESPACE)  # no prefix, as required in HTML
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")

# Colors that are legible on light and dark pages.
_BAR, _BASELINE, _COUNT, _LINE = "#3b82f6", "#e8590c", "#9aa5b5", "#808080"
_OPTIONS = {
    "svg.fonttype": "none",  # text: searchable, and smaller than paths
    "text.parse_math": False,  # class names are not formulas
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": _LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.alpha": 0.25,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
}
_with_style = style.context(["default", _OPTIONS])  # independent of the user's settings
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # omitted, so that charts are reproducible
_WIDTH, _HEIGHT = 5.8, 3.3  # inches
_LONGEST_NAME = 24  # characters; longer class names are shortened
_SHORT_COUNT = EngFormatter(places=0, sep="")  # 950, 12k, 3M


class Chart:
    """A figure with tooltips and data attributes, for use in functions decorated with `_with_style`.

    Args:
        label: description, unique in the page.
        height: height in inches.

    Attributes:
        figure: matplotlib's figure.
    """

    def __init__(self, label: str, height: float = _HEIGHT):
        self.figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        self._label = label
        self._notes: dict[str, tuple[str, dict[str, str]]] = {}

    def annotate(self, artist: Artist, tooltip: str, **data: object) -> None:
        """Add a tooltip to an artist, and an attribute ``data-<key>`` for each value."""
        artist.set_gid(f"note-{len(self._notes)}")
        self._notes[artist.get_gid()] = tooltip, {f"data-{key}": str(value) for key, value in data.items()}

    def to_svg(self) -> str:
        """The chart as an ``<svg>`` element, reproducible."""
        file = io.BytesIO()
        rcParams["svg.hashsalt"] = self._label  # ids must be unique in the page
        self.figure.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
        root = ElementTree.fromstring(file.getvalue())
        root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": self._label}
        for group in root.iter(f"{{{_NAMESPACE}}}g"):
            tooltip, data = self._notes.get(group.attrib.pop("id", ""), ("", {}))  # ids of groups are not referenced
            group.attrib |= data
            if tooltip:
                title = ElementTree.Element(f"{{{_NAMESPACE}}}title")
                title.text = tooltip
                group.insert(0, title)
        return ElementTree.tostring(root, encoding="unicode")


@_with_style
def distance_chart(label: str, profile: Profile, baseline: Profile | None, error: PixelError, unit: str) -> str:
    """Mean errors as columns over bins of ground truth depth, above the number of pixels in each bin.

    Args:
        label: description.
        profile: errors of the predictions.
        baseline: errors of a baseline, drawn as a dashed line; None: no baseline.
        error: the error to draw.
        unit: unit of the error, as displayed.
    """
    chart = Chart(label)
    above, below = chart.figure.subplots(2, 1, sharex=True, height_ratios=(6, 1))
    bins = [f"{low:g} to {high:g}" for low, high in pairwise(profile.edges)]
    _draw_profile(chart, above, below, "vertical", profile, baseline, _tooltips(bins, profile, error, unit), error)
    above.tick_params(labelbottom=True)
    above.grid(axis="y")
    below.set(xticks=profile.edges, yticks=[], ylabel="pixels", ylim=(0, 2 * max(1, profile.counts.max())))
    below.spines.left.set_visible(False)
    below.tick_params(bottom=False, labelbottom=False)
    return chart.to_svg()


@_with_style
def latitude_chart(label: str, profile: Profile, baseline: Profile | None, error: PixelError, unit: str) -> str:
    """Mean errors as horizontal bars for bands of latitude, from zenith to nadir, beside the numbers of pixels.

    The arguments are those of `distance_chart`.
    """
    chart = Chart(label)
    left, right = chart.figure.subplots(1, 2, sharey=True, width_ratios=(6, 1))
    bands = [f"{_latitude(upper)} to {_latitude(lower)}" for upper, lower in pairwise(profile.edges)]
    _draw_profile(chart, left, right, "horizontal", profile, baseline, _tooltips(bands, profile, error, unit), error)
    left.set(yticks=profile.edges[::3], yticklabels=map(_latitude, profile.edges[::3]))
    left.set_ylim(profile.edges[-1], profile.edges[0])  # latitudes increase downward
    left.grid(axis="x")
    right.set(xticks=[], xlabel="pixels", xlim=(0, 2 * max(1, profile.counts.max())))
    right.spines.bottom.set_visible(False)
    right.tick_params(left=False)
    return chart.to_svg()


@_with_style
def iou_chart(label: str, confusion: np.ndarray, names: tuple[str, ...], colors: Colors) -> str:
    """IoU of the classes that occur, in descending order, with their numbers of ground truth pixels.

    Args:
        label: description.
        confusion: pixel counts (K, K), rows ground truth and columns predictions, not all 0.
        names, colors: names and colors of the K classes.
    """
    correct, ground_truth, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    iou = correct / np.maximum(1, ground_truth + predicted - correct)
    order = [i for i in np.argsort(-iou, kind="stable") if ground_truth[i] or predicted[i]]
    chart = Chart(label, height=0.5 + 0.23 * len(order))
    axes = chart.figure.subplots()
    bars = axes.barh(range(len(order)), iou[order], height=0.7, color=_BAR)
    axes.barh(range(len(order)), -0.02, left=-0.01, height=0.5, color=np.array(colors)[order] / 255)
    for row, (i, bar) in enumerate(zip(order, bars, strict=True)):
        counts = f"{ground_truth[i]:,} ground truth and {predicted[i]:,} predicted pixels"
        chart.annotate(bar, f"{names[i]}: IoU {iou[i]:.4f}, {counts}", **{"class": names[i]}, iou=float(iou[i]))
        axes.text(1.02, row, f"{iou[i]:.3f}", va="center")
        axes.text(1.2, row, f"{ground_truth[i]:,} pixels", va="center", fontsize=7)
    axes.set(yticks=range(len(order)), yticklabels=[_shorten(names[i]) for i in order], xlim=(-0.04, 1))
    axes.set_ylim(len(order) - 0.5, -0.5)
    axes.tick_params(left=False)
    axes.spines.left.set_visible(False)
    axes.grid(axis="x")
    return chart.to_svg()


def _draw_profile(
    chart: Chart,
    means_axes: Axes,
    counts_axes: Axes,
    orientation: Literal["vertical", "horizontal"],
    profile: Profile,
    baseline: Profile | None,
    tooltips: list[str],
    error: PixelError,
) -> None:
    """Draw the mean error and the number of pixels of each bin as bars."""
    draw_bars = Axes.bar if orientation == "vertical" else Axes.barh
    starts, sizes = profile.edges[:-1], 0.94 * np.diff(profile.edges)
    means = profile.means[error]
    finite = np.flatnonzero(np.isfinite(means))  # means of empty bins are NaN
    bars = draw_bars(means_axes, starts[finite], means[finite], sizes[finite], align="edge", color=_BAR)
    for i, bar in zip(finite, bars, strict=True):
        chart.annotate(bar, tooltips[i], bin=i, mean=float(means[i]))
    bars = draw_bars(counts_axes, starts, profile.counts, sizes, align="edge", color=_COUNT)
    for i, bar in enumerate(bars):
        chart.annotate(bar, tooltips[i], bin=i, count=profile.counts[i])
    counts_axes.bar_label(bars, map(_SHORT_COUNT, profile.counts), padding=1, fontsize=7)
    if baseline:
        values = np.where(np.isfinite(baseline.means[error]), baseline.means[error], np.nan)
        line = means_axes.stairs(
            values,
            baseline.edges,
            orientation=orientation,
            baseline=None,
            color=_BASELINE,
            linestyle=(0, (4, 2)),
            linewidth=1.8,
        )
        chart.annotate(line, "baseline", series="baseline")


def _tooltips(bins: list[str], profile: Profile, error: PixelError, unit: str) -> list[str]:
    """Tooltips of the bins with these names."""
    unit = unit if unit in ("", "°") else f" {unit}"
    return [
        f"{name}: {error.label} {mean:.4g}{unit}, {count:,} pixels" if count else f"{name}: no pixels"
        for name, mean, count in zip(bins, profile.means[error], profile.counts, strict=True)
    ]


def _latitude(latitude: float) -> str:
    """Text for a latitude in degrees, positive below the horizon."""
    if latitude == 0:
        return "horizon"
    if abs(latitude) == 90:
        return "zenith" if latitude < 0 else "nadir"
    return f"{abs(latitude):g}° {'up' if latitude < 0 else 'down'}"


def _shorten(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
