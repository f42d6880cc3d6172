"""The state of a training: everything that the next step depends on, kept so that a killed run goes on where it was."""

import os
import random
import sys
from dataclasses import dataclass, field

import numpy as np
import torch

from training.log import TrainingLog
from training.step import Stepper
from utils.checkpoint import ModelSettings, load_content
from utils.distributed import gather_objects, is_main, rank, world_size
from utils.errors import UserError
from utils.files import atomic_path
from utils.run_folder import RunFolder

FORMAT = "elite360m training state, 2"


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: the current one, counted from 1.
        step: optimiser steps done in it.
        bad_steps: the last so many steps in a row were skipped, their losses not being finite.
        best_scores: of each task so far.
    """

    epoch: int = 1
    step: int = 0
    bad_steps: int = 0
    best_scores: dict[str, float] = field(default_factory=dict)


def save_state(
    run: RunFolder,
    settings: ModelSettings,
    balancing: dict,
    progress: Progress,
    stepper: Stepper,
    log: TrainingLog,
) -> None:
    """Write the state, whole or not at all; the one before it is kept beside. All processes take part."""
    generators = gather_objects(_generator_states())
    if not is_main():
        return
    content = {
        "format": FORMAT,
        "settings": settings.as_dict(),
        "balancing": balancing,
        "world_size": world_size(),
        "progress": vars(progress),
        "stepper": stepper.state_dict(),
        "log": log.state_dict(),
        "generators": generators,
    }
    with atomic_path(run.state) as temporary:
        with open(temporary, "wb") as file:
            torch.save(content, file)
        _keep_previous(run)


def _keep_previous(run: RunFolder) -> None:
    """Give the last state a second name before its own is taken over: at no moment is there none."""
    if run.state.exists():
        run.previous_state.unlink(missing_ok=True)
        try:
            os.link(run.state, run.previous_state)
        except OSError:  # a file system without links
            os.replace(run.state, run.previous_state)


def has_state(run: RunFolder) -> bool:
    """Whether a run left a state to go on from."""
    return run.state.exists() or run.previous_state.exists()


def restore_state(
    run: RunFolder, settings: ModelSettings, balancing: dict, stepper: Stepper, log: TrainingLog
) -> Progress:
    """Put a training back to where its last state was saved.

    Args:
        run: of the training.
        settings, balancing: that the training has now; they must be those that it had.
        stepper, log: to put back.

    Raises:
        UserError: when there is no state, none that can be read, or it is of another training.
    """
    content = _read_state(run)
    if content["settings"] != settings.as_dict():
        changed = [key for key, value in settings.as_dict().items() if content["settings"].get(key) != value]
        raise UserError(
            f"{run.state} is of a training with another {', '.join(changed)}: it cannot be resumed like this"
        )
    if content["balancing"] != balancing:
        raise UserError(
            f"{run.state} is of a training with --balancing {content['balancing']['name']} or other options of it: "
            "it cannot be resumed like this"
        )
    if content["world_size"] != world_size():
        raise UserError(
            f"{run.state} is of {content['world_size']} processes, not {world_size()}: resume with as many as before"
        )
    stepper.load_state_dict(content["stepper"])
    log.load_state_dict(content["log"])
    _set_generators(content["generators"][rank()])
    progress = Progress(**content["progress"])
    if is_main():
        print(f"resumed from {run.state}: epoch {progress.epoch}, after {progress.step} steps of it")
    return progress


def _read_state(run: RunFolder) -> dict:
    """The last state; the previous one, and a line that says so, when the last one is damaged."""
    if not has_state(run):
        raise UserError(f"there is nothing to resume: {run.state} does not exist")
    try:
        return load_content(run.state, FORMAT)
    except UserError as error:
        if not run.previous_state.exists():
            raise
        content = load_content(run.previous_state, FORMAT)
        if is_main():
            print(f"{error}; going on from the state before it, {run.previous_state}", file=sys.stderr)
        return content


def _generator_states() -> dict:
    """States of all random generators of this process, as plain data."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - that of libraries
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],
        "python": [version, list(words), gauss],
    }


def _set_generators(states: dict) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))  # noqa: NPY002
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
