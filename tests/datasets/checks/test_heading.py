"""RGB that lies beside depth by less than a pixel or a few."""

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
    """To the right."""
    return sample_erp(rgb, erp_rays(*rgb.shape[:2]) @ yaw_rotation(np.radians(degrees)))


@pytest.mark.parametrize("degrees", [0.0, 0.5, -0.5, 1.6])
def test_offset(room, degrees):
    offset = measure_heading_offset(replace(room, rgb=turned(room.rgb, degrees)))
    assert offset == pytest.approx(degrees, abs=0.12)


def test_no_offset_of_what_does_not_match(room):
    assert np.isnan(measure_heading_offset(replace(room, depth=np.zeros_like(room.depth))))
    assert np.isnan(measure_heading_offset(replace(room, rgb=np.roll(room.rgb, 100, axis=1)[::-1])))


@pytest.mark.parametrize(("offsets", "wrong"), [([0.05, -0.1, 0.2], 0), ([0.5, 0.4, 0.1], 1), ([0.6, -0.5, 0.4], 1)])
def test_all_panoramas_together(offsets, wrong):
    """Also when they are wrong in either direction."""
    finding = evaluate_heading(offsets, ["1024x512"] * 3)
    assert len(finding.problems) == wrong
    assert f"{np.median(offsets):+.2f} degrees" in finding.rows[0]


def test_small_panoramas_tell_less():
    assert not evaluate_heading([0.5], ["128x64"]).problems
    assert evaluate_heading([0.5], ["1024x512"]).problems
    assert evaluate_heading([MAX_OFFSET], ["1024x512"]).problems == []


def test_few_panoramas_that_tell():
    assert evaluate_heading([np.nan, np.nan, 2.0], ["1024x512"] * 3) is None
