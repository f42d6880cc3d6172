"""Single-task networks whose predictions are pseudo labels where ground truth is missing: --teacher."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn

from networks.achievement_checkpoint import AchievementSettings, load_achievement_checkpoint
from networks.saved_network import find_checkpoint, find_mismatches
from utils.errors import UserError
from utils.tasks import CLASS_TASKS, DETECTION


class Teachers(NamedTuple):
    """Trained networks, see `training.objective.TrainingObjective`.

    Attributes:
        networks: one per task, in eval mode.
        hashes: SHA-256 of their checkpoints, per task.
    """

    networks: dict[str, nn.Module]
    hashes: dict[str, str]


def load_teachers(paths: Iterable[str], settings: AchievementSettings, device: torch.device) -> Teachers:
    """The networks of these checkpoints or runs.

    Args:
        paths: given by the user.
        settings: of the network that learns from them.
        device: of the networks.

    Raises:
        UserError: when a checkpoint cannot be used, is not of one of the tasks of the network, or its predictions have
            another meaning.
    """
    teachers = Teachers({}, {})
    for given in paths:
        try:
            checkpoint = load_achievement_checkpoint(find_checkpoint(given))
        except UserError as error:
            raise UserError(f"--teacher {given}: {error}") from error
        own = checkpoint.settings
        if len(own.tasks) > 1:
            raise UserError(f"--teacher {given} predicts {', '.join(own.tasks)}: pass networks of one task each")
        [task] = own.tasks
        if task not in settings.tasks:
            raise UserError(f"--teacher {given} predicts {task}, which is not among --app {' '.join(settings.tasks)}")
        if task in teachers.networks:
            raise UserError(f"--teacher {given} predicts {task}, as another teacher does: pass one of them")
        for mismatch in find_mismatches(own, settings, (task,)).values():
            raise UserError(
                f"--teacher {given}: {mismatch.what} is '{mismatch.predicted}', but '{mismatch.truth}' in training"
            )
        if task in CLASS_TASKS:  # released weights do not tell names, but their number
            checkpoint.require_classes(len(settings.class_names))
        if task == DETECTION and "softmax" in (own.cls_head, settings.cls_head):
            raise UserError(f"--teacher {given}: for detection, teacher and network need --cls_head sigmoid")
        teachers.networks[task] = checkpoint.build_network().to(device).eval().requires_grad_(False)
        teachers.hashes[task] = checkpoint.sha256
    return teachers
