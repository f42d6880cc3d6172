"""Where a run keeps what: the folders and files that users of the released program know, and a few more."""

import csv
import hashlib
import platform
import subprocess
import sys
from glob import escape
from pathlib import Path

import torch

from tasks import TASKS
from utils.files import atomic_path

LAST_MODEL = Path("models/weights_last/last_model.pth")  # within a run folder
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "cv2")


class RunFolder:
    """The folder of one training or evaluation.

    Args:
        root: ``<log_dir>/<task value>/<backbone>`` for training, ``<log_dir>/<backbone>/<task value>`` for evaluation.
    """

    def __init__(self, root: Path):
        self.root = root
        self.settings = root / "models" / "settings.json"
        self.last_model = root / LAST_MODEL
        self.state = root / "models" / "state" / "last.pth"
        self.previous_state = root / "models" / "state" / "previous.pth"
        self.metrics = root / "metrics.jsonl"
        self.tensorboard = root / "tensorboard"

    def holds_training(self) -> bool:
        """Whether a training has left anything of worth here: a checkpoint, a state, or metrics of a validation."""
        found = [*self.root.glob("*_models/*.pth"), *(self.root / "models").glob("*/*.pth")]
        found += [path for task in TASKS if (path := self.result(task)).exists()]
        return any(not path.name.startswith(".") for path in found)  # hidden: half a file of a killed process

    def clear_training(self) -> None:
        """Remove the files that trainings have written here, and the folders that are empty then; nothing else."""
        folders = [TASKS[task].folder for task in TASKS]
        written = [
            *("metrics.jsonl", "models/settings.json", "models/state/last.pth", "models/state/previous.pth"),
            *("models/weights_*/model.pth", str(LAST_MODEL), "tensorboard/events.out.tfevents.*"),
            *(f"{folder}_models/best_{folder}_model.pth" for folder in folders),
            *(f"{folder}/result.txt" for folder in folders),
            *(f"visual_results/{folder}/*_*/*.png" for folder in folders),
        ]
        paths = {path for pattern in written for path in self.root.glob(pattern)}
        for path in list(paths):  # what killed processes left, see `utils.files.atomic_path`
            paths.update(path.parent.glob(f".{escape(path.stem)}-*{path.suffix}"))
        for path in paths:
            path.unlink()
        for folder in sorted({parent for path in paths for parent in path.parents}, reverse=True):
            if self.root in folder.parents and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()

    def kept_model(self, epoch: int) -> Path:
        """The checkpoint that is kept of an epoch."""
        return self.root / "models" / f"weights_{epoch}" / "model.pth"

    def best_model(self, task: str) -> Path:
        """The checkpoint that is best at a task."""
        folder = TASKS[task].folder
        return self.root / f"{folder}_models" / f"best_{folder}_model.pth"

    def result(self, task: str) -> Path:
        """The text file with a task's figures."""
        return self.root / TASKS[task].folder / "result.txt"

    def picture(self, task: str, epoch: int, batch: int, sample_id: str) -> Path:
        """A picture of a task's prediction for a sample."""
        name = sample_id.replace("/", "_") + ".png"
        return self.root / "visual_results" / TASKS[task].folder / f"{epoch}_{batch}" / name


def provenance() -> dict:
    """How this process was started, on what: command line, versions and git commit, to be kept with its results."""
    versions = {name: sys.modules[name].__version__ for name in _PACKAGES if name in sys.modules}
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of this source tree, with "-dirty" when it was changed since; None outside git."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def sha256(path: Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows as CSV, atomically. Columns are the keys of all rows; a row without one leaves it empty."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def figures_line(figures: dict[str, float]) -> str:
    """Figures of one task as one line of text; the solid-angle ones are left to the files that hold them all."""
    shown = {name: value for name, value in figures.items() if not name.endswith("_solid_angle")}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items()) or "no valid pixels"
