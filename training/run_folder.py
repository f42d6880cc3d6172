"""Where a run keeps what: the folders and files that users of the released program know, and a few more."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from utils.checkpoint_files import LAST_MODEL


class RunFolder:
    """The folder of one training or evaluation.

    Args:
        root: the folder.
        folder_of_task: the names of the tasks' folders, by task.
    """

    def __init__(self, root: Path, folder_of_task: Mapping[str, str]):
        self.root = root
        self._folder_of_task = folder_of_task
        self.settings = root / "models" / "settings.json"
        self.last_model = root / LAST_MODEL
        self.state = root / "models" / "state" / "last.pth"
        self.previous_state = root / "models" / "state" / "previous.pth"
        self.metrics = root / "metrics.jsonl"
        self.tensorboard = root / "tensorboard"

    def holds_training(self) -> bool:
        """Whether a training has left anything of worth here: a checkpoint, a state, or metrics of a validation."""
        found = [*self.root.glob("*_models/*.pth"), *(self.root / "models").glob("*/*.pth")]
        found += [path for task in self._folder_of_task if (path := self.result(task)).exists()]
        return any(not path.name.startswith(".") for path in found)  # hidden: half a file of a killed process

    def clear_training(self) -> None:
        """Remove everything that a training has written here, and nothing else."""
        folders = self._folder_of_task.values()
        for folder in ("models", "tensorboard", "visual_results", *(f"{folder}_models" for folder in folders)):
            shutil.rmtree(self.root / folder, ignore_errors=True)
        for file in (self.metrics, *(self.result(task) for task in self._folder_of_task)):
            file.unlink(missing_ok=True)

    def kept_model(self, epoch: int) -> Path:
        """The checkpoint that is kept of an epoch."""
        return self.root / "models" / f"weights_{epoch}" / "model.pth"

    def best_model(self, task: str) -> Path:
        """The checkpoint that is best at a task."""
        folder = self._folder_of_task[task]
        return self.root / f"{folder}_models" / f"best_{folder}_model.pth"

    def result(self, task: str) -> Path:
        """The text file with a task's figures."""
        return self.root / self._folder_of_task[task] / "result.txt"

    def picture(self, task: str, epoch: int, batch: int, sample_id: str) -> Path:
        """A picture of a task's prediction for a sample."""
        name = sample_id.replace("/", "_") + ".png"
        return self.root / "visual_results" / self._folder_of_task[task] / f"{epoch}_{batch}" / name
