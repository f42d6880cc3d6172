"""Implausible, clipped and missing depth."""

import numpy as np
import pytest

from datasets.checks.depth_values import evaluate_depth, measure_depth

SHAPE = (64, 128)


@pytest.fixture
def meters():
    return np.random.default_rng(0).uniform(0.5, 5, SHAPE)


def evaluate(*maps, relative_to_largest=False, scale=0.001):
    values = [measure_depth(np.rint(one / scale).clip(0, 65535).astype(np.uint16), scale) for one in maps]
    return evaluate_depth([f"room {number}" for number in range(len(maps))], values, relative_to_largest)


def test_clipped_depth_and_shown_median(meters):
    meters[:16] = 0
    meters[16:32] = 20
    finding = evaluate(meters)
    assert finding.problems == ["1 of 1 panoramas: clipped depth"]
    assert "50.0% of the pixels are valid (up to 10 m)" in finding.rows[0]
    meters[16:32] = np.random.default_rng(1).uniform(15, 25, (16, 128))
    assert evaluate(meters).problems == []
    shown = float(evaluate(meters).rows[0].split()[1])
    assert shown == pytest.approx(np.median(meters[meters > 0]), rel=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda meters: meters / 10, "implausible"),
        (lambda meters: meters * 5, "implausible"),
        (lambda meters: np.where(np.arange(SHAPE[1]) % 4, 0, meters), "is valid"),
        (lambda meters: meters.clip(max=4), "clipped depth"),
        (lambda meters: np.zeros(SHAPE), "is valid"),
    ],
)
def test_wrong_depth_is_a_problem(meters, change, words):
    assert any(words in problem for problem in evaluate(change(meters)).problems)


def test_one_panorama_without_depth(meters):
    finding = evaluate(meters, np.zeros(SHAPE), meters, meters)
    assert finding.problems == ["1 of 4 panoramas: hardly any valid depth"]
    assert finding.outliers == ["room 1: 0.0% of its depth is valid"]


def test_largest_code_as_missing_depth(meters):
    meters[0, 0] = 65.535
    assert evaluate(meters).problems == []
    assert any("65535" in problem for problem in evaluate(meters, relative_to_largest=True).problems)
