"""The images of a report: the worst, the best and a sample of all. Memory does not depend on the dataset size."""

import math
from collections.abc import Collection
from typing import NamedTuple

import cv2
import numpy as np
import torch

from tasks import TASKS
from utils.distributed import gather_objects
from visual.color_scale import ColorScale
from visual.displays import DisplaySettings
from visual.drawing import encode_image
from visual.panels import to_uint8

GROUP_SIZE = 20  # images in each group: the worst, the best, and a sample of all
TILES = ("RGB", "prediction", "ground truth", "error")
_TILE_WIDTH = 384  # pixels: larger panoramas are shrunk
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class SmallCopy(NamedTuple):
    """An image with its maps of a task, at the size of tiles.

    Attributes:
        rgb: JPEG or PNG file.
        prediction: map of the task's display, of 16 bits at most.
        target: ground truth, like it; None if there is none.
        error: JPEG or PNG file; None without ground truth.
    """

    rgb: bytes
    prediction: np.ndarray
    target: np.ndarray | None = None
    error: bytes | None = None

    def maps(self) -> tuple[np.ndarray, ...]:
        """The prediction and, if there is any, the ground truth."""
        return (self.prediction,) if self.target is None else (self.prediction, self.target)


class Shown(NamedTuple):
    """An image of the report: index in the dataset, id, score (None without ground truth), and its maps."""

    index: int
    id: str
    score: float | None
    small: SmallCopy


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
                scores = {index: shown.score for index, shown in kept.items()} | {
                    row["index"]: row.get(score_key(task))
                }
                chosen = self._choose(task, scores)
                if row["index"] in chosen:
                    score = row.get(score_key(task))
                    small = copy_small(task, batch, predictions[task][i], i, has_ground_truth=score is not None)
                    kept[row["index"]] = Shown(row["index"], row["id"], score, small)
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

    def _choose(self, task: str, scores: dict[int, float | None]) -> set[int]:
        """Which images to show: of those with ground truth, see `choose`; a sample of all if none has any."""
        known = {index: badness(task, score, index) for index, score in scores.items() if score is not None}
        return choose(known, self._group_size) if known else set(_sample(scores, self._group_size))


def choose(badness: dict[int, tuple], group_size: int) -> set[int]:
    """Indices of the worst images, the best ones, and a sample of all: `group_size` each, fewer where groups overlap.

    The sample is chosen by a fixed rule, independent of the scores. Each group is the top of an order, so choosing
    from the choices of parts is the same as choosing from the whole.
    """
    by_badness = sorted(badness, key=badness.get)
    return {*by_badness[:group_size], *by_badness[-group_size:], *_sample(badness, group_size)}


def badness(task: str, score: float | None, index: int) -> tuple[float, int]:
    """Sort key of the images of a task, the worst last.

    NaN is the worst score; for ties, and without scores, the first image is worse.
    """
    if score is None:
        return 0.0, -index
    if math.isnan(score):
        return math.inf, -index
    return -score if TASKS[task].higher_is_better else score, -index


def score_key(task: str) -> str:
    """Key of a task's score in the row of an image."""
    return f"{task}/{TASKS[task].image_metric}"


def copy_small(task: str, batch: dict, prediction: torch.Tensor, i: int, has_ground_truth: bool = True) -> SmallCopy:
    """A small copy of sample i of a batch, of its prediction (., H, W) and of its ground truth, if it has any."""
    display = TASKS[task].display
    height, width = prediction.shape[-2:]
    tile_width = min(width, _TILE_WIDTH)
    tile_height = round(height * tile_width / width)
    rows, columns = _nearest(tile_height, height), _nearest(tile_width, width)
    # Nearest pixels, as maps must not be interpolated across edges.
    predicted = display.as_map(prediction[:, rows][:, :, columns])
    rgb = cv2.resize(to_uint8(batch["rgb"][i]), (tile_width, tile_height), interpolation=cv2.INTER_AREA)
    small = SmallCopy(encode_small(rgb), _in_16_bits(predicted))
    if not has_ground_truth:
        return small
    ground_truth = display.target_map(batch, i)[rows][:, columns]
    error = encode_small(display.colorize_error(predicted, ground_truth))
    return small._replace(target=_in_16_bits(ground_truth), error=error)


def draw_tiles(small: SmallCopy, task: str, settings: DisplaySettings, scale: ColorScale | None) -> dict[str, bytes]:
    """The tiles of an image as JPEG or PNG files, by their captions; maps are drawn in the colors of a scale."""
    maps = [encode_small(TASKS[task].display.colorize(values, settings, scale)) for values in small.maps()]
    tiles = [small.rgb, *maps, *([] if small.error is None else [small.error])]
    return dict(zip(TILES, tiles, strict=False))  # the last two need ground truth


def encode_small(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8 as the smaller of a JPEG and a PNG file: photographs are JPEGs, labels PNGs."""
    return min(encode_image(image, ".jpg"), encode_image(image, ".png"), key=len)


def _sample(indices: Collection[int], size: int) -> list[int]:
    """Some of the indices, evenly distributed, by a fixed rule."""
    return sorted(indices, key=lambda index: index * _GOLDEN_RATIO % 1)[:size]


def _in_16_bits(values: np.ndarray) -> np.ndarray:
    """A map in less memory, which is enough for its colors."""
    return values.astype(np.float16 if values.dtype.kind == "f" else np.int16)


def _nearest(small: int, large: int) -> np.ndarray:
    """Indices (small,) for nearest-neighbor resizing of `large` rows or columns to `small`."""
    return ((np.arange(small) + 0.5) * large / small).astype(int)
