"""Mismatches between predictions and ground truth."""

from pathlib import Path

import pytest

from networks.achievement_checkpoint import AchievementCheckpoint, AchievementSettings
from options.achievement import parse_evaluation
from tasks.meaning import compare_meaning
from utils.errors import UserError
from utils.tasks import ALONG_AXIS
from visual.displays import DisplaySettings

COLORS = ((1, 2, 3), (4, 5, 6))
SETTINGS = AchievementSettings(
    **{"backbone": "mobilenet_v2", "tasks": ("detection", "depth"), "height": 64, "width": 64, "dataset": "VOC"},
    **{"class_names": ("background", "cat"), "class_colours": COLORS, "arch": "VMM"},
)
CHECKPOINT = AchievementCheckpoint(Path("model.pth"), "", SETTINGS, {}, {})
DOGS = DisplaySettings(("background", "dog"), COLORS, ALONG_AXIS, "camera")


def test_detection_of_other_classes():
    with pytest.raises(UserError) as info:
        compare_meaning(CHECKPOINT, DOGS, ("detection", "depth"), [])
    message = str(info.value)
    for part in ("class 1 is 'cat'", "--allow_mismatch detection", "--app depth"):
        assert part in message
    allowed = parse_evaluation(["--ckpt", "x", "--allow_mismatch", "detection"]).allow_mismatch
    [note] = compare_meaning(CHECKPOINT, DOGS, ("detection", "depth"), allowed)["notes"]
    assert "'dog'" in note
