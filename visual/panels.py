"""Panels of images, predictions and errors."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from utils.distributed import is_main
from visual.displays import Display, DisplaySettings, class_legend
from visual.drawing import hatched, panel, save_image


def panel_writer(
    path_of: Callable[[str, int, int, str], Path],
    displays: Mapping[str, Display],
    settings: DisplaySettings,
    epoch: int,
    every: int,
    show: Callable[[str, np.ndarray], None] | None = None,
) -> Callable[[int, dict, dict], None]:
    """A callback for `metrics.evaluator.evaluate` that draws every `every`-th batch of the main process.

    Args:
        path_of: returns the file of a panel, given task, epoch, batch number and sample id.
        displays: displays of the tasks to draw.
        settings: display settings.
        epoch: epoch of the network, part of the file names.
        every: draw every N-th batch.
        show: called with ("task/id", panel) for the first two samples.
    """

    def draw(number: int, batch: dict, predictions: dict) -> None:
        if not is_main() or number % every:
            return
        for i, panels in enumerate(batch_panels(batch, predictions, displays, settings)):
            for task, image in panels.items():
                save_image(path_of(task, epoch, number, batch["id"][i]), image)
                if show and number == 0 and i < 2:
                    show(f"{task}/{batch['id'][i]}", image)

    return draw


def batch_panels(
    batch: dict, predictions: dict[str, torch.Tensor], displays: Mapping[str, Display], settings: DisplaySettings
) -> list[dict[str, np.ndarray]]:
    """Panels of each sample of a batch, by task: RGB, prediction, ground truth and error, (H, W, 3) uint8."""
    return [
        {
            task: error_panel(
                task, display, rgb, display.as_map(predictions[task][i]), display.target_map(batch, i), settings
            )
            for task, display in displays.items()
        }
        for i, rgb in enumerate(map(to_uint8, batch["rgb"]))
    ]


def error_panel(
    task: str,
    display: Display,
    rgb: np.ndarray,
    prediction: np.ndarray,
    target: np.ndarray,
    settings: DisplaySettings,
) -> np.ndarray:
    """A 2 x 2 panel of RGB (H, W, 3) uint8, and prediction, ground truth and error of a task (maps of its display).

    Prediction and ground truth share a color scale.
    """
    scale = display.scale((prediction, target), settings)
    images = [display.draw(rgb, values, settings, scale) for values in (prediction, target)]
    error = display.draw_error(rgb, prediction, target)
    ground_truth = _with_marks(f"{task}: ground truth", display.marks(target, settings))
    error_caption = _with_marks(f"{task}: error", display.error_marks)
    captions = ["RGB", f"{task}: prediction", ground_truth, error_caption]
    return panel([rgb, *images, error], captions, [None, scale, scale, display.error_scale(settings)])


def maps_panel(
    rgb: np.ndarray,
    maps: Mapping[str, np.ndarray],
    displays: Mapping[str, Display],
    settings: DisplaySettings,
    caption: str = "RGB",
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """A panel of RGB (H, W, 3) uint8 and the map of each task, with captions, color bars and a legend.

    Invalid pixels are hatched; `valid` is (H, W) bool, or None if all pixels are valid.
    """
    shown = [(displays[task], values) for task, values in maps.items()]
    scales = [display.scale((values,), settings) for display, values in shown]
    colored = [
        display.draw(rgb, values, settings, scale) for (display, values), scale in zip(shown, scales, strict=True)
    ]
    if valid is not None and not valid.all():
        caption = f"{caption} (hatched: invalid)"
    image = panel(
        [hatched(image, valid) for image in (rgb, *colored)],
        [caption, *(_with_marks(display.caption, display.marks(values, settings)) for display, values in shown)],
        [None, *scales],
    )
    classes = list(dict.fromkeys(label for display, values in shown for label in display.classes((values,))))
    return np.vstack([image, class_legend(classes, settings, image.shape[1])])


def _with_marks(caption: str, marks: Sequence[str]) -> str:
    return f"{caption} ({', '.join(marks)})" if marks else caption


def to_uint8(rgb: torch.Tensor) -> np.ndarray:
    """RGB (3, H, W) in [0, 1] as (H, W, 3) uint8."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
