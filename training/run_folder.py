"""Paths of a run's files: those of the released code and a few more."""

from collections.abc import Mapping
from glob import escape
from pathlib import Path

from utils.checkpoint_files import LAST_MODEL


class RunFolder:
    """The folder of one training or evaluation.

    Args:
        root: the folder.
        folder_of_task: folder names by task.
    """

    def __init__(self, root: Path, folder_of_task: Mapping[str, str]):
        self.root = root
        self._folder_of_task = folder_of_task
        self.settings = root / "models" / "settings.json"
        self.last_model = root / LAST_MODEL
        self.best_of_all = root / "models" / "weights_best" / "model.pth"  # by the score of all tasks
        self.state = root / "models" / "state" / "last.pth"
        self.previous_state = root / "models" / "state" / "previous.pth"
        self.metrics = root / "metrics.jsonl"
        self.tensorboard = root / "tensorboard"

    def holds_training(self) -> bool:
        """Whether a training has written anything worth keeping here: a checkpoint, a state, or validation metrics."""
        found = [*self.root.glob("*_models/*.pth"), *(self.root / "models").glob("*/*.pth")]
        found += [path for task in self._folder_of_task if (path := self.result(task)).exists()]
        return any(not path.name.startswith(".") for path in found)  # hidden: left by killed processes

    def clear_training(self) -> None:
        """Remove only files that trainings have written here, and folders that become empty."""
        folders = self._folder_of_task.values()
        written = [
            *("metrics.jsonl", "models/settings.json", "models/state/last.pth", "models/state/previous.pth"),
            *("models/weights_*/model.pth", str(LAST_MODEL), "tensorboard/events.out.tfevents.*"),
            *(f"{folder}_models/best_{folder}_model.pth" for folder in folders),
            *(f"{folder}/result.txt" for folder in folders),
            *(f"visual_results/{folder}/*_*/*.png" for folder in folders),
        ]
        paths = {path for pattern in written for path in self.root.glob(pattern)}
        for path in list(paths):  # temporary files left by killed processes, see `utils.files.atomic_path`
            paths.update(path.parent.glob(f".{escape(path.stem)}-*{path.suffix}"))
        for path in paths:
            path.unlink()
        for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
            if self.root in folder.parents and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()

    def kept_model(self, epoch: int) -> Path:
        """The checkpoint kept for an epoch."""
        return self.root / "models" / f"weights_{epoch}" / "model.pth"

    def best_model(self, task: str) -> Path:
        """The best checkpoint for a task."""
        folder = self._folder_of_task[task]
        return self.root / f"{folder}_models" / f"best_{folder}_model.pth"

    def result(self, task: str) -> Path:
        """The text file with a task's metrics."""
        return self.root / self._folder_of_task[task] / "result.txt"

    def image(self, task: str, epoch: int, batch: int, sample_id: str) -> Path:
        """The image of a task's prediction for a sample."""
        name = sample_id.replace("/", "_").removesuffix(".png") + ".png"
        return self.root / "visual_results" / self._folder_of_task[task] / f"{epoch}_{batch}" / name
