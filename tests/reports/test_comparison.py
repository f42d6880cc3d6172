"""Tables, files and page of a comparison."""

import csv
import math

import numpy as np
import pytest

from metrics.protocol import PRESETS, DepthProtocol, Protocol, aligned
from reports.comparison import Compared, Comparison, key_suffixes, number, write_comparison
from reports.comparison_page import write_page
from reports.gallery import Thumbnail
from reports.results import describe_protocols
from tests.reports.test_page import NASTY, Page
from utils.tasks import METERS
from visual.displays import DisplaySettings

PROTOCOL = Protocol(depth=(*aligned(("median",), DepthProtocol(), False), *PRESETS["unifuse"]("S2D3D")))
PNG = b"\x89PNG any"


def compared(name: str, rms: float, a1: float, **more) -> Compared:
    results = {
        "depth": {"rms": rms, "rms_solid_angle": rms, "rms_median": 1.0, "a1": a1, "seam": 2.0, "rms_unifuse": None},
        "segmentation": {"mIoU": 0.5, "mIoU_solid_angle": math.nan},
    }
    return Compared(name, results, **more)


def make_comparison() -> Comparison:
    depth, labels = np.full((4, 8), 2, np.float16), np.ones((4, 8), np.int16)
    thumbnails = {
        "depth": {3: Thumbnail(PNG, depth, 2 * depth, PNG)},
        "segmentation": {3: Thumbnail(PNG, labels, 0 * labels, PNG)},
    }
    cost = {"parameters": 9770698, "ms_per_image": 12.5, "peak_memory_mib": None}
    return Comparison(
        compared=[
            compared("a|b", 0.5, 0.6, path=NASTY, sha256="12ab", thumbnails=thumbnails, cost=cost),
            compared(NASTY, 0.25, 0.4, thumbnails=thumbnails),
        ],
        tasks=("depth", "segmentation"),
        protocol=PROTOCOL,
        descriptions=describe_protocols(PROTOCOL),
        facts={"dataset": "Synthetic", "classes": ""},
        ids={3: "room 3"},
        display_settings=DisplaySettings(("wall", NASTY), ((1, 2, 3), (4, 5, 6)), METERS, "camera"),
    )


def test_tables():
    """Rows for each protocol and evaluation; the lowest errors and highest accuracies are the best."""
    depth, segmentation, *extra = make_comparison().tables()
    assert [row[:2] for row in depth.rows] == [
        *(("", "a|b"), ("", NASTY), ("solid_angle", "a|b"), ("solid_angle", NASTY)),
        *(("median", "a|b"), ("median", NASTY)),
    ], "no rows of unifuse, which has no values"
    rms, a1 = depth.columns.index("rms"), depth.columns.index("a1")
    _, _, values, best = depth.rows[0]
    assert (values[rms], values[a1], best[rms], best[a1]) == (0.5, 0.6, False, True)
    assert depth.rows[1][3][rms]
    assert depth.rows[4][3][rms], "both of two equal values are the best"
    assert depth.rows[5][3][rms]
    assert not segmentation.rows[2][3][0], "NaN"
    comparison = make_comparison()
    comparison.compared[0].results["depth"]["rms"] = 0.250001
    rows = comparison.tables()[0].rows
    assert rows[0][3][rms], "values that are displayed alike are equally good"
    assert rows[1][3][rms]
    comparison.compared[1].results["depth"]["rms"] = None
    assert not comparison.tables()[0].rows[0][3][rms], "a single value is not the best"
    assert [table.title for table in extra] == ["depth: extra metrics", "cost of one panorama"]
    assert extra[1].rows == [("", "a|b", [9770698, 12.5, None], [False] * 3)]


def test_files(tmp_path):
    comparison = make_comparison()
    write_comparison(tmp_path, comparison)
    text = (tmp_path / "comparison.md").read_text()
    assert "| released | a\\|b | - | 0.5000 | - | - | **0.6000** | - | - |" in text
    for name, description in comparison.descriptions.items():
        assert f"- `{name}`: {description}" in text
    with open(tmp_path / "comparison.csv", newline="") as file:
        rows = {(row["task"], row["metric"]): row for row in csv.DictReader(file)}
    assert float(rows["depth", "rms"]["a|b"]) == 0.5
    assert rows["depth", "rms_unifuse"]["a|b"] == ""
    assert float(rows["segmentation", "mIoU"][NASTY]) == 0.5


def test_page(tmp_path):
    """Names are escaped; each image is shown with all predictions."""
    write_page(tmp_path / "page.html", make_comparison())
    page = Page((tmp_path / "page.html").read_text())
    assert "script" not in {tag for tag, _ in page.elements}
    assert page.attributes("data-gallery") == ["depth", "segmentation"]
    images = [alt for alt in page.attributes("alt") if alt != "color scale"]
    card = ["RGB", "ground truth", *(f"{name}: {map_}" for name in ("a|b", NASTY) for map_ in ("prediction", "error"))]
    assert images == 2 * card
    assert all(source.startswith("data:") for source in page.attributes("src"))
    scales = [text.split() for tag, text in page.texts if tag == "span"]
    assert scales[1:3] == [["2"], ["4", "m"]], "predictions and ground truth share one scale"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.12345, "0.1235"), (12.345, "12.35"), (9770698, "9,770,698")]
)
def test_number(value, text):
    assert number(value) == text


def test_key_suffixes():
    assert key_suffixes("depth", PROTOCOL) == ["", "_solid_angle", "_median", "_unifuse"]
    assert key_suffixes("normal", Protocol(pool_pixels=True)) == ["", "_solid_angle", "_per_pixel"]
    assert key_suffixes("segmentation", Protocol(pool_pixels=True)) == ["", "_solid_angle"]
