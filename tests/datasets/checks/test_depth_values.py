"""Ranges of depth."""

import numpy as np
import pytest

from datasets.checks.depth_values import evaluate_depth, measure_depth

SHAPE = (64, 128)


@pytest.fixture
def metres():
    return np.random.default_rng(0).uniform(0.5, 5, SHAPE)


def evaluate(*maps, relative_to_largest=False, scale=0.001):
    values = [measure_depth(np.rint(one / scale).clip(0, 65535).astype(np.uint16), scale) for one in maps]
    return evaluate_depth([f"room {number}" for number in range(len(maps))], values, relative_to_largest)


def test_values(metres):
    metres[:16] = 0
    metres[16:32] = 20
    finding = evaluate(metres)
    assert finding.problems == ["1 of 1 panoramas: clipped depth"]
    assert "50.0% of the pixels are valid (up to 10 m)" in finding.rows[0]
    metres[16:32] = np.random.default_rng(1).uniform(15, 25, (16, 128))
    assert evaluate(metres).problems == []
    shown = float(evaluate(metres).rows[0].split()[1])
    assert shown == pytest.approx(np.median(metres[metres > 0]), rel=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda metres: metres / 10, "implausible"),
        (lambda metres: metres * 5, "implausible"),
        (lambda metres: np.where(np.arange(SHAPE[1]) % 4, 0, metres), "is valid"),
        (lambda metres: metres.clip(max=4), "clipped depth"),
        (lambda metres: np.zeros(SHAPE), "is valid"),
    ],
)
def test_problems(metres, change, words):
    assert any(words in problem for problem in evaluate(change(metres)).problems)


def test_one_panorama_of_several(metres):
    finding = evaluate(metres, np.zeros(SHAPE), metres, metres)
    assert finding.problems == ["1 of 4 panoramas: hardly any valid depth"]
    assert finding.outliers == ["room 1: 0.0% of its depth is valid"]


def test_a_mark_of_missing_depth_that_would_be_the_largest(metres):
    metres[0, 0] = 65.535
    assert evaluate(metres).problems == []
    assert any("65535" in problem for problem in evaluate(metres, relative_to_largest=True).problems)
