"""Error profiles and confusion matrices against NumPy, on random maps with holes."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from metrics.breakdown import DISTANCES, LATITUDES
from tasks import TASKS, build_evaluator

HEIGHT, WIDTH, CLASSES, COUNT = 36, 72, 6, 5


@pytest.fixture
def batch():
    """Ground truth with holes: image 1 has no depth, class 5 never occurs, some depths lie on bin edges."""
    depth = 0.05 + 11 * torch.rand(COUNT, 1, HEIGHT, WIDTH)
    depth[:, :, ::7] = depth[:, :, ::7].ceil()
    mask = (depth <= 10) & (torch.rand(depth.shape) > 0.2)
    mask[1] = False
    return {
        "index": torch.tensor([3, 0, 4, 1, 2]),
        "id": [f"image {i}" for i in range(COUNT)],
        "depth": depth.masked_fill(~mask, torch.nan),
        "depth_mask": mask,
        "normal": torch.nn.functional.normalize(torch.randn(COUNT, 3, HEIGHT, WIDTH), dim=1),
        "normal_mask": torch.rand(COUNT, 1, HEIGHT, WIDTH) > 0.3,
        "semantic": torch.randint(-1, 5, (COUNT, HEIGHT, WIDTH)),
    }


@pytest.fixture
def predictions():
    return {
        "depth": 10 * torch.rand(COUNT, 1, HEIGHT, WIDTH),
        "normal": torch.nn.functional.normalize(torch.randn(COUNT, 3, HEIGHT, WIDTH), dim=1),
        "segmentation": torch.randn(COUNT, CLASSES, HEIGHT, WIDTH),
    }


def breakdowns(predictions: dict, batch: dict, batch_size: int = COUNT) -> dict:
    evaluator = build_evaluator(tuple(TASKS), CLASSES, with_breakdown=True)
    for start in range(0, COUNT, batch_size):
        part = slice(start, start + batch_size)
        evaluator.update(
            {task: maps[part] for task, maps in predictions.items()}, {key: value[part] for key, value in batch.items()}
        )
    return evaluator.breakdowns()


def plain_errors(predictions: dict, batch: dict) -> dict[str, dict[str, np.ndarray]]:
    """Errors (COUNT, H, W) of all pixels and the valid mask, by task and label."""
    d = batch["depth"][:, 0].double().numpy()
    p = predictions["depth"][:, 0].double().numpy().clip(0.1, 10)
    absolute = np.abs(p - d.clip(0.1, 10))
    cosine = (predictions["normal"] * batch["normal"]).double().sum(1).numpy().clip(-1, 1)
    labels = batch["semantic"].numpy()
    return {
        "depth": {
            "absolute error": absolute,
            "relative error": absolute / d.clip(0.1, 10),
            "mask": batch["depth_mask"][:, 0].numpy(),
        },
        "normal": {"angular error": np.degrees(np.arccos(cosine)), "mask": batch["normal_mask"][:, 0].numpy()},
        "segmentation": {
            "fraction of wrong labels": predictions["segmentation"].argmax(1).numpy() != labels,
            "mask": labels >= 0,
        },
    }


@pytest.mark.parametrize("task", list(TASKS))
def test_against_plain_formulas(task, batch, predictions):
    ours = breakdowns(predictions, batch)[task]
    errors = plain_errors(predictions, batch)[task]
    mask = errors.pop("mask")
    latitude = (np.arange(HEIGHT) + 0.5) / HEIGHT * 180 - 90
    latitude = np.broadcast_to(latitude[:, None], mask.shape)
    depth = np.where(batch["depth_mask"][:, 0].numpy(), batch["depth"][:, 0].numpy(), np.nan)
    assert {kind.label for kind in ours.by_latitude.means} == errors.keys()
    for profile, values, edges in ((ours.by_distance, depth, DISTANCES), (ours.by_latitude, latitude, LATITUDES)):
        assert (profile.edges == edges).all()
        for bin_, (low, high) in enumerate(pairwise(edges)):
            last = high == edges[-1]
            inside = mask & (values >= low) & ((values <= high) if last else (values < high))
            assert profile.counts[bin_] == inside.sum() > 0
            for kind, means in profile.means.items():
                assert means[bin_] == pytest.approx(errors[kind.label][inside].mean(), rel=1e-5), (kind, bin_)


def test_confusion_against_plain_counting(batch, predictions):
    ours = breakdowns(predictions, batch)
    labels, predicted = batch["semantic"].numpy(), predictions["segmentation"].argmax(1).numpy()
    expected = [[((labels == i) & (predicted == j)).sum() for j in range(CLASSES)] for i in range(CLASSES)]
    assert (ours["segmentation"].confusion == expected).all()
    assert ours["depth"].confusion is None
    assert ours["normal"].confusion is None


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_any_batch_size_and_order(batch_size, batch, predictions):
    """Bitwise: sums are stored per image and added in the order of the dataset."""
    whole, parts = breakdowns(predictions, batch), breakdowns(predictions, batch, batch_size)
    backward = breakdowns(
        {task: maps.flip(0) for task, maps in predictions.items()},
        {key: value[::-1] if isinstance(value, list) else value.flip(0) for key, value in batch.items()},
    )
    for task in TASKS:
        for other in (parts[task], backward[task]):
            for name in ("by_distance", "by_latitude"):
                ours, theirs = getattr(whole[task], name), getattr(other, name)
                assert (ours.counts == theirs.counts).all()
                for kind, means in ours.means.items():
                    assert np.array_equal(means, theirs.means[kind], equal_nan=True)


def test_processes_are_combined(batch, predictions, monkeypatch):
    whole = breakdowns(predictions, batch)["depth"].by_distance
    evaluators = [build_evaluator(("depth",), CLASSES, with_breakdown=True) for _ in range(2)]
    for rank, evaluator in enumerate(evaluators):
        evaluator.update(
            {"depth": predictions["depth"][rank::2]}, {key: value[rank::2] for key, value in batch.items()}
        )
    sums = [evaluator.metrics["depth"].profiles._sums for evaluator in evaluators]
    monkeypatch.setattr("metrics.pooling.gather_objects", lambda _: sums)
    joined = evaluators[0].metrics["depth"].breakdown().by_distance
    assert (joined.counts == whole.counts).all()
    assert all(np.array_equal(joined.means[kind], whole.means[kind]) for kind in whole.means)


def test_depth_beyond_the_last_bin(batch, predictions):
    """With --max_depth 13, pixels beyond 10 m only count by latitude."""
    batch["depth"][0], batch["depth_mask"][0] = 12.0, True
    profiles = breakdowns(predictions, batch)["depth"]
    assert profiles.by_distance.counts.sum() == batch["depth_mask"][1:].sum()
    assert profiles.by_latitude.counts.sum() == batch["depth_mask"].sum()


def test_empty_bins_are_nan(batch, predictions):
    batch["depth_mask"] &= batch["depth"] < 4
    profile = breakdowns(predictions, batch)["depth"].by_distance
    assert (profile.counts[4:] == 0).all()
    for means in profile.means.values():
        assert np.isnan(means[4:]).all()
        assert np.isfinite(means[:4]).all()


def test_nan_predictions_are_not_ignored(batch, predictions):
    predictions["depth"][0, 0, 0, :] = torch.nan
    profile = breakdowns(predictions, batch)["depth"].by_latitude
    for means in profile.means.values():
        assert np.isnan(means[0])
        assert np.isfinite(means[1:]).all()
