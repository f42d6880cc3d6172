import pytest

from tasks import TASKS
from utils.errors import UserError
from utils.tasks import MAP_OF_TASK, TASK_NAMES, TASK_VALUES, join_tasks, parse_tasks


@pytest.mark.parametrize("value", TASK_VALUES)
def test_values_and_names(value):
    tasks = parse_tasks(value)
    assert join_tasks(tasks) == value
    assert list(tasks) == [task for task in TASKS if task in tasks], "the order is always the same"


def test_unknown():
    with pytest.raises(UserError, match="depth_flow"):
        parse_tasks("depth_flow")


def test_every_task_has_ground_truth():
    assert MAP_OF_TASK.keys() == set(TASK_NAMES)
