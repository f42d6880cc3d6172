"""Mirrored, flipped, rotated and unrelated maps are detected by their edges."""

import cv2
import numpy as np
import pytest

from datasets.checks.alignment import (
    depth_edges,
    evaluate_alignments,
    label_edges,
    measure_alignment,
    normal_edges,
    rgb_edges,
)

HEIGHT, WIDTH = 64, 128


def patches(seed):
    """Labels (H, W) of random patches that wrap around at the left and right borders."""
    noise = np.random.default_rng(seed).normal(size=(HEIGHT, WIDTH)).astype(np.float32)
    smooth = cv2.GaussianBlur(np.hstack([noise] * 3), (0, 0), 4)[:, WIDTH : 2 * WIDTH]
    return np.digitize(smooth, np.quantile(smooth, (0.25, 0.5, 0.75)))


def evaluate(change, reference=label_edges, num=3):
    """Evaluate images, colored by labels and modified by `change(rgb, seed)`, against `reference` of the labels."""
    colors = np.random.default_rng(0).uniform(size=(4, 3))
    alignments = []
    for seed in range(num):
        labels = patches(seed)
        alignments.append(measure_alignment(rgb_edges(change(colors[labels], seed)), reference(labels)))
    return evaluate_alignments("RGB", "labels", [f"room {number}" for number in range(num)], alignments)


@pytest.mark.parametrize(
    "reference",
    [
        label_edges,
        lambda labels: depth_edges(1.0 + labels),
        lambda labels: normal_edges(np.eye(3)[labels % 3]),
        lambda labels: label_edges(np.where(np.arange(HEIGHT)[:, None] < 10, -1, labels)),
    ],
)
def test_matching_maps(reference):
    finding = evaluate(lambda rgb, _: rgb, reference)
    assert finding.problems == []
    assert finding.outliers == []


def test_one_pixel_offset_is_tolerated():
    assert evaluate(lambda rgb, _: np.roll(rgb, 1, axis=1)).problems == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rgb, _: rgb[:, ::-1], "mirrored"),
        (lambda rgb, _: rgb[::-1], "upside down"),
        (lambda rgb, _: rgb[::-1, ::-1], "rotated by 180 degrees"),
        (lambda rgb, _: np.roll(rgb, WIDTH // 2, axis=1), "turned by 180 degrees"),
        (lambda rgb, _: np.roll(rgb, -WIDTH // 4, axis=1), "turned by 90 degrees"),
    ],
)
def test_all_mismatched(change, words):
    finding = evaluate(change)
    assert finding.problems == ["RGB and labels do not match"]
    assert words in finding.rows[-1]


def test_different_rotations():
    finding = evaluate(lambda rgb, seed: np.roll(rgb, 20 + 17 * seed, axis=1))
    assert finding.problems


def test_one_mismatched():
    finding = evaluate(lambda rgb, seed: rgb[:, ::-1] if seed == 3 else rgb, num=5)
    assert finding.problems == ["1 of 5 panoramas: RGB and labels do not match"]
    assert finding.outliers == ["room 3: RGB would match labels better mirrored"]


def test_unrelated_images():
    other = np.random.default_rng(5).uniform(size=(4, 3))
    assert evaluate(lambda rgb, seed: other[patches(10 + seed)]).problems


def test_no_edges():
    blank = lambda rgb, seed: np.zeros_like(rgb)  # noqa: E731
    assert evaluate(blank).problems == ["no edges of RGB, or of labels"]
    finding = evaluate(lambda rgb, seed: blank(rgb, seed) if seed == 1 else rgb, num=5)
    assert finding.outliers == ["room 1: no edges of RGB, or of labels"]
    assert finding.problems
    assert measure_alignment(label_edges(patches(0)), np.full((HEIGHT, WIDTH), np.nan)) is None
