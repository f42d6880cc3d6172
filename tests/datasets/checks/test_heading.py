"""Small offsets in heading between RGB and depth."""

from dataclasses import replace

import numpy as np
import pytest

from datasets.checks.heading import MAX_OFFSET, evaluate_heading, measure_heading_offset
from datasets.synthetic import SyntheticRooms
from utils.projection import sample_erp
from utils.sphere import erp_rays, yaw_rotation

HEIGHT = 256


@pytest.fixture(scope="module")
def room():
    return SyntheticRooms("train", 1, HEIGHT, 2 * HEIGHT).read(0)


def turned(rgb, degrees):
    """RGB turned to the right."""
    return sample_erp(rgb, erp_rays(*rgb.shape[:2]) @ yaw_rotation(np.radians(degrees)))


@pytest.mark.parametrize("degrees", [0.0, 0.5, -0.5, 1.6])
def test_offset(room, degrees):
    offset = measure_heading_offset(replace(room, rgb=turned(room.rgb, degrees)))
    assert offset == pytest.approx(degrees, abs=0.12)


def test_offset_of_unrelated_maps_is_nan(room):
    assert np.isnan(measure_heading_offset(replace(room, depth=np.zeros_like(room.depth))))
    assert np.isnan(measure_heading_offset(replace(room, rgb=np.roll(room.rgb, 100, axis=1)[::-1])))


@pytest.mark.parametrize(("offsets", "problems"), [([0.05, -0.1, 0.2], 0), ([0.5, 0.4, 0.1], 1), ([0.6, -0.5, 0.4], 1)])
def test_evaluation(offsets, problems):
    """Offsets in opposite directions do not cancel."""
    finding = evaluate_heading(offsets, ["1024x512"] * 3)
    assert len(finding.problems) == problems
    assert f"{np.median(offsets):+.2f} degrees" in finding.rows[0]


def test_tolerance_is_larger_for_small_panoramas():
    assert not evaluate_heading([0.5], ["128x64"]).problems
    assert evaluate_heading([0.5], ["1024x512"]).problems
    assert evaluate_heading([MAX_OFFSET], ["1024x512"]).problems == []


def test_no_finding_if_most_offsets_are_unknown():
    assert evaluate_heading([np.nan, np.nan, 2.0], ["1024x512"] * 3) is None
