"""Names of the tasks and shared constants. Imports nothing heavy; the tasks themselves are defined in `tasks`.

Semantic segmentation has several names, of which files and checkpoints keep the released code's:

* ``segmentation``: the task, its predictions (logits), its losses and metrics;
* ``semantic``: the ground truth in a batch, and folders and columns of files;
* ``labels``: class indices, predicted or true; *label ids*: classes as a dataset's files store them.

British spellings survive only where files hold them, so that files of earlier versions stay readable: units
("metres ...", "millimetres"), the key ``class_colours`` of checkpoints, ``colour`` and ``colours`` in descriptions of
predictions, and the file name ending ``_labels_colour.png``.
"""

from itertools import combinations

from utils.errors import UserError

MAX_DEPTH = 10.0  # meters: the range of the depth head and of every valid depth
IGNORE_LABEL = -1  # of pixels without a class
NO_LABEL = 255  # the same in predictions, which have 8 bits
METERS = "metres along the ray"  # the unit of depth as written to checkpoints and results
ALONG_AXIS = "metres along the optical axis"  # the same for perspective images
RELATIVE = "relative: the largest depth of each image is 10"  # the same for Structured3D, as in the paper

TASK_NAMES = ("depth", "normal", "segmentation")  # of panoramas, in the order of `tasks.TASKS`
# Their ground truth: its key in samples and its name in datasets, in the order of a list's columns.
MAP_OF_TASK = {"depth": "depth", "segmentation": "semantic", "normal": "normal"}
DETECTION = "detection"
PERSPECTIVE_TASK_NAMES = (DETECTION, "segmentation", "depth", "normal")  # of images of perspective cameras
CLASS_TASKS = (DETECTION, "segmentation")  # tasks that predict classes
# The values of --task: all combinations, in the released code's order; each is spelled in the order of TASK_NAMES.
TASK_VALUES = tuple(
    "_".join(sorted(tasks, key=TASK_NAMES.index))
    for number in range(1, len(TASK_NAMES) + 1)
    for tasks in combinations(MAP_OF_TASK, number)
)


def parse_tasks(value: str) -> tuple[str, ...]:
    """Task names, in the order of `tasks.TASKS`, from a value of --task such as ``depth_segmentation``.

    Raises:
        UserError: when the value is not one of TASK_VALUES.
    """
    if value not in TASK_VALUES:
        raise UserError(f"--task {value}: choose one of {', '.join(TASK_VALUES)}")
    return tuple(value.split("_"))


def join_tasks(tasks: tuple[str, ...]) -> str:
    """The value of --task for these task names: the inverse of `parse_tasks`."""
    return "_".join(tasks)
