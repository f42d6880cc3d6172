"""Which images a report shows: the worst, the best and some of all the others, whatever the size of the dataset."""

import math
from typing import NamedTuple

import numpy as np
import torch

from datasets.panorama import resize_rgb
from tasks import TASKS
from visual.displays import Look
from utils.distributed import gather_objects
from visual.panels import as_picture
from visual.drawing import encode_picture

GROUP_SIZE = 20  # images among the worst, among the best, and drawn from all
TILES = ("RGB", "prediction", "truth", "error")
_TILE_WIDTH = 384  # pixels: tiles of larger panoramas are shrunk to at most this
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Shown(NamedTuple):
    """An image that is shown: its place in the dataset, its score, and its TILES as JPEG or PNG files."""

    index: int
    id: str
    score: float
    tiles: tuple[bytes, ...]


class Gallery:
    """Keeps small pictures of the images worth showing of each task, and forgets all others on the way.

    Args:
        tasks: which tasks to show.
        look: what the pictures depend on.
        group_size: how many images to keep of each group, see `choose`.
    """

    def __init__(self, tasks: tuple[str, ...], look: Look, group_size: int = GROUP_SIZE):
        self._look = look
        self._group_size = group_size
        self._kept: dict[str, dict[int, Shown]] = {task: {} for task in tasks}

    def add(self, batch: dict, predictions: dict[str, torch.Tensor], rows: list[dict]) -> None:
        """Keep what should be shown of a batch, given its rows of `metrics.evaluator.Evaluator`."""
        for i, row in enumerate(rows):
            for task, kept in self._kept.items():
                score = row.get(score_key(task))
                if score is None:  # no truth to judge it by
                    continue
                scores = {index: shown.score for index, shown in kept.items()} | {row["index"]: score}
                chosen = self._choose(task, scores)
                if row["index"] in chosen:
                    tiles = draw_tiles(task, batch, predictions[task][i], i, self._look)
                    kept[row["index"]] = Shown(row["index"], row["id"], score, tiles)
                    self._kept[task] = {index: kept[index] for index in kept if index in chosen}

    def join(self) -> dict[str, list[Shown]]:
        """What to show of each task, of all processes, from the worst to the best."""
        scores = {task: {index: shown.score for index, shown in kept.items()} for task, kept in self._kept.items()}
        gathered = gather_objects(scores)
        joined = {}
        for task, kept in self._kept.items():
            all_scores = {index: score for part in gathered for index, score in part[task].items()}
            chosen = self._choose(task, all_scores)
            parts = gather_objects([shown for index, shown in kept.items() if index in chosen])
            shown = [shown for part in parts for shown in part]
            joined[task] = sorted(shown, key=lambda shown: badness(task, shown.score, shown.index), reverse=True)
        return joined

    def _choose(self, task: str, scores: dict[int, float]) -> set[int]:
        return choose({index: badness(task, score, index) for index, score in scores.items()}, self._group_size)


def choose(badness: dict[int, tuple], group_size: int) -> set[int]:
    """The worst, the best and some more of the images, by index: so many of each, fewer where they are the same ones.

    The third group is drawn from all images by a fixed rule that knows nothing of the scores. Each group is the top of
    one order, so that choosing from what was chosen of parts is choosing from the whole.
    """
    by_badness = sorted(badness, key=badness.get)
    drawn = sorted(badness, key=lambda index: index * _GOLDEN_RATIO % 1)  # such multiples lie evenly between 0 and 1
    return {*by_badness[:group_size], *by_badness[-group_size:], *drawn[:group_size]}


def badness(task: str, score: float, index: int) -> tuple[float, int]:
    """Sorts images of a task, the worst last. A score that is not a number is the worst; of ties the first image is."""
    if math.isnan(score):
        return math.inf, -index
    return -score if TASKS[task].higher_is_better else score, -index


def score_key(task: str) -> str:
    """The key of a task's score in the row of an image."""
    return f"{task}/{TASKS[task].image_figure}"


def draw_tiles(task: str, batch: dict, prediction: torch.Tensor, i: int, look: Look) -> tuple[bytes, ...]:
    """The TILES of a prediction (., H, W) for sample i of a batch, as files."""
    display = TASKS[task].display
    height, width = prediction.shape[-2:]
    tile_width = min(width, _TILE_WIDTH)
    size = round(height * tile_width / width), tile_width
    rows, columns = (_nearest(small, large) for small, large in zip(size, (height, width), strict=True))
    # Maps must not be mixed across an edge, and are made small first: there is less to colour.
    predicted = display.as_map(prediction[:, rows][:, :, columns])
    truth = display.truth_map(batch, i)[rows][:, columns]
    tiles = [
        resize_rgb(as_picture(batch["rgb"][i]), *size),
        display.picture(predicted, look),
        display.picture(truth, look),
        display.error_picture(predicted, truth),
    ]
    return tuple(encode_small(tile) for tile in tiles)


def encode_small(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as the smaller of a JPEG and a PNG file: photographs are JPEGs, labels PNGs."""
    return min(encode_picture(picture, ".jpg"), encode_picture(picture, ".png"), key=len)


def _nearest(small: int, large: int) -> np.ndarray:
    """Which of `large` rows or columns make `small` of them, (small,)."""
    return ((np.arange(small) + 0.5) * large / small).astype(int)
