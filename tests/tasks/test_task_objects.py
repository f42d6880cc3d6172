"""Selection of the best model, and accuracies."""

import pytest

from tasks import TASKS


def test_best_metrics():
    """As in the released code: lowest rms, lowest mean angle, highest mIoU."""
    rules = {task.name: (task.best_metric, task.higher_is_better) for task in TASKS.values()}
    assert rules == {"depth": ("rms", False), "normal": ("mean", False), "segmentation": ("mIoU", True)}


def test_is_better():
    assert TASKS["depth"].is_better(0.5, None)
    assert TASKS["depth"].is_better(0.5, 0.6)
    assert not TASKS["depth"].is_better(0.6, 0.6)
    assert TASKS["segmentation"].is_better(0.7, 0.6)
    assert not TASKS["segmentation"].is_better(0.5, 0.6)
    assert not TASKS["normal"].is_better(None, 30.0), "validation without ground truth"
    assert not TASKS["normal"].is_better(float("nan"), None)


def test_accuracies():
    """delta < 1.25, below 11.25 degrees (normal metrics are in percent), mIoU; None if missing or NaN."""
    metrics = {"depth": {"a1": 0.8}, "normal": {"a3": 45.0, "a1": 1.0}, "segmentation": {"mIoU": 0.3, "pixAcc": 0.9}}
    assert {name: task.accuracy(metrics[name]) for name, task in TASKS.items()} == pytest.approx(
        {"depth": 0.8, "normal": 0.45, "segmentation": 0.3}
    )
    assert TASKS["depth"].accuracy({}) is None
    assert TASKS["segmentation"].accuracy({"mIoU": float("nan")}) is None
