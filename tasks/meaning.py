"""What depth, normals and labels mean: compared where a network meets ground truth."""

from datasets.panorama import PanoramaDataset
from networks.checkpoint import Checkpoint, find_mismatches
from utils.errors import UserError
from visual.displays import DisplaySettings

_REMEDIES = {
    "depth": "--dataset or --metric_depth",
    "normal": "--dataset or --normal_frame",
    "segmentation": "--dataset",
}


def look_of(dataset: PanoramaDataset) -> DisplaySettings:
    """What the ground truth of a dataset means."""
    return DisplaySettings(dataset.classes.names, dataset.classes.colors, dataset.depth_unit, dataset.normal_frame)


def compare_meaning(checkpoint: Checkpoint, truth: DisplaySettings, tasks: tuple[str, ...], allowed: list[str]) -> dict:
    """Compare what the predictions of a checkpoint mean with what the ground truth means.

    Returns:
        ``mismatches``, by task, and ``notes``, lines about them and about what cannot be compared.

    Raises:
        UserError: when they differ for a task for which that is not allowed.
    """
    mismatches = find_mismatches(checkpoint.settings, truth, tasks)
    if refused := [task for task in mismatches if task not in allowed]:
        task = refused[0]
        raise UserError(
            f"{checkpoint.path}: {mismatches[task]}: correct {_REMEDIES[task]}, or pass --allow_mismatch "
            f"{' '.join(refused)} to evaluate all the same"
        )
    notes = [f"mismatch: {mismatch}" for mismatch in mismatches.values()]
    if not checkpoint.settings.meaning_is_known:
        notes.append(
            "these weights do not say what their predictions mean: unit of depth, frame of normals and names of "
            "classes are not compared with those of the ground truth"
        )
    return {"mismatches": {task: mismatch._asdict() for task, mismatch in mismatches.items()}, "notes": notes}
