"""Lists of the tasks with ground truth for each training image of NYU v2: published ones, and your own.

* ``.pth``: ``onelabel.pth`` and ``randomlabels.pth`` of MTPSL (Li et al., CVPR 2022), with weights of segmentation,
  depth and normals for each image, by its number in copies M and H. Tasks of weight 0 have no ground truth.
* Other files: text, each line with an image id and its tasks: ``0042 depth normal``.
"""

import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from utils.errors import UserError
from utils.tasks import TASK_NAMES

_KEY = "labels_weights"
_WEIGHT_ORDER = ("segmentation", "depth", "normal")


def read_partial_labels(path: Path, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The tasks with ground truth for each of the images `ids`.

    Args:
        path: the list.
        ids: ids of all training images; for a ``.pth`` they must be of copy M or H, whose ids end in the number.

    Raises:
        UserError: when the file is missing or damaged, or does not list every image exactly once.
    """
    try:
        listed = _read_weights(path) if path.suffix == ".pth" else _read_text(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    if path.suffix == ".pth" and not all(image_id.startswith("train/") for image_id in ids):
        raise UserError(f"{path} numbers the images of copies M and H: for other copies write a list of ids and tasks")
    keys = {image_id: image_id.rpartition("/")[2] if path.suffix == ".pth" else image_id for image_id in ids}
    missing = [image_id for image_id, key in keys.items() if key not in listed]
    if missing:
        raise UserError(f"{path} lacks {len(missing)} of the {len(ids)} training images, for example {missing[0]}")
    return {image_id: listed[key] for image_id, key in keys.items()}


def _read_weights(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)[_KEY]
        rows = stored.items() if isinstance(stored, dict) else enumerate(stored)
        weights = {str(int(number)): torch.as_tensor(row).flatten().tolist() for number, row in rows}
        return {
            number: tuple(task for task, weight in zip(_WEIGHT_ORDER, row, strict=True) if weight != 0)
            for number, row in weights.items()
        }
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a list of MTPSL (a dict with {_KEY} of three tasks), or is damaged") from error


def _read_text(path: Path) -> dict[str, tuple[str, ...]]:
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    for _, *tasks in lines:
        if not set(tasks) <= set(TASK_NAMES):
            raise UserError(f"{path}: expected tasks among {', '.join(TASK_NAMES)} after the id, got {' '.join(tasks)}")
    listed = {image_id: tuple(tasks) for image_id, *tasks in lines}
    if len(listed) < len(lines):
        repeated = next(image_id for image_id, count in Counter(line[0] for line in lines).items() if count > 1)
        raise UserError(f"{path} lists {repeated} in several lines: write all its tasks in one line")
    return listed
