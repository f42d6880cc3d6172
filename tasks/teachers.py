"""Teachers (--teacher): single-task networks that predict pseudo labels where ground truth is missing."""

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
        networks: networks by task, in eval mode.
        hashes: SHA-256 of their checkpoints, by task.
    """

    networks: dict[str, nn.Module]
    hashes: dict[str, str]


def load_teachers(paths: Iterable[str], settings: AchievementSettings, device: torch.device) -> Teachers:
    """Load teachers from checkpoints or runs.

    Args:
        paths: the user's paths.
        settings: settings of the network that learns from them.
        device: device of the teachers.

    Raises:
        UserError: when a checkpoint cannot be used, does not predict exactly one task of the network, or predicts with
            another meaning.
    """
    teachers = Teachers({}, {})
    for path in paths:
        try:
            checkpoint = load_achievement_checkpoint(find_checkpoint(path))
        except UserError as error:
            raise UserError(f"--teacher {path}: {error}") from error
        own = checkpoint.settings
        if len(own.tasks) > 1:
            raise UserError(f"--teacher {path} predicts {', '.join(own.tasks)}: pass single-task networks")
        [task] = own.tasks
        if task not in settings.tasks:
            raise UserError(
                f"--teacher {path} predicts {task}, which is not among --app {' '.join(settings.tasks)}: drop it"
            )
        if task in teachers.networks:
            raise UserError(f"--teacher {path} predicts {task}, like another teacher: pass only one of them")
        for mismatch in find_mismatches(own, settings, (task,)).values():
            raise UserError(
                f"--teacher {path}: {mismatch.what} is '{mismatch.predicted}', but '{mismatch.truth}' in training"
            )
        if task in CLASS_TASKS:  # released weights have no class names; at least their number must match
            checkpoint.require_classes(len(settings.class_names))
        if task == DETECTION and "softmax" in (own.cls_head, settings.cls_head):
            raise UserError(f"--teacher {path}: for detection, teacher and network need --cls_head sigmoid")
        teachers.networks[task] = checkpoint.build_network().to(device).eval().requires_grad_(False)
        teachers.hashes[task] = checkpoint.sha256
    return teachers
