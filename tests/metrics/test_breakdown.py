"""Where errors lie, against formulas written out in NumPy, on random maps with holes."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from metrics.breakdown import DISTANCES, LATITUDES
from tasks import TASKS, build_evaluator

HEIGHT, WIDTH, CLASSES, COUNT = 36, 72, 6, 5


@pytest.fixture
def truth():
    """Truths with holes of their own: image 1 has no depth, class 5 never occurs, a few depths lie on edges."""
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


def breakdowns(predictions: dict, truth: dict, batch_size: int = COUNT) -> dict:
    evaluator = build_evaluator(tuple(TASKS), CLASSES, with_breakdown=True)
    for start in range(0, COUNT, batch_size):
        part = slice(start, start + batch_size)
        evaluator.update(
            {task: maps[part] for task, maps in predictions.items()}, {key: value[part] for key, value in truth.items()}
        )
    return evaluator.breakdowns()


def plain_errors(predictions: dict, truth: dict) -> dict[str, dict[str, np.ndarray]]:
    """Errors (COUNT, H, W) of all pixels by task and label, and where they count, by formulas of their own."""
    d = truth["depth"][:, 0].double().numpy()
    p = predictions["depth"][:, 0].double().numpy().clip(0.1, 10)
    absolute = np.abs(p - d.clip(0.1, 10))
    cosine = (predictions["normal"] * truth["normal"]).double().sum(1).numpy().clip(-1, 1)
    labels = truth["semantic"].numpy()
    return {
        "depth": {
            "absolute error": absolute,
            "relative error": absolute / d.clip(0.1, 10),
            "mask": truth["depth_mask"][:, 0].numpy(),
        },
        "normal": {"angular error": np.degrees(np.arccos(cosine)), "mask": truth["normal_mask"][:, 0].numpy()},
        "segmentation": {
            "fraction of wrong labels": predictions["segmentation"].argmax(1).numpy() != labels,
            "mask": labels >= 0,
        },
    }


@pytest.mark.parametrize("task", list(TASKS))
def test_against_plain_formulas(task, truth, predictions):
    ours = breakdowns(predictions, truth)[task]
    errors = plain_errors(predictions, truth)[task]
    mask = errors.pop("mask")
    latitude = (np.arange(HEIGHT) + 0.5) / HEIGHT * 180 - 90
    latitude = np.broadcast_to(latitude[:, None], mask.shape)
    depth = np.where(truth["depth_mask"][:, 0].numpy(), truth["depth"][:, 0].numpy(), np.nan)
    assert {kind.label for kind in ours.by_latitude.means} == errors.keys()
    for profile, values, edges in ((ours.by_distance, depth, DISTANCES), (ours.by_latitude, latitude, LATITUDES)):
        assert (profile.edges == edges).all()
        for bin_, (low, high) in enumerate(pairwise(edges)):
            last = high == edges[-1]
            inside = mask & (values >= low) & ((values <= high) if last else (values < high))
            assert profile.counts[bin_] == inside.sum() > 0
            for kind, means in profile.means.items():
                assert means[bin_] == pytest.approx(errors[kind.label][inside].mean(), rel=1e-5), (kind, bin_)


def test_confusion_against_plain_counting(truth, predictions):
    ours = breakdowns(predictions, truth)
    labels, predicted = truth["semantic"].numpy(), predictions["segmentation"].argmax(1).numpy()
    expected = [[((labels == i) & (predicted == j)).sum() for j in range(CLASSES)] for i in range(CLASSES)]
    assert (ours["segmentation"].confusion == expected).all()
    assert ours["depth"].confusion is None
    assert ours["normal"].confusion is None


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_any_batch_size_and_order(batch_size, truth, predictions):
    """To the last bit: sums are kept per image and added in the order of the dataset."""
    whole, parts = breakdowns(predictions, truth), breakdowns(predictions, truth, batch_size)
    backward = breakdowns(
        {task: maps.flip(0) for task, maps in predictions.items()},
        {key: value[::-1] if isinstance(value, list) else value.flip(0) for key, value in truth.items()},
    )
    for task in TASKS:
        for other in (parts[task], backward[task]):
            for name in ("by_distance", "by_latitude"):
                ours, theirs = getattr(whole[task], name), getattr(other, name)
                assert (ours.counts == theirs.counts).all()
                for kind, means in ours.means.items():
                    assert np.array_equal(means, theirs.means[kind], equal_nan=True)


def test_processes_join(truth, predictions, monkeypatch):
    """What another process saw is part of the whole: two halves, gathered, are all images."""
    whole = breakdowns(predictions, truth)["depth"].by_distance
    evaluators = [build_evaluator(("depth",), CLASSES, with_breakdown=True) for _ in range(2)]
    for rank, evaluator in enumerate(evaluators):
        evaluator.update(
            {"depth": predictions["depth"][rank::2]}, {key: value[rank::2] for key, value in truth.items()}
        )
    sums = [evaluator.metrics["depth"].profiles._sums for evaluator in evaluators]
    monkeypatch.setattr("metrics.breakdown.gather_objects", lambda _: sums)
    joined = evaluators[0].metrics["depth"].breakdown().by_distance
    assert (joined.counts == whole.counts).all()
    assert all(np.array_equal(joined.means[kind], whole.means[kind]) for kind in whole.means)


def test_an_empty_bin_has_no_mean(truth, predictions):
    """Not zero, and no warning."""
    truth["depth_mask"] &= truth["depth"] < 4
    profile = breakdowns(predictions, truth)["depth"].by_distance
    assert (profile.counts[4:] == 0).all()
    for means in profile.means.values():
        assert np.isnan(means[4:]).all()
        assert np.isfinite(means[:4]).all()


def test_a_prediction_that_is_not_a_number_shows(truth, predictions):
    predictions["depth"][0, 0, 0, :] = torch.nan
    profile = breakdowns(predictions, truth)["depth"].by_latitude
    for means in profile.means.values():
        assert np.isnan(means[0])
        assert np.isfinite(means[1:]).all()


def test_miou_of_an_image_over_the_classes_that_occur():
    """Two of six classes occur, IoU 1 and 0.5, and a third is predicted: 0."""
    labels = torch.tensor([[[0, 0, 1, 1, -1]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 0, 1, 2, 3]]]), CLASSES).movedim(-1, 1).float()
    metric = TASKS["segmentation"].metric(CLASSES)
    values = metric.batch_metrics(logits, {"semantic": labels}).values[0]
    assert dict(zip(metric.image_metric_names, values.tolist(), strict=True)) == pytest.approx(
        {"mIoU_per_image": 1.5 / 6, "mIoU_occurring": 1.5 / 3}
    )
