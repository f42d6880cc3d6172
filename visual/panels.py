"""From a batch of tensors to the panels that training and evaluation show."""

from collections.abc import Callable

import numpy as np
import torch

from tasks import TASKS
from visual.displays import Look
from networks.checkpoint import ModelSettings
from utils.distributed import is_main
from training.run_folder import RunFolder
from visual.drawing import panel, save_picture


def panel_writer(
    run: RunFolder,
    settings: ModelSettings,
    epoch: int,
    every: int,
    show: Callable[[str, np.ndarray], None] | None = None,
) -> Callable[[int, dict, dict], None]:
    """What `metrics.evaluator.evaluate` is to call after each batch, to draw every `every`-th one of the main process.

    Args:
        run: where the pictures are written.
        settings: which tasks to draw, and what the maps mean.
        epoch: how long the network was trained; part of the pictures' names.
        show: also given ("task/id", panel) of the first two samples.
    """

    def draw(number: int, batch: dict, predictions: dict) -> None:
        if not is_main() or number % every:
            return
        for i, panels in enumerate(batch_panels(batch, predictions, settings)):
            for task, picture in panels.items():
                save_picture(run.picture(task, epoch, number, batch["id"][i]), picture)
                if show and number == 0 and i < 2:
                    show(f"{task}/{batch['id'][i]}", picture)

    return draw


def batch_panels(
    batch: dict, predictions: dict[str, torch.Tensor], settings: ModelSettings
) -> list[dict[str, np.ndarray]]:
    """For each sample of a batch a panel per task: RGB, prediction, truth and error, (H, W, 3) uint8."""
    return [
        {task: _sample_panel(task, batch, predictions[task], i, settings) for task in settings.tasks}
        for i in range(len(batch["rgb"]))
    ]


def _sample_panel(task: str, batch: dict, prediction: torch.Tensor, i: int, settings: ModelSettings) -> np.ndarray:
    display = TASKS[task].display
    rgb, truth = as_picture(batch["rgb"][i]), display.truth_map(batch, i)
    return error_panel(task, rgb, display.as_map(prediction[i]), truth, settings.look)


def error_panel(task: str, rgb: np.ndarray, prediction: np.ndarray, truth: np.ndarray, look: Look) -> np.ndarray:
    """RGB (H, W, 3) uint8, and prediction, truth and error of one task (maps of its display), in a 2 x 2 panel."""
    display = TASKS[task].display
    pictures = [display.picture(prediction, look), display.picture(truth, look)]
    error = display.error_picture(prediction, truth)
    captions = ["RGB", f"{task}: prediction", f"{task}: truth", f"{task}: error"]
    scale = display.scale(look)
    return panel([rgb, *pictures, error], captions, [None, scale, scale, display.error_scale(look)])


def maps_panel(rgb: np.ndarray, maps: dict[str, np.ndarray], look: Look, caption: str = "RGB") -> np.ndarray:
    """RGB (H, W, 3) uint8 with a caption, and a map per task, in one panel, with scales and legends."""
    displays = {task: TASKS[task].display for task in maps}
    picture = panel(
        [rgb, *(display.picture(maps[task], look) for task, display in displays.items())],
        [caption, *(display.caption for display in displays.values())],
        [None, *(display.scale(look) for display in displays.values())],
    )
    legends = [display.legend(look, picture.shape[1]) for display in displays.values()]
    return np.vstack([picture, *(legend for legend in legends if legend is not None)])


def as_picture(rgb: torch.Tensor) -> np.ndarray:
    """Colours (3, H, W) in [0, 1] as (H, W, 3) uint8."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
