import pytest

from utils.errors import UserError
from utils.tasks import TASK_VALUES, TASKS, join_tasks, parse_tasks


@pytest.mark.parametrize("value", TASK_VALUES)
def test_values_and_names(value):
    tasks = parse_tasks(value)
    assert join_tasks(tasks) == value
    assert list(tasks) == [task for task in TASKS if task in tasks], "the order is always the same"


def test_unknown():
    with pytest.raises(UserError, match="depth_flow"):
        parse_tasks("depth_flow")


def test_what_is_best():
    rules = {task.name: (task.best_metric, task.higher_is_better) for task in TASKS.values()}
    assert rules == {"depth": ("rms", False), "normal": ("mean", False), "segmentation": ("mIoU", True)}


def test_best_scores():
    assert TASKS["depth"].is_better(0.5, None)
    assert TASKS["depth"].is_better(0.5, 0.6)
    assert not TASKS["depth"].is_better(0.6, 0.6)
    assert TASKS["segmentation"].is_better(0.7, 0.6)
    assert not TASKS["segmentation"].is_better(0.5, 0.6)
    assert not TASKS["normal"].is_better(None, 30.0), "a validation without truth is no improvement"
    assert not TASKS["normal"].is_better(float("nan"), None)
