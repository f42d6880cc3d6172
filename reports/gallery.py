"""The images of a report: the worst, the best, and a sample of all. Memory does not depend on the dataset size."""

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
_TILE_WIDTH = 384  # pixels: larger panoramas are reduced to this
_GOLDEN_RATIO = (5**0.5 - 1) / 2


class Thumbnail(NamedTuple):
    """A reduced image with its maps of a task.

    Attributes:
        rgb: JPEG or PNG file.
        prediction: map of the task's display, 16 bits.
        target: ground truth map, 16 bits; None without ground truth.
        error: JPEG or PNG file; None without ground truth.
    """

    rgb: bytes
    prediction: np.ndarray
    target: np.ndarray | None = None
    error: bytes | None = None

    def maps(self) -> tuple[np.ndarray, ...]:
        """The prediction and, if available, the ground truth."""
        return (self.prediction,) if self.target is None else (self.prediction, self.target)


class GalleryImage(NamedTuple):
    """An image of the report.

    Attributes:
        index: index in the dataset.
        id: id in the dataset.
        score: value of the task's image metric; None without ground truth.
        thumbnail: reduced image and maps.
    """

    index: int
    id: str
    score: float | None
    thumbnail: Thumbnail


class Gallery:
    """Collects thumbnails of the images to show for each task.

    Args:
        tasks: tasks to show.
        group_size: number of images per group, see `choose`.
    """

    def __init__(self, tasks: tuple[str, ...], group_size: int = GROUP_SIZE):
        self._group_size = group_size
        self._images: dict[str, dict[int, GalleryImage]] = {task: {} for task in tasks}

    def add(self, batch: dict, predictions: dict[str, torch.Tensor], rows: list[dict]) -> None:
        """Add a batch, given its rows of `metrics.evaluator.Evaluator`."""
        for i, row in enumerate(rows):
            index = row["index"]
            for task, images in self._images.items():
                score = row.get(score_key(task))
                scores = {other: image.score for other, image in images.items()} | {index: score}
                chosen = self._choose(task, scores)
                if index in chosen:
                    thumbnail = make_thumbnail(task, batch, predictions[task][i], i, has_ground_truth=score is not None)
                    images[index] = GalleryImage(index, row["id"], score, thumbnail)
                self._images[task] = {other: image for other, image in images.items() if other in chosen}

    def join(self) -> dict[str, list[GalleryImage]]:
        """The images to show for each task, from all processes, from the worst to the best."""
        scores = {
            task: {index: image.score for index, image in images.items()} for task, images in self._images.items()
        }
        gathered = gather_objects(scores)
        joined = {}
        for task, images in self._images.items():
            all_scores = {index: score for part in gathered for index, score in part[task].items()}
            chosen = self._choose(task, all_scores)
            parts = gather_objects([image for index, image in images.items() if index in chosen])
            shown = [image for part in parts for image in part]
            joined[task] = sorted(shown, key=lambda image: badness(task, image.score, image.index), reverse=True)
        return joined

    def _choose(self, task: str, scores: dict[int, float | None]) -> set[int]:
        """Indices of the images to show: see `choose`; a sample of all if no image has ground truth."""
        ranked = {index: badness(task, score, index) for index, score in scores.items() if score is not None}
        return choose(ranked, self._group_size) if ranked else set(_sample(scores, self._group_size))


def choose(badness: dict[int, tuple], group_size: int) -> set[int]:
    """Indices of the `group_size` worst images, the `group_size` best ones, and a sample of all of the same size.

    The groups may overlap. The sample does not depend on the scores. Each group contains the first images in some
    order, so choosing from the choices of several parts is the same as choosing from the whole.
    """
    by_badness = sorted(badness, key=badness.get)
    return {*by_badness[:group_size], *by_badness[-group_size:], *_sample(badness, group_size)}


def badness(task: str, score: float | None, index: int) -> tuple[float, int]:
    """Sort key of the images of a task; the worst image has the largest key.

    NaN is the worst score; for ties, and without scores, earlier images are worse.
    """
    if score is None:
        return 0.0, -index
    if math.isnan(score):
        return math.inf, -index
    return -score if TASKS[task].higher_is_better else score, -index


def score_key(task: str) -> str:
    """Key of a task's image metric in the row of an image."""
    return f"{task}/{TASKS[task].image_metric}"


def make_thumbnail(
    task: str, batch: dict, prediction: torch.Tensor, i: int, has_ground_truth: bool = True
) -> Thumbnail:
    """The thumbnail of sample i of a batch, given its prediction (., H, W)."""
    display = TASKS[task].display
    height, width = prediction.shape[-2:]
    tile_width = min(width, _TILE_WIDTH)
    tile_height = round(height * tile_width / width)
    rows, columns = _nearest(tile_height, height), _nearest(tile_width, width)
    # By nearest neighbor, as maps must not be interpolated across edges.
    predicted = display.as_map(prediction[:, rows][:, :, columns])
    rgb = cv2.resize(to_uint8(batch["rgb"][i]), (tile_width, tile_height), interpolation=cv2.INTER_AREA)
    thumbnail = Thumbnail(encode_smallest(rgb), _to_16_bits(predicted))
    if not has_ground_truth:
        return thumbnail
    target = display.target_map(batch, i)[rows][:, columns]
    error = encode_smallest(display.colorize_error(predicted, target))
    return thumbnail._replace(target=_to_16_bits(target), error=error)


def draw_tiles(
    thumbnail: Thumbnail, task: str, settings: DisplaySettings, scale: ColorScale | None
) -> dict[str, bytes]:
    """The TILES of an image as JPEG or PNG files, by caption; the last two need ground truth."""
    maps = [encode_smallest(TASKS[task].display.colorize(values, settings, scale)) for values in thumbnail.maps()]
    tiles = [thumbnail.rgb, *maps, *([] if thumbnail.error is None else [thumbnail.error])]
    return dict(zip(TILES, tiles, strict=False))


def encode_smallest(image: np.ndarray) -> bytes:
    """An image (H, W, 3) uint8 as JPEG or PNG, whichever is smaller: JPEG for photographs, PNG for labels."""
    return min(encode_image(image, ".jpg"), encode_image(image, ".png"), key=len)


def _sample(indices: Collection[int], size: int) -> list[int]:
    """A deterministic, evenly distributed sample of indices."""
    return sorted(indices, key=lambda index: index * _GOLDEN_RATIO % 1)[:size]


def _to_16_bits(values: np.ndarray) -> np.ndarray:
    """A map with 16 bits per value, which suffice for its colors."""
    return values.astype(np.float16 if values.dtype.kind == "f" else np.int16)


def _nearest(new: int, old: int) -> np.ndarray:
    """Indices (new,) for nearest-neighbor resizing of `old` rows or columns to `new` ones."""
    return ((np.arange(new) + 0.5) * old / new).astype(int)
