"""Charts of reports: drawn values, labels, and reproducible SVG."""

import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import torch

from metrics.breakdown import DISTANCES, LATITUDES, PixelError, Profile
from metrics.segmentation import class_iou
from reports.charts import distance_chart, iou_chart, latitude_chart

ERROR = PixelError("absolute error", "m")
CONFUSION = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [0, 0, 4, 0], [0, 0, 0, 0]])
COLORS = ((1, 2, 3), (40, 50, 60), (200, 0, 0), (0, 0, 200))


def profile(edges: np.ndarray, scale: float = 1.0) -> Profile:
    """Errors that grow from bin to bin; the error before the last is infinite, and the last bin is empty."""
    count = len(edges) - 1
    means, counts = scale * np.arange(1.0, count + 1), 1000 * np.arange(count, 0, -1)
    means[-2:], counts[-1] = (np.inf, np.nan), 0
    return Profile(edges, {ERROR: means}, counts)


def groups(chart: str, attribute: str) -> list[ElementTree.Element]:
    return [group for group in ElementTree.fromstring(chart).iter() if group.get(f"data-{attribute}") is not None]


def tooltip(group: ElementTree.Element) -> str:
    return next(child.text for child in group if child.tag.endswith("title"))


def extent(group: ElementTree.Element) -> np.ndarray:
    """Left, top, right and bottom of a bar, (4,)."""
    (path,) = (element for element in group.iter() if element.tag.endswith("path"))
    corners = np.array(re.findall(r"-?[\d.]+", path.get("d")), dtype=float).reshape(-1, 2)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])


def test_distance_chart():
    content = profile(DISTANCES)
    chart = distance_chart("depth", content, None, ERROR, "m")
    bars, means = groups(chart, "mean"), content.means[ERROR][:-2]
    assert [float(bar.get("data-mean")) for bar in bars] == means.tolist()
    heights = np.array([bottom - top for _, top, _, bottom in map(extent, bars)])
    assert heights / heights[-1] == pytest.approx(means / means[-1], abs=1e-3)
    lefts = [extent(bar)[0] for bar in bars]
    assert lefts == sorted(lefts)
    counts = groups(chart, "count")
    assert [int(bar.get("data-count")) for bar in counts] == content.counts.tolist()
    assert [int(bar.get("data-bin")) for bar in counts] == list(range(10))
    assert tooltip(counts[1]) == "1 to 2: absolute error 2 m, 9,000 pixels"
    assert tooltip(counts[9]) == "9 to 10: no pixels"


def test_latitude_chart():
    content = profile(LATITUDES)
    chart = latitude_chart("normal", content, None, ERROR, "°")
    bars = groups(chart, "mean")
    tops = [extent(bar)[1] for bar in bars]
    assert tops == sorted(tops)
    widths = np.array([right - left for left, _, right, _ in map(extent, bars)])
    assert widths / widths[-1] == pytest.approx(np.arange(1, 17) / 16, abs=1e-3)
    assert tooltip(bars[0]) == "zenith to 80° up: absolute error 1°, 18,000 pixels"
    assert tooltip(groups(chart, "count")[-1]) == "80° down to nadir: no pixels"


@pytest.mark.parametrize(("draw", "edges"), [(distance_chart, DISTANCES), (latitude_chart, LATITUDES)])
def test_baselines_share_the_scale(draw, edges):
    without = draw("x", profile(edges), None, ERROR, "m")
    assert not groups(without, "series")
    below, above = (draw("x", profile(edges), profile(edges, scale), ERROR, "m") for scale in (0.5, 4))
    assert len(groups(below, "series")) == 1
    assert extent(groups(below, "mean")[-1]) == pytest.approx(extent(groups(without, "mean")[-1]), abs=1e-3)
    bar, line = extent(groups(above, "mean")[-1]), extent(groups(above, "series")[0])
    axis = slice(1, 4, 2) if draw is distance_chart else slice(0, 3, 2)
    assert np.ptp(line[axis]) > 2 * np.ptp(bar[axis]), "the scale covers both"


def test_empty_bins():
    empty = Profile(DISTANCES, {ERROR: np.full(10, np.nan)}, np.zeros(10, dtype=np.int64))
    chart = distance_chart("x", empty, empty, ERROR, "m")
    assert not groups(chart, "mean")
    assert len(groups(chart, "count")) == 10


def test_iou_chart_omits_absent_classes():
    """Class b is predicted but has no ground truth: IoU 0. Class d does not occur."""
    bars = groups(iou_chart("x", CONFUSION, ("a", "b", "c", "d"), COLORS), "iou")
    assert [(bar.get("data-class"), float(bar.get("data-iou"))) for bar in bars] == [("c", 1), ("a", 0.75), ("b", 0)]
    assert "0 ground truth" in tooltip(bars[2])
    assert "1 predicted" in tooltip(bars[2])


def test_iou_chart_against_metric():
    confusion = np.random.default_rng(0).integers(0, 100, (13, 13))
    names = tuple(map(str, range(13)))
    bars = groups(iou_chart("x", confusion, names, ((0, 0, 0),) * 13), "iou")
    drawn = {int(bar.get("data-class")): float(bar.get("data-iou")) for bar in bars}
    assert [drawn[i] for i in range(13)] == pytest.approx(class_iou(torch.from_numpy(confusion)).tolist())


@pytest.mark.parametrize("name", ["<b>&\"'", "$x^2$", "a $ b", "\\alpha", "_x_", "#1", "日本", "n" * 300])
def test_names_are_plain_text(name):
    """Names are not interpreted as markup or formulas; long names are shortened."""
    chart = iou_chart(name, CONFUSION, (name, "b", "c", "d"), COLORS)
    root = ElementTree.fromstring(chart)
    assert root.get("aria-label") == name
    assert name in [bar.get("data-class") for bar in groups(chart, "iou")]
    texts = ["".join(element.itertext()) for element in root.iter() if element.tag.endswith("}text")]
    assert any(text == name or (text.endswith("…") and name.startswith(text[:-1])) for text in texts)


def test_charts_are_reproducible():
    """The user's matplotlib settings are neither used nor changed."""
    first = latitude_chart("x", profile(LATITUDES), profile(LATITUDES, 2), ERROR, "m")
    with matplotlib.rc_context({"axes.facecolor": "black", "svg.fonttype": "path", "font.size": 30}):
        before = dict(matplotlib.rcParams)
        assert latitude_chart("x", profile(LATITUDES), profile(LATITUDES, 2), ERROR, "m") == first
        assert dict(matplotlib.rcParams) == before
    assert "date" not in first.lower()
    assert "metadata" not in first
