"""From a batch of tensors to the panels that training and evaluation show."""

from collections.abc import Callable

import numpy as np
import torch

from utils.checkpoint import ModelSettings
from utils.distributed import is_main
from utils.run_folder import RunFolder
from utils.visualize import save_picture, task_panel, unit_symbol


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
            for task, panel in panels.items():
                save_picture(run.picture(task, epoch, number, batch["id"][i]), panel)
                if show and number == 0 and i < 2:
                    show(f"{task}/{batch['id'][i]}", panel)

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
    rgb = as_picture(batch["rgb"][i])
    shown = as_map(task, prediction[i])
    if task == "segmentation":
        return task_panel(task, rgb, shown, batch["semantic"][i].cpu().numpy(), settings.class_colours)
    # Missing truth is shown as missing: NaN, whatever the dataset holds there.
    truth = batch[task][i].masked_fill(~batch[f"{task}_mask"][i], torch.nan)
    return task_panel(task, rgb, shown, as_map(task, truth), settings.class_colours, unit_symbol(settings.depth_unit))


def as_picture(rgb: torch.Tensor) -> np.ndarray:
    """Colours (3, H, W) in [0, 1] as (H, W, 3) uint8."""
    return (rgb.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def as_map(task: str, prediction: torch.Tensor) -> np.ndarray:
    """One prediction as people use it: depth (H, W) in metres, normals (H, W, 3), or labels (H, W) uint8."""
    if task == "depth":
        return prediction[0].float().cpu().numpy()
    if task == "normal":
        return prediction.float().permute(1, 2, 0).cpu().numpy()
    return prediction.argmax(dim=0).to(torch.uint8).cpu().numpy()
