"""The 80 classes of COCO 2017, and their label maps, from instances or from the maps of COCO-Stuff."""

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
    """Labels (H, W) int8 of a map of COCO-Stuff (H, W) uint8: things 1 to 80, stuff 0, unlabeled -1.

    Args:
        first_id: what the number 0 stands for: the category id 0, unlabeled, or 1.
    """
    table = np.zeros(256, np.int8)
    for id_, label in LABEL_OF_ID.items():
        table[id_ - first_id] = label
    table[[_UNLABELED, *([0] if first_id == 0 else [])]] = IGNORE_LABEL
    return table[stored]


def find_first_id(maps: Iterable[tuple[np.ndarray, np.ndarray]], where: str) -> int:
    """Whether maps of COCO-Stuff hold category ids or, as the published ones do, ids minus 1: 0 or 1.

    Args:
        maps: (H, W) uint8, each with the boxes (n, 5) of the things that it shows.

    Raises:
        UserError: when boxes hold neither.
    """
    votes = np.zeros(2, int)
    for stored, boxes in maps:
        for x1, y1, x2, y2, label in boxes.astype(int):
            inside = stored[y1:y2, x1:x2]
            votes += [np.count_nonzero(inside == ID_OF_LABEL[label] - first_id) for first_id in (0, 1)]
    if not votes.any():
        raise UserError(f"{where}: the label maps show none of the annotated things: expected those of COCO-Stuff")
    return int(votes.argmax())


def instance_labels(annotations: Sequence[dict], height: int, width: int) -> np.ndarray:
    """Labels (H, W) int8 by the outlines of instances: smaller ones before larger ones, crowds -1 where nothing is.

    Args:
        annotations: as COCO stores them, those of crowds as well.
    """
    mask = import_extra("pycocotools.mask", "segmentation on COCO without stuff/*.png")
    labels = np.zeros((height, width), np.int8)
    for one in sorted(annotations, key=lambda one: (not one["iscrowd"], -one["area"])):
        encoded = mask.frPyObjects(one["segmentation"], height, width)
        inside = mask.decode(mask.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)
        labels[inside] = IGNORE_LABEL if one["iscrowd"] else LABEL_OF_ID[one["category_id"]]
    return labels
