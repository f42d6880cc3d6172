"""How errors depend on distance and on latitude, as SVG. Colours are in page.css, to suit light and dark pages."""

import math
from xml.etree.ElementTree import Element

import numpy as np

from metrics.breakdown import PixelError, Profile
from reports.drawing import Scale, bar, compact, line, svg, text

_WIDTH, _HEIGHT = 560, 316


def distance_chart(profile: Profile, reference: Profile | None, kind: PixelError, unit: str) -> Element:
    """Mean errors as columns over bins of true depth, with the number of pixels of each bin below.

    Args:
        reference: of a baseline, whose errors are shown as dashes; None without.
        kind: the error to show.
        unit: of the error, as it is to be written.
    """
    means, baselines = _means(profile, reference, kind)
    left, right, top, bottom = 52, 8, 12, 250
    count_top, count_bottom = 268, 298
    scale = Scale(np.concatenate([means, baselines]), bottom - top)
    children = []
    for tick in scale.ticks:
        y = bottom - scale.length(tick)
        children += [line(left, y, _WIDTH - right, y, "grid"), text(left - 8, y + 4, f"{tick:g}", "end")]
    step = (_WIDTH - right - left) / len(means)
    shares = profile.counts / max(1, profile.counts.max())
    for i, (mean, count) in enumerate(zip(means, profile.counts, strict=True)):
        x, width = left + i * step + 2, step - 4
        told = f"{profile.edges[i]:g} to {profile.edges[i + 1]:g}: {_told(kind, mean, unit, count)}"
        if math.isfinite(mean):
            height = scale.length(mean)
            children.append(bar(x, bottom - height, width, height, "bar", told))
        if math.isfinite(baselines[i]):
            y = bottom - scale.length(baselines[i])
            children.append(line(x, y, x + width, y, "reference"))
        height = shares[i] * (count_bottom - count_top)
        children.append(bar(x, count_bottom - height, width, height, "count", told))
        children.append(text(x + width / 2, count_bottom + 12, compact(count), "middle", "small"))
    for i, edge in enumerate(profile.edges):
        children.append(text(left + i * step, bottom + 14, f"{edge:g}", "middle"))
    children.append(line(left, bottom, _WIDTH - right, bottom, "axis"))
    children.append(text(left - 8, count_bottom, "pixels", "end", "small"))
    return svg(_WIDTH, _HEIGHT, *children, label=f"{kind.label} by distance")


def latitude_chart(profile: Profile, reference: Profile | None, kind: PixelError, unit: str) -> Element:
    """Mean errors as bars beside bands of latitude, from the zenith down, as in the picture; with pixel numbers.

    The arguments are those of `distance_chart`.
    """
    means, baselines = _means(profile, reference, kind)
    left, right, top, bottom = 76, 454, 12, 282
    count_left, count_right = 484, 520
    scale = Scale(np.concatenate([means, baselines]), right - left)
    children = []
    for tick in scale.ticks:
        x = left + scale.length(tick)
        children += [line(x, top, x, bottom, "grid"), text(x, bottom + 14, f"{tick:g}", "middle")]
    step = (bottom - top) / len(means)
    shares = profile.counts / max(1, profile.counts.max())
    for i, (mean, count) in enumerate(zip(means, profile.counts, strict=True)):
        y, height = top + i * step + 1, step - 2
        told = f"{_up(profile.edges[i])} to {_up(profile.edges[i + 1])}: {_told(kind, mean, unit, count)}"
        if math.isfinite(mean):
            children.append(bar(left, y, scale.length(mean), height, "bar", told))
        if math.isfinite(baselines[i]):
            x = left + scale.length(baselines[i])
            children.append(line(x, y, x, y + height, "reference"))
        children.append(bar(count_left, y, shares[i] * (count_right - count_left), height, "count", told))
        children.append(text(count_right + 6, y + height - 2, compact(count), "start", "small"))
    for i in range(0, len(profile.edges), 3):
        children.append(text(left - 8, top + i * step + 4, _up(profile.edges[i]), "end"))
    children.append(line(left, top, left, bottom, "axis"))
    children.append(text(count_left, bottom + 14, "pixels", "start", "small"))
    return svg(_WIDTH, _HEIGHT, *children, label=f"{kind.label} by latitude")


def _means(profile: Profile, reference: Profile | None, kind: PixelError) -> tuple[np.ndarray, np.ndarray]:
    """An error in each bin, (n,), and the baseline's, NaN where there is none."""
    means = profile.means[kind]
    return means, reference.means[kind] if reference else np.full_like(means, np.nan)


def _told(kind: PixelError, mean: float, unit: str, count: int) -> str:
    """What appears when the pointer rests on a bin."""
    if not count:
        return "no pixels"
    return f"{kind.label} {mean:.4g}{'' if unit == '°' else ' '}{unit}, {count:,} pixels".replace(" ,", ",")


def _up(latitude: float) -> str:
    """A latitude, which grows downwards, in degrees above or below the horizon."""
    if latitude == 0:
        return "horizon"
    if abs(latitude) == 90:
        return "zenith" if latitude < 0 else "nadir"
    return f"{abs(latitude):g}° {'up' if latitude < 0 else 'down'}"
