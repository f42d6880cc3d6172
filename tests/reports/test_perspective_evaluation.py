"""The evaluation of a network on several datasets of perspective images."""

from types import SimpleNamespace

import numpy as np
import torch

from datasets.loading import LoadingSettings, evaluation_batches
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from networks.achievement_checkpoint import AchievementSettings
from reports.perspective_evaluation import evaluate_datasets
from tasks.epoch_end import ValidationSet
from tasks.perspective import PERSPECTIVE_FOLDERS, build_evaluator, perspective_tasks
from training.run_folder import RunFolder
from utils.errors import UserError

CPU = torch.device("cpu")
TASKS = ("depth", "segmentation")
SETTINGS = AchievementSettings("resnet18", TASKS, 8, 16, "images", ("wall", "floor"), ((0, 0, 0), (255, 0, 0)))


class Images(PerspectiveDataset):
    """Three images at a depth of 2 m with class 1 everywhere; the second one cannot be read."""

    def __len__(self) -> int:
        return 3

    def read(self, index: int) -> PerspectiveImage:
        if index == 1:
            raise UserError("1.png is missing")
        image = without_maps(np.zeros((8, 16, 3), np.uint8), str(index))
        image.depth[:], image.semantic[:] = 2, 1
        return image

    def sample_names(self) -> list[str]:
        return ["0", "1", "2"]


def predict(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
    depth = torch.full((len(rgb), 1, 8, 16), 3.0)
    return {"depth": depth, "segmentation": torch.cat([0 * depth, depth], dim=1)}


def test_indices_count_skipped_images(tmp_path, capsys):
    """Indices of the second dataset follow those of the first one, including its bad image."""
    tasks = perspective_tasks(TASKS)
    datasets = []
    for name in reversed(TASKS):
        evaluated = {name: tasks[name]}
        dataset = Images(8, 16, None, (name,))
        batches = evaluation_batches(dataset, LoadingSettings(batch_size=2, skip_bad=True), CPU)
        datasets.append((dataset, ValidationSet(batches, lambda evaluated=evaluated: build_evaluator(evaluated, 2))))
    checkpoint = SimpleNamespace(settings=SETTINGS, epoch=7)
    folder = RunFolder(tmp_path, PERSPECTIVE_FOLDERS)
    results, rows = evaluate_datasets(predict, checkpoint, datasets, tasks, folder, draw_every=2)
    assert list(results) == list(TASKS)
    assert results["depth"]["rms"] == 1
    assert results["segmentation"]["mIoU"] == 0.5  # the absent class counts as 0
    assert [(row["index"], row["id"]) for row in rows] == [(0, "0"), (2, "2"), (3, "0"), (5, "2")]
    assert capsys.readouterr().err.count("1.png is missing") == 2
