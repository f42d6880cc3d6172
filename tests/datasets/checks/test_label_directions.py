"""Right and wrong labels of a room with known floor, ceiling and walls."""

import numpy as np
import pytest

from datasets.checks.label_directions import evaluate_labels, measure_labels
from datasets.checks.surfaces import find_surfaces, latitudes

SHAPE = (64, 128)
NAMES = ("ceiling", "chair", "floor", "table", "wall")
CEILING, CHAIR, FLOOR, TABLE, WALL = range(5)
LATITUDE = np.broadcast_to(np.degrees(latitudes(SHAPE[0])), SHAPE)
RIGHT = np.select([LATITUDE < -40, LATITUDE > 40], [CEILING, FLOOR], WALL)
RIGHT[38:44, 10:30] = TABLE
NORMAL = np.select([(LATITUDE < -40)[..., None], (LATITUDE > 40)[..., None]], [[0.0, 1, 0], [0.0, -1, 0]], [0.0, 0, 1])


def evaluate(*labels, normal=NORMAL, is_geometry_known=True):
    measured = [
        measure_labels(one.astype(np.int8), one, NAMES, normal, find_surfaces(SHAPE, normal, None)) for one in labels
    ]
    ids = [f"room {number}" for number in range(len(labels))]
    return evaluate_labels(ids, measured, NAMES, is_geometry_known)


@pytest.mark.parametrize("normal", [NORMAL, None])
def test_right_labels(normal):
    finding = evaluate(RIGHT, RIGHT, normal=normal)
    assert finding.problems == []
    assert finding.outliers == []


@pytest.mark.parametrize("normal", [NORMAL, None])
@pytest.mark.parametrize(
    "wrong",
    [
        (RIGHT + 1) % 5,
        (RIGHT - 1) % 5,
        RIGHT[::-1],
        np.array([FLOOR, CHAIR, CEILING, TABLE, WALL])[RIGHT],
        np.array([CEILING, CHAIR, TABLE, FLOOR, WALL])[RIGHT],
    ],
    ids=["+1", "-1", "upside down", "floor and ceiling swapped", "floor and table swapped"],
)
def test_wrong_labels(normal, wrong):
    finding = evaluate(wrong, wrong, normal=normal)
    assert any(problem.startswith("wrong labels") for problem in finding.problems)
    finding = evaluate(RIGHT, RIGHT, wrong, RIGHT, RIGHT, normal=normal)
    assert finding.problems[-1] == "1 of 5 panoramas: labels that contradict the geometry"
    assert finding.outliers[0].startswith("room 2:")


def test_walls_must_be_vertical():
    """Wall and table are swapped, and the table is large; floor and ceiling are right."""
    labels = RIGHT.copy()
    labels[56:, :100] = TABLE
    wrong = np.array([CEILING, CHAIR, FLOOR, WALL, TABLE])[labels]
    assert any("of wall is where it belongs" in problem for problem in evaluate(wrong).problems)


def test_implausible_class_frequencies():
    assert "100.0% of the labels are chair" in evaluate(np.full(SHAPE, CHAIR)).problems
    only_furniture = np.where(np.arange(SHAPE[1]) % 2, CHAIR, TABLE) * np.ones(SHAPE, int)
    assert "labels lack floor, ceiling and wall" in evaluate(only_furniture).problems


def test_few_labels():
    empty = np.full(SHAPE, -1)
    assert evaluate(empty, empty).problems == ["no pixel has a label"]
    few = empty.copy()
    few[:3] = RIGHT[:3]
    assert "only 4.7% of the pixels have a label" in evaluate(few).problems
    finding = evaluate(RIGHT, empty, RIGHT, RIGHT)
    assert finding.problems == ["1 of 4 panoramas: hardly any label"]
    assert finding.outliers == ["room 1: 0.0% of its pixels have a label"]


def test_labels_are_not_compared_with_wrong_depth():
    assert evaluate(RIGHT[::-1], is_geometry_known=False).problems == []
