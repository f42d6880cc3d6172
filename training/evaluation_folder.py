"""The folder of an evaluation. Complete results replace earlier ones of the same evaluation."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from training.run_folder import RunFolder
from utils.distributed import barrier, from_main, is_main
from utils.errors import UserError

IDENTITY = "evaluation"  # key in results.json
_RESULTS = "results.json"
_FILES = (_RESULTS, "per_image.csv", "report.html", "visual_results")
_LONGEST_VALUE = 40  # characters of a value in a message
_SHOWN = 3  # differences in a message


class EvaluationFolder:
    """Collects the files of an evaluation in `run` and moves them to `root` when they are complete.

    Args:
        root: ``<log_dir>/<backbone>/<task value>``.
        identity: everything that the metrics depend on, plain values by name.
        folder_of_task: see `RunFolder`.
        overwrite: whether results of another evaluation may be replaced.

    Attributes:
        run: the folders and files to write to.
    """

    def __init__(
        self,
        root: Path,
        identity: dict[str, str | int | None],
        folder_of_task: Mapping[str, str],
        overwrite: bool,
    ):
        self.root = root
        self.run = RunFolder(root / "unfinished", folder_of_task)
        self._tasks = tuple(folder_of_task)
        self._identity = identity
        self._overwrite = overwrite
        self._lock: int | None = None  # held by the main process, on the folder of `run`

    @contextmanager
    def open(self) -> Iterator[None]:
        """Check the folder and create `run`; at the end its files replace earlier results, and the folder is printed.

        When the block raises, the new files are removed and earlier results are unchanged. All processes enter and
        leave together.

        Raises:
            UserError: when there are results of another evaluation, another evaluation is running in this folder, or
                it cannot be written to.
        """
        from_main(self._prepare)
        try:
            yield
            barrier()
            from_main(self._publish)
        finally:
            if is_main():
                shutil.rmtree(self.run.root, ignore_errors=True)
                self._unlock()
                if not any(self.root.iterdir()):
                    self.root.rmdir()
        if is_main():
            print(f"written to {self.root}")

    def _prepare(self) -> None:
        self._check()
        self.run.root.mkdir(parents=True, exist_ok=True)
        self._lock_folder()
        for path in self.run.root.iterdir():  # left by a killed evaluation
            _remove(path)

    def _lock_folder(self) -> None:
        """Lock the folder of `run`; the system releases the lock of a killed process."""
        lock = os.open(self.run.root, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise UserError(
                f"another evaluation is writing to {self.root}: wait until it ends, or pass another --log_dir"
            ) from None
        except OSError:
            pass  # a file system without locks
        self._lock = lock

    def _unlock(self) -> None:
        with suppress(OSError):  # explicitly, because workers have copies of the descriptor
            fcntl.flock(self._lock, fcntl.LOCK_UN)
        os.close(self._lock)

    def _publish(self) -> None:
        if not self._overwrite:
            self._check()  # again: another evaluation may have finished in the meantime
        new = [name for name in self._names() if (self.run.root / name).exists()]
        for name in self._names() if self._overwrite else new:
            _remove(self.root / name)
        for name in sorted(new, key=lambda name: name == _RESULTS):  # last: it identifies the others
            (self.root / name).parent.mkdir(exist_ok=True)
            (self.run.root / name).replace(self.root / name)

    def _names(self) -> list[str]:
        """Paths that an evaluation may write, relative to its folder."""
        return [*_FILES, *(str(self.run.result(task).relative_to(self.run.root)) for task in self._tasks)]

    def _check(self) -> None:
        if self._overwrite or not any((self.root / name).exists() for name in self._names()):
            return
        remedy = "pass --overwrite to replace it, or another --log_dir"
        results = self.root / _RESULTS
        if not results.exists():
            raise UserError(f"{self.root} holds an incomplete evaluation: {remedy}")
        try:
            earlier = dict(json.loads(results.read_text(encoding="utf-8"))[IDENTITY])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{results} is damaged, or was not written by this program: {remedy}") from error
        different = [
            f"{name} {_short(earlier.get(name))} instead of {_short(value)}"
            for name, value in self._identity.items()
            if earlier.get(name) != value
        ]
        if different:
            more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
            listed = ", ".join(different[:_SHOWN]) + more
            raise UserError(f"{self.root} holds another evaluation ({listed}): {remedy}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
