"""Which tasks each training image of NYU v2 has ground truth of: published lists, and your own.

* ``.pth``: those of MTPSL (Li et al., CVPR 2022), ``onelabel.pth`` and ``randomlabels.pth``: of each image by its
  number in copies M and H, weights of segmentation, depth and normals; a task with the weight 0 has no ground truth.
* Other files: text with an id and the tasks in each line, ``0042 depth normal``.
"""

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from utils.errors import UserError
from utils.tasks import TASK_NAMES

_KEY = "labels_weights"
_ORDER = ("segmentation", "depth", "normal")  # of the weights


def read_partial_labels(path: Path, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The tasks with ground truth of each of the images `ids`.

    Args:
        path: of the list.
        ids: of all training images; for a ``.pth`` those of copy M or H, which end in the number.

    Raises:
        UserError: when the file is missing, damaged, or does not name every image once.
    """
    try:
        named = _read_weights(path) if path.suffix == ".pth" else _read_text(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    if path.suffix == ".pth" and not all(one.startswith("train/") for one in ids):
        raise UserError(f"{path} numbers the images of copies M and H: for other copies write a list of ids and tasks")
    key_of = {one: one.rpartition("/")[2] if path.suffix == ".pth" else one for one in ids}
    missing = [one for one, key in key_of.items() if key not in named]
    if missing:
        raise UserError(f"{path} does not name {len(missing)} of the {len(ids)} training images, {missing[0]} for one")
    return {one: named[key] for one, key in key_of.items()}


def _read_weights(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)[_KEY]
        rows = stored.items() if isinstance(stored, dict) else enumerate(stored)
        weights = {str(int(number)): torch.as_tensor(row).flatten().tolist() for number, row in rows}
        return {
            number: tuple(task for task, weight in zip(_ORDER, row, strict=True) if weight != 0)
            for number, row in weights.items()
        }
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a list of MTPSL, a dict with {_KEY} of three tasks, or is damaged") from error


def _read_text(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    for _, *tasks in lines:
        if not set(tasks) <= set(TASK_NAMES):
            raise UserError(f"{path}: after the id expected some of {', '.join(TASK_NAMES)}, not {' '.join(tasks)}")
    tasks_of = {image_id: tuple(tasks) for image_id, *tasks in lines}
    if len(tasks_of) < len(lines):
        twice = next(one for one, count in Counter(image_id for image_id, *_ in lines).items() if count > 1)
        raise UserError(f"{path} names {twice} in several lines: write all its tasks in one")
    return tasks_of
