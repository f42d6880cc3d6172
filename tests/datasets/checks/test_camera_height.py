"""Camera height and floor flatness of box-shaped rooms in closed form."""

import numpy as np
import pytest

from datasets.checks.camera_height import (
    HEIGHT_RANGE,
    UNITS_PER_METER,
    FloorMeasurement,
    evaluate_floors,
    measure_floor,
)
from datasets.checks.surfaces import find_surfaces
from datasets.preparation.normals_from_depth import normals_from_depth
from utils.sphere import erp_rays

SHAPE = (64, 128)
RAYS = erp_rays(*SHAPE)


def box(height, ceiling=1.1, half_sizes=(2.0, 3.0)):
    """Depth (H, W) of a room whose camera is `height` meters above the floor and `ceiling` meters below the ceiling."""
    vertical = np.where(RAYS[..., 1] > 0, height, ceiling) / np.maximum(np.abs(RAYS[..., 1]), 1e-9)
    sides = [half / np.maximum(np.abs(RAYS[..., axis]), 1e-9) for half, axis in zip(half_sizes, (0, 2), strict=True)]
    return np.minimum.reduce([vertical, *sides])


def measure(depth, scale=0.001):
    implied = normals_from_depth(depth)
    return measure_floor(find_surfaces(SHAPE, implied, depth), implied, scale)


def evaluate(*floors):
    return evaluate_floors([f"room {number}" for number in range(len(floors))], floors)


@pytest.mark.parametrize("height", [1.1, 1.5, 1.8])
def test_box(height):
    floor = measure(box(height))
    assert floor.height == pytest.approx(height, abs=1e-6)
    assert floor.flatness > 0.9
    assert evaluate(floor).problems == []


def test_tables_are_ignored():
    """A table hides a fifth of the floor."""
    depth = box(1.5)
    table = (RAYS[..., 1] > 0.5) & (np.arange(SHAPE[1]) < SHAPE[1] // 5)
    depth[table] = 0.7 / RAYS[table][:, 1]
    assert measure(depth).height == pytest.approx(1.5, abs=1e-6)


@pytest.mark.parametrize("height", [1.05, 1.3, 1.8])
@pytest.mark.parametrize("wrong", [1000 / 512, 512 / 1000, 4, 1 / 4, 10, 1 / 10, 4000 / 512, 512 / 4000])
def test_wrong_units_are_implausible(height, wrong):
    finding = evaluate(measure(box(height) * wrong))
    assert finding.problems == [f"wrong unit of depth: the camera would be {height * wrong:.2f} m above the floor"]


@pytest.mark.parametrize(("stored", "assumed"), [("1 mm", 4000), ("1/512 m", 4000), ("1/4000 m", 512), ("1 cm", 1000)])
def test_correct_unit_is_suggested_first(stored, assumed):
    depth = box(1.5) * UNITS_PER_METER[stored] / assumed
    assert f"1.50 m if depth were in {stored}" in evaluate(measure(depth, 1 / assumed)).rows[-1].partition(" or ")[0]


def test_mixed_units_are_implausible():
    low, high = (FloorMeasurement(height, 0.9, 0.001) for height in (0.77, 1.5))
    for floors in ((low, high), (low, low, high, high), (low, high, high), (low, low, high)):
        assert evaluate(*floors).problems


def test_outliers_are_listed():
    floors = [FloorMeasurement(height, 0.9, 0.001) for height in (1.4, 1.5, 0.72, 1.6, float("nan"))]
    finding = evaluate(*floors)
    assert [line.partition(":")[0] for line in finding.outliers] == ["room 2", "room 4"]
    assert finding.problems[0].startswith("2 of 5 panoramas:")


def test_heights_are_compared_with_the_median():
    floors = [FloorMeasurement(height, 0.9, 0.001) for height in (1.3, 1.3, 2.1, 1.35)]
    assert evaluate(*floors).outliers == ["room 2: camera 2.10 m above the floor"]


def test_few_outliers_are_tolerated():
    floors = [FloorMeasurement(1.5, 0.9, 0.001)] * 99 + [FloorMeasurement(2.9, 0.9, 0.001)]
    finding = evaluate(*floors)
    assert finding.problems == []
    assert finding.outliers == ["room 99: camera 2.90 m above the floor"]


@pytest.mark.parametrize("factor", [np.abs(RAYS).max(axis=-1), np.hypot(RAYS[..., 0], RAYS[..., 2])])
def test_other_kinds_of_depth_bend_floors(factor):
    assert "depth is not the distance along the ray" in evaluate(measure(box(1.5) * factor)).problems


def test_no_floor():
    depth = box(1.5)
    depth[SHAPE[0] // 2 :] = 0
    assert evaluate(measure(depth)).problems == ["no floor is found below the camera"]


def test_range_separates_the_closest_units():
    """Cameras at heights of 1.03 to 1.85 m leave the range if 1/512 m and 1 mm are confused."""
    assert HEIGHT_RANGE[0] / (512 / 1000) > 1.85
    assert HEIGHT_RANGE[1] * 512 / 1000 < 1.03
