"""A training run, new or resumed."""

import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from training.resume import changed_options, describe_changes, plain, read_history, read_settings
from training.run_folder import RunFolder
from training.state import Progress, SavedState, Signature, Stateful, has_state, save_state
from training.stop import StopRequest
from utils.distributed import barrier, from_main, is_main, launch_id, was_restarted, world_size
from utils.errors import UserError
from utils.files import write_json
from utils.provenance import provenance

_ONCE = ("resume", "overwrite")  # options that concern this start, not the run


@dataclass(frozen=True)
class RunOptions:
    """Command line options of a training.

    Attributes:
        values: all options by name, including ``resume``, ``overwrite`` and ``num_epochs``.
        fixed: names of options that a resumed run must keep.
        free: names of options that may change.
    """

    values: Mapping[str, object]
    fixed: tuple[str, ...]
    free: tuple[str, ...]


class TrainingRun:
    """A training run in a folder. All processes make every call.

    Use: construct it, `check_unchanged`, build the parts, `claim`, `restore`, then `save` regularly.

    Args:
        folder: folder of the run; created if missing.
        options: command line options.

    Attributes:
        resumed: whether the run continues from a saved state.

    Raises:
        UserError: when the folder already holds a run, or there is no state to resume from.
    """

    def __init__(self, folder: RunFolder, options: RunOptions):
        self.folder = folder
        self._options = options
        self._now = plain(options.values)
        self._saved = SavedState(folder) if from_main(self._is_to_resume) else None
        self.resumed = self._saved is not None

    def check_unchanged(self, facts: Mapping[str, object]) -> None:
        """Make sure that a resumed run has the options and data that it was started with.

        Args:
            facts: what must not change besides the fixed options, by the names used in messages.

        Raises:
            UserError: when an option or a fact has changed.
        """
        facts = plain({"number of processes (--nproc_per_node)": world_size(), **facts})
        if not self.resumed:
            self._signature = Signature(from_main(lambda: uuid.uuid4().hex), self._now, facts)
            return
        self._signature = Signature(self._saved.signature.run_id, self._saved.signature.options, facts)
        self._saved.check_same_training(Signature(self._signature.run_id, self._now, facts), self._options.fixed)

    def is_complete(self) -> bool:
        """Whether a resumed run has no epochs left; if so, print it."""
        if not self.resumed:
            return False
        done = self._saved.epoch - 1
        if done < self._now["num_epochs"]:
            return False
        if is_main():
            print(
                f"nothing to do: {self.folder.root} has been trained for {done} epochs; "
                "pass a larger --num_epochs to continue"
            )
        return True

    def claim(self, description: Mapping[str, object]) -> None:
        """Take over the folder for a new run: remove the files of an earlier run and write settings.json.

        Does nothing for a resumed run. Call it after everything that may fail.
        """
        if self.resumed:
            return
        barrier()  # all processes have passed their checks
        if is_main():
            self.folder.root.mkdir(parents=True, exist_ok=True)
            self.folder.clear_training()
            content = {"run_id": self._signature.run_id, "launch_id": launch_id(), "options": self._options.values}
            write_json(self.folder.settings, {**content, **description, **provenance(), "resumed": []})
        barrier()

    def restore(self, progress: Progress, parts: Mapping[str, Stateful]) -> None:
        """Restore the state of a resumed run and print where it continues.

        Args:
            progress: progress of the run; part of the state.
            parts: all other objects with a state, by name.
        """
        self._parts = {**parts, "progress": progress}
        if self.resumed:
            self._saved.restore(self._parts)
            if is_main():
                self._note_resumption(progress)

    def save(self) -> None:
        """Write the state of the parts, atomically."""
        save_state(self.folder, self._signature, self._parts)

    def _is_to_resume(self) -> bool:
        """Whether to continue the run in the folder instead of starting a new one."""
        if self._options.values["resume"]:
            return True
        settings = read_settings(self.folder.settings) or {}
        if was_restarted() and has_state(self.folder) and settings.get("launch_id") == launch_id():
            return True
        if self.folder.holds_training() and not self._options.values["overwrite"]:
            raise UserError(
                f"--log_dir: {self.folder.root} already holds a run: pass --resume to continue it, --overwrite to "
                "delete it and start anew, or another --log_dir"
            )
        return False

    def _note_resumption(self, progress: Progress) -> None:
        """Print where the run continues and with which new options, and append both to its settings.json."""
        started, now = self._signature.options, self._now
        content = read_history(self.folder.settings)
        if content is None:
            print(
                f"{self.folder.settings} is missing or damaged: written anew from {self._saved.path}", file=sys.stderr
            )
            content = {"run_id": self._signature.run_id, "options": dict(started), "resumed": []}
        before = dict(started)
        for entry in content["resumed"]:
            before |= entry["options"]
        changed = changed_options(before, now, [name for name in self._options.free if name not in _ONCE])
        print(f"resumed from {self._saved.path}: epoch {progress.epoch}, after {progress.step} steps of it")
        if changed:
            print(f"from here on: {describe_changes(before, now, changed)}")
        where = {"epoch": progress.epoch, "step": progress.step}
        entry = {**where, "options": {name: now[name] for name in changed}, **provenance()}
        resumed = [*content["resumed"], entry]
        write_json(self.folder.settings, content | {"launch_id": launch_id(), "resumed": resumed})


def report_stop_reason(stop: StopRequest, progress: Progress, outcome: str) -> None:
    """Print why a training was "stopped" or "diverged", and how to resume it."""
    if not is_main() or outcome == "finished":
        return
    if outcome == "diverged":
        print(f"error: {progress.bad_steps} steps in a row without a finite loss; the state is saved", file=sys.stderr)
        return
    reason = stop.reason() or "another process was asked to stop"
    where = f"epoch {progress.epoch}, after {progress.step} steps of it"
    print(f"{reason}: stopped in {where}; the state is saved: pass --resume to continue")
