"""The state of a training: everything that the next step depends on, to resume a run exactly."""

import os
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from training.resume import read_settings, require_same_facts, require_same_options
from training.run_folder import RunFolder
from utils.checkpoint_files import load_content, save_content
from utils.distributed import gather_objects, is_main, rank
from utils.errors import UserError
from utils.files import atomic_path

FORMAT = "elite360m training state"
VERSION = 3


class Stateful(Protocol):
    """A part of a training whose state is plain data."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


@dataclass
class Progress:
    """Progress of a training.

    Attributes:
        epoch: current epoch, from 1.
        step: optimizer steps done in it.
        bad_steps: number of consecutive skipped steps with non-finite losses.
        best_scores: best score of each task so far.
    """

    epoch: int = 1
    step: int = 0
    bad_steps: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)

    def state_dict(self) -> dict:
        return vars(self)

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


@dataclass(frozen=True)
class Signature:
    """Identifies a run: a state can only be resumed by its own run.

    Attributes:
        run_id: random id, drawn when the run was started.
        options: command line options of the first start, by name, as plain data.
        facts: derived facts that must not change, by the names used in messages.
    """

    run_id: str
    options: Mapping[str, object]
    facts: Mapping[str, object]


def save_state(run: RunFolder, signature: Signature, parts: Mapping[str, Stateful]) -> None:
    """Write the state atomically and keep the previous one. Called by all processes."""
    generators = gather_objects(_generator_states())
    if not is_main():
        return
    content = {
        "format": FORMAT,
        "version": VERSION,
        "signature": vars(signature),
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "generators": generators,
    }
    with atomic_path(run.state) as temporary:
        save_content(content, temporary)
        _keep_previous(run)


def _keep_previous(run: RunFolder) -> None:
    """Link the last state as the previous one before it is replaced, so that there is always a state."""
    if run.state.exists():
        run.previous_state.unlink(missing_ok=True)
        try:
            os.link(run.state, run.previous_state)
        except OSError:  # a file system without hard links
            os.replace(run.state, run.previous_state)


def has_state(run: RunFolder) -> bool:
    """Whether there is a state to resume from."""
    return run.state.exists() or run.previous_state.exists()


class SavedState:
    """The last state of a run, loaded but not applied yet; the previous one if the last is damaged.

    Args:
        run: folder of the run.

    Attributes:
        path: the file that was read.
        signature: signature of the run.
        epoch: epoch to resume in, from 1.

    Raises:
        UserError: when there is no readable state, or it belongs to another run.
    """

    def __init__(self, run: RunFolder):
        self._run = run
        self.path, self._content = self._read()
        try:
            self.signature = Signature(**self._content["signature"])
            self.epoch = int(self._content["parts"]["progress"]["epoch"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._incomplete() from error
        settings = read_settings(run.settings)
        if settings and settings.get("run_id") != self.signature.run_id:
            raise UserError(
                f"{self.path} belongs to another run than {run.settings}: restore the state of that run, or pass "
                "--overwrite to start anew"
            )

    def check_same_training(self, now: Signature, fixed: tuple[str, ...]) -> None:
        """Make sure that a training may be resumed from here.

        Args:
            now: options and facts of the training to be resumed.
            fixed: names of the options that must be the same.

        Raises:
            UserError: when it is another training.
        """
        require_same_options(self.signature.options, now.options, fixed, self._run.root)
        require_same_facts(self.signature.facts, now.facts, self._run.root)

    def restore(self, parts: Mapping[str, Stateful]) -> None:
        """Restore the parts and the random generators of this process.

        Raises:
            UserError: when one of them is missing.
        """
        try:
            states = [self._content["parts"][name] for name in parts]
            generators = self._content["generators"][rank()]
        except (LookupError, TypeError) as error:
            raise self._incomplete() from error
        for part, state in zip(parts.values(), states, strict=True):
            part.load_state_dict(state)
        _set_generators(generators)

    def _incomplete(self) -> UserError:
        return UserError(f"{self.path} is incomplete: restore it from a copy, or pass --overwrite to start anew")

    def _read(self) -> tuple[Path, dict]:
        run = self._run
        if not has_state(run):
            raise UserError(
                f"--resume: {run.state} does not exist: pass the --log_dir of a stopped run, or drop --resume"
            )
        path = run.state
        try:
            content = load_content(path, FORMAT)
        except UserError:
            path = run.previous_state
            try:
                content = load_content(path, FORMAT)
            except UserError as error:
                raise UserError(
                    f"{run.state} is missing or damaged, as is the state before it: restore it from a copy, or pass "
                    "--overwrite to start anew"
                ) from error
            if is_main():
                words = f"{run.state} is missing or damaged: continuing from the state before it, {path}"
                print(words, file=sys.stderr)
        if content.get("version") != VERSION:
            raise UserError(
                f"{path} is a state of version {content.get('version', '2 or earlier')}, this program reads version "
                f"{VERSION}: finish that run with the version that started it, or start from its checkpoint "
                "(--load_weights_dir; --ckpt of train_achievement.py)"
            )
        return path, content


def _generator_states() -> dict:
    """States of all random generators that this process uses, as plain data."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries use it
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,  # of this process's GPU
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
        "python": [version, list(words), gauss],
    }


def _set_generators(states: dict) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
