"""The evaluation of a network on perspective images. For panoramas see `reports.evaluation`."""

from collections.abc import Mapping, Sequence

import torch

from datasets.loading import report_bad_samples
from datasets.perspective import PerspectiveDataset
from metrics.evaluator import evaluate
from networks.achievement_checkpoint import AchievementCheckpoint
from reports.evaluation import progress_bar
from tasks.epoch_end import ValidationSet
from tasks.task import Task
from training.run_folder import RunFolder
from visual.displays import DisplaySettings
from visual.panels import panel_writer


def evaluate_datasets(
    network: torch.nn.Module,
    checkpoint: AchievementCheckpoint,
    datasets: Sequence[tuple[PerspectiveDataset, ValidationSet]],
    tasks: Mapping[str, Task],
    folder: RunFolder,
    draw_every: int,
) -> tuple[dict[str, dict[str, float]], list[dict]]:
    """Evaluate a network on each dataset, for the tasks that the dataset has ground truth of.

    Args:
        network: the network of the checkpoint, on its device.
        checkpoint: source of the network, with the meaning of its predictions.
        datasets: each with its batches and evaluator.
        tasks: all tasks to evaluate, by name.
        folder: folder for the drawn images.
        draw_every: draw the images of every N-th batch.

    Returns:
        Metrics per task, in the order of `tasks`, and the metrics of each image, whose index counts through all
        datasets.
    """
    settings = DisplaySettings.of(checkpoint.settings)
    results, rows, first = {}, [], 0
    for dataset, images in datasets:
        evaluator = images.build_evaluator()
        displays = {name: tasks[name].display for name in evaluator.metrics}
        draw = panel_writer(folder.image, displays, settings, checkpoint.epoch, draw_every)
        of_tasks, of_images = evaluate(network, progress_bar(images.batches), evaluator, on_batch=draw)
        report_bad_samples(images.batches)
        results |= of_tasks
        rows += [row | {"index": first + row["index"]} for row in of_images]
        first += len(dataset)
    return {task: results[task] for task in tasks}, rows
