"""The class sets of NYU v2: 40 classes, and 13 classes merged from them."""

import numpy as np

from datasets.classes import SemanticClasses
from utils.colors import distinct_colors
from utils.tasks import IGNORE_LABEL

_NAMES_40 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture"),
    *("counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat", "clothes"),
    *("ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard"),
    *("person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure", "otherfurniture"),
    "otherprop",
)
_NAMES_13 = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall"),
    "window",
)
# For each of the 40 classes its id among the 13, from 1. Doors become wall, floor mats become floor.
_ID_13 = (
    *(12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5, 7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7),
    *(7, 7, 7, 7, 6, 7),
)

NYUV2_40 = SemanticClasses(names=_NAMES_40, colors=distinct_colors(40))
NYUV2_13 = SemanticClasses(names=_NAMES_13, colors=distinct_colors(13))
CLASS_SETS = {13: NYUV2_13, 40: NYUV2_40}
# (41,) int8: for each label 0 to 39 its label among the 13. The last entry maps -1 (ignore) to itself.
LABELS_13_OF_40 = np.array([*(number - 1 for number in _ID_13), IGNORE_LABEL], np.int8)
