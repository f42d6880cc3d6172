"""Distillation losses against plain formulas and the released code, and with unused images."""

import math

import pytest
import torch

from losses.distillation import (
    depth_distillation,
    detection_distillation,
    normal_distillation,
    segmentation_distillation,
)
from losses.reduction import global_means
from tests.achievement_golden import files_of, load

LOSSES = {
    "segmentation": segmentation_distillation,
    "depth": depth_distillation,
    "normal": normal_distillation,
    "detection": detection_distillation,
}
SHAPES = {"segmentation": (5, 4, 6), "depth": (1, 4, 6), "normal": (3, 4, 6), "detection": (30, 7)}


def predictions(task: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions of a student and a teacher for 3 images."""
    torch.manual_seed(2)
    student, teacher = torch.randn(2, 3, *SHAPES[task], dtype=torch.float64)
    if task == "normal":
        student, teacher = (torch.nn.functional.normalize(x, dim=1) for x in (student, teacher))
    if task == "detection":
        teacher[..., 4:] -= 2  # about a quarter of the anchors are confident
    return student.requires_grad_(), teacher.requires_grad_()


def plain_detection(student: torch.Tensor, teacher: torch.Tensor) -> tuple[float, int]:
    """Sum of the losses and number of confident anchors."""
    total, count = 0.0, 0
    for s, t in zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True):
        p, y = ([1 / (1 + math.exp(-logit)) for logit in row[4:]] for row in (s, t))
        for pk, yk in zip(p, y, strict=True):
            entropy = -yk * math.log(pk) - (1 - yk) * math.log(1 - pk)
            total += (0.25 if yk > 0.3 else 0.75) * (yk - pk) ** 2 * entropy
        if max(y) > 0.3:
            count += 1
            errors = [abs(a - b) for a, b in zip(s[:4], t[:4], strict=True)]
            total += 10 * sum(e - 0.5 if e > 1 else e * e / 2 for e in errors)
    return total, count


@pytest.mark.parametrize("task", LOSSES)
def test_plain_formulas(task):
    student, teacher = predictions(task)
    is_used = torch.tensor([True, False, True])
    loss = LOSSES[task](student, teacher, is_used)
    s, t = student.detach()[is_used], teacher.detach()[is_used]
    error = (s - t).abs()
    total, count = {
        "segmentation": lambda: (-(t.softmax(1) * s.log_softmax(1)).sum().item(), 48),
        "depth": lambda: (torch.where(error > 1, error - 0.5, error**2 / 2).sum().item(), 48),
        "normal": lambda: (48 - (s * t).sum().item(), 48),
        "detection": lambda: plain_detection(s, t),
    }[task]()
    assert loss.num_pixels == count > 5
    (mean,) = global_means([loss])
    assert mean.value.item() == pytest.approx(total / count)
    mean.value.backward()
    assert teacher.grad is None
    assert not student.grad[1].any()
    assert student.grad[0].any()


@pytest.mark.parametrize("task", LOSSES)
def test_no_images(task):
    student, teacher = predictions(task)
    (mean,) = global_means([LOSSES[task](student, teacher, torch.zeros(3, dtype=torch.bool))])
    mean.value.backward()
    assert mean.value == 0
    assert not student.grad.any()


def test_no_confident_anchor():
    student, teacher = predictions("detection")
    is_used = torch.ones(3, dtype=torch.bool)
    (mean,) = global_means([detection_distillation(student, teacher - 9, is_used)])
    mean.value.backward()
    assert mean.value == 0
    assert not student.grad.any()


@pytest.mark.parametrize("path", files_of("losses"), ids=lambda path: path.stem)
def test_released_values(path):
    """Not for normals, whose golden teacher is ground truth with pixels of zeros, which are not excluded here."""
    arrays = {name: torch.from_numpy(array).double() for name, array in load(path).items()}
    is_used = torch.ones(2, dtype=torch.bool)
    ours = {
        "seg_loss_pseudo": segmentation_distillation(arrays["seg_logits"], arrays["seg_teacher_logits"], is_used),
        "depth_loss_pseudo": depth_distillation(arrays["depth_pred"], arrays["depth_gt"], is_used),
    }
    for name, loss in ours.items():
        assert global_means([loss])[0].value.item() == pytest.approx(arrays[name].item(), rel=1e-8), name
