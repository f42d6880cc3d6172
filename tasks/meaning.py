"""Checks that predictions and ground truth have the same meaning: unit of depth, frame of normals, classes."""

from datasets.panorama import PanoramaDataset
from datasets.perspective import PerspectiveDataset
from networks.saved_network import UNKNOWN_DATASET, SavedNetwork, find_mismatches
from utils.errors import UserError
from utils.tasks import CLASS_TASKS
from visual.displays import DisplaySettings

_REMEDIES = {
    "depth": "--dataset or --metric_depth",
    "normal": "--dataset or --normal_frame",
    **dict.fromkeys(CLASS_TASKS, "--dataset or its classes"),
}


def display_settings_of(dataset: PanoramaDataset | PerspectiveDataset) -> DisplaySettings:
    """Display settings of the ground truth of a dataset."""
    return DisplaySettings(dataset.classes.names, dataset.classes.colors, dataset.depth_unit, dataset.normal_frame)


def compare_meaning(
    checkpoint: SavedNetwork, target: DisplaySettings, tasks: tuple[str, ...], allowed: list[str]
) -> dict:
    """Compare the meaning of a checkpoint's predictions with that of the ground truth.

    Args:
        checkpoint: a checkpoint, or predictions of other programs.
        target: meaning of the ground truth.
        tasks: tasks to compare.
        allowed: tasks that may differ (--allow_mismatch).

    Returns:
        ``mismatches`` by task, and ``notes``: lines about mismatches, and about a meaning that is unknown.

    Raises:
        UserError: when they differ for a task that is not in `allowed`.
    """
    mismatches = find_mismatches(checkpoint.settings, target, tasks)
    if refused := [task for task in mismatches if task not in allowed]:
        task = refused[0]
        has_others = task in CLASS_TASKS and isinstance(checkpoint, SavedNetwork)
        raise UserError(
            f"{checkpoint.path}: {mismatches[task]}: correct {_REMEDIES[task]}, or pass --allow_mismatch "
            f"{' '.join(refused)} to evaluate anyway{checkpoint.other_tasks_remedy() if has_others else ''}"
        )
    notes = [f"mismatch: {mismatch}" for mismatch in mismatches.values()]
    if checkpoint.settings.dataset == UNKNOWN_DATASET:
        notes.append(
            "the checkpoint does not record what its predictions mean: unit of depth, frame of normals and class names "
            "are not compared with those of the ground truth"
        )
    return {"mismatches": {task: mismatch._asdict() for task, mismatch in mismatches.items()}, "notes": notes}
