"""The 80 classes of COCO 2017, and label maps from COCO-Stuff or from instance outlines."""

from collections.abc import Iterable, Sequence

import numpy as np

from datasets.classes import SemanticClasses
from utils.colors import distinct_colors
from utils.errors import UserError
from utils.extras import import_extra
from utils.tasks import IGNORE_LABEL

_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
_UNUSED_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
_UNLABELED = 255
# The label, 1 to 80, of each category id, 1 to 90; 0 is the background.
LABEL_OF_ID = {id_: label for label, id_ in enumerate((id_ for id_ in range(1, 91) if id_ not in _UNUSED_IDS), start=1)}
ID_OF_LABEL = {label: id_ for id_, label in LABEL_OF_ID.items()}
COCO_CLASSES = SemanticClasses(names=("background", *_NAMES), colors=distinct_colors(81))


def stuff_labels(stored: np.ndarray, first_id: int) -> np.ndarray:
    """Labels (H, W) int8 from a COCO-Stuff map (H, W) uint8: things 1 to 80, stuff 0, unlabeled -1.

    Args:
        stored: the map.
        first_id: the category id that is stored as 0: 0 (unlabeled) or 1, see `find_first_id`.
    """
    table = np.zeros(256, np.int8)
    for id_, label in LABEL_OF_ID.items():
        table[id_ - first_id] = label
    table[[_UNLABELED, *([0] if first_id == 0 else [])]] = IGNORE_LABEL
    return table[stored]


def find_first_id(maps: Iterable[tuple[np.ndarray, np.ndarray]], where: str) -> int:
    """0 if COCO-Stuff maps store category ids, 1 if they store ids minus 1, as the published maps do.

    Args:
        maps: maps (H, W) uint8, each with the boxes (n, 5) of its things.
        where: the folder of the maps, for messages.

    Raises:
        UserError: when the boxes contain neither.
    """
    votes = np.zeros(2, int)
    for stored, boxes in maps:
        for x1, y1, x2, y2, label in boxes.astype(int):
            inside = stored[y1:y2, x1:x2]
            votes += [np.count_nonzero(inside == ID_OF_LABEL[label] - first_id) for first_id in (0, 1)]
    if not votes.any():
        raise UserError(f"{where}: the label maps contain none of the annotated things: expected COCO-Stuff maps")
    return int(votes.argmax())


def instance_labels(annotations: Sequence[dict], height: int, width: int) -> np.ndarray:
    """Labels (H, W) int8 from instance outlines: small instances on top of large ones, crowds (-1) below all others.

    Args:
        annotations: instances and crowds as stored by COCO.
        height, width: H x W.

    Raises:
        UserError: when pycocotools is missing.
    """
    mask = import_extra("pycocotools.mask", "segmentation on COCO without stuff/*.png")
    labels = np.zeros((height, width), np.int8)
    for annotation in sorted(annotations, key=lambda item: (not item["iscrowd"], -item["area"])):
        encoded = mask.frPyObjects(annotation["segmentation"], height, width)
        inside = mask.decode(mask.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)
        labels[inside] = IGNORE_LABEL if annotation["iscrowd"] else LABEL_OF_ID[annotation["category_id"]]
    return labels
