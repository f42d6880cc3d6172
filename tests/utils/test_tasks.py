import pytest

from tasks import TASKS
from utils.errors import UserError
from utils.tasks import MAP_OF_TASK, TASK_NAMES, TASK_VALUES, join_tasks, parse_tasks


def test_values_of_the_released_code():
    assert (
        *("depth", "segmentation", "normal", "depth_segmentation", "depth_normal", "normal_segmentation"),
        "depth_normal_segmentation",
    ) == TASK_VALUES


@pytest.mark.parametrize("value", TASK_VALUES)
def test_parse_and_join(value):
    tasks = parse_tasks(value)
    assert join_tasks(tasks) == value
    assert list(tasks) == [task for task in TASKS if task in tasks], "in the order of TASKS"


def test_unknown_task():
    with pytest.raises(UserError, match="depth_flow"):
        parse_tasks("depth_flow")


def test_every_task_has_ground_truth():
    assert MAP_OF_TASK.keys() == set(TASK_NAMES)
