"""The images of a report: the worst, the best and a sample of all. Memory does not depend on the dataset size."""

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch

from tasks import TASKS
from utils.distributed import gather_objects
from visual.displays import DisplaySettings
from visual.drawing import encode_image
from visual.panels import to_uint8

GROUP_SIZE = 20  # images in each group: the worst, the best, and a sample of all
TILES = ("RGB", "prediction", "ground truth", "error")
_TILE_WIDTH = 384  # pixels: larger panoramas are shrunk
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Shown(NamedTuple):
    """An image of the report: index in the dataset, id, score, and its TILES as JPEG or PNG files."""

    index: int
    id: str
    score: float
    tiles: tuple[bytes, ...]


class Gallery:
    """Collects small copies of the images to show for each task.

    Args:
        tasks: tasks to show.
        display_settings: for drawing the tiles.
        group_size: number of images per group, see `choose`.
    """

    def __init__(self, tasks: tuple[str, ...], display_settings: DisplaySettings, group_size: int = GROUP_SIZE):
        self._display_settings = display_settings
        self._group_size = group_size
        self._kept: dict[str, dict[int, Shown]] = {task: {} for task in tasks}

    def add(self, batch: dict, predictions: dict[str, torch.Tensor], rows: list[dict]) -> None:
        """Add a batch, given its rows of `metrics.evaluator.Evaluator`."""
        for i, row in enumerate(rows):
            for task, kept in self._kept.items():
                score = row.get(score_key(task))
                if score is None:  # no ground truth
                    continue
                scores = {index: shown.score for index, shown in kept.items()} | {row["index"]: score}
                chosen = self._choose(task, scores)
                if row["index"] in chosen:
                    tiles = draw_tiles(task, batch, predictions[task][i], i, self._display_settings)
                    kept[row["index"]] = Shown(row["index"], row["id"], score, tiles)
                    self._kept[task] = {index: kept[index] for index in kept if index in chosen}

    def join(self) -> dict[str, list[Shown]]:
        """The images to show for each task, from all processes, from the worst to the best."""
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
    """Indices of the worst images, the best ones, and a sample of all: `group_size` each, fewer where groups overlap.

    The sample is chosen by a fixed rule, independent of the scores. Each group is the top of an order, so choosing
    from the choices of parts is the same as choosing from the whole.
    """
    by_badness = sorted(badness, key=badness.get)
    spread = sorted(badness, key=lambda index: index * _GOLDEN_RATIO % 1)  # evenly distributed
    return {*by_badness[:group_size], *by_badness[-group_size:], *spread[:group_size]}


def badness(task: str, score: float, index: int) -> tuple[float, int]:
    """Sort key of the images of a task, the worst last. NaN is the worst score; for ties, the first image is worse."""
    if math.isnan(score):
        return math.inf, -index
    return -score if TASKS[task].higher_is_better else score, -index


def score_key(task: str) -> str:
    """Key of a task's score in the row of an image."""
    return f"{task}/{TASKS[task].image_metric}"


def draw_tiles(
    task: str, batch: dict, prediction: torch.Tensor, i: int, display_settings: DisplaySettings
) -> tuple[bytes, ...]:
    """The TILES of a prediction (., H, W) for sample i of a batch, as JPEG or PNG files."""
    display = TASKS[task].display
    height, width = prediction.shape[-2:]
    tile_width = min(width, _TILE_WIDTH)
    tile_height = round(height * tile_width / width)
    rows, columns = _nearest(tile_height, height), _nearest(tile_width, width)
    # Nearest pixels, as maps must not be interpolated across edges; resized first, as it is less to draw.
    predicted = display.as_map(prediction[:, rows][:, :, columns])
    ground_truth = display.target_map(batch, i)[rows][:, columns]
    tiles = [
        cv2.resize(to_uint8(batch["rgb"][i]), (tile_width, tile_height), interpolation=cv2.INTER_AREA),
        display.colorize(predicted, display_settings),
        display.colorize(ground_truth, display_settings),
        display.colorize_error(predicted, ground_truth),
    ]
    return tuple(encode_small(tile) for tile in tiles)


def encode_small(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8 as the smaller of a JPEG and a PNG file: photographs are JPEGs, labels PNGs."""
    return min(encode_image(image, ".jpg"), encode_image(image, ".png"), key=len)


def _nearest(small: int, large: int) -> np.ndarray:
    """Indices (small,) for nearest-neighbor resizing of `large` rows or columns to `small`."""
    return ((np.arange(small) + 0.5) * large / small).astype(int)
