"""The losses for perspective images against values by hand and the released code, and with invalid pixels."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from losses.perspective import l1_depth_loss, normal_loss, segmentation_loss
from losses.reduction import LossSum, MeanLoss, global_means
from tests.achievement_golden import files_of, load, targets

LOSSES = {"segmentation": segmentation_loss, "depth": l1_depth_loss, "normal": normal_loss}
SMOOTHED = LOSSES | {"segmentation": partial(segmentation_loss, label_smoothing=0.1)}


def mean_of(loss: LossSum) -> MeanLoss:
    return global_means([loss])[0]


def labels_of(*labels: int) -> dict:
    return {"semantic": torch.tensor([[labels]])}


@pytest.mark.parametrize(
    ("labels", "smoothing", "expected"),
    [((0, 1), 0, 0.988101), ((0, 1), 0.1, 1.054767), ((0, -1), 0, 0.169846), ((0, -1), 0.1, 0.336513)],
)
def test_segmentation(labels, smoothing, expected):
    logits = torch.tensor([[2.0, 0.0, -1.0], [1.0, 1.5, 3.0]]).T.view(1, 3, 1, 2)
    loss = mean_of(segmentation_loss(logits, labels_of(*labels), smoothing))
    assert loss.value.item() == pytest.approx(expected, abs=1e-6)
    assert loss.num_pixels == sum(label >= 0 for label in labels)
    pixels = F.log_softmax(logits, dim=1)[0, :, 0].T
    formula = [
        (1 - smoothing) * -pixels[i, label] + smoothing * -pixels[i].mean()
        for i, label in enumerate(labels)
        if label >= 0
    ]
    assert loss.value.item() == pytest.approx(sum(formula).item() / len(formula))


def test_depth():
    """By hand; the second and fourth pixels are invalid."""
    depth = torch.tensor([1.5, 0, 2, 10]).view(1, 1, 1, 4)
    prediction = torch.tensor([1.0, 2, 3, 12]).view(1, 1, 1, 4)
    loss = mean_of(l1_depth_loss(prediction, {"depth": depth, "depth_mask": (depth > 0) & (depth < 10)}))
    assert loss.value == 0.75
    assert loss.num_pixels == 2


def test_normals():
    """By hand: 45 degrees; shorter ground truth has less weight."""
    prediction = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 1, 0]]).T.view(1, 3, 1, 3)
    prediction = F.normalize(prediction, dim=1)
    normal = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0.5, 0]]).T.view(1, 3, 1, 3)
    mask = torch.tensor([True, False, False]).view(1, 1, 1, 3)
    assert mean_of(normal_loss(prediction, {"normal": normal, "normal_mask": mask})).value.item() == pytest.approx(
        0.292893
    )
    mask = torch.tensor([True, False, True]).view(1, 1, 1, 3)
    loss = mean_of(normal_loss(prediction, {"normal": normal, "normal_mask": mask}))
    assert loss.value.item() == pytest.approx((1 - math.sqrt(0.5) + 0.5) / 2)
    assert loss.num_pixels == 2


@pytest.fixture
def batch():
    """A batch without valid pixels, with ground truth of NaN."""
    mask = torch.zeros(2, 1, 4, 6, dtype=torch.bool)
    return {
        "depth": torch.full((2, 1, 4, 6), torch.nan),
        "depth_mask": mask,
        "normal": torch.full((2, 3, 4, 6), torch.nan),
        "normal_mask": mask,
        "semantic": torch.full((2, 4, 6), -1),
    }


@pytest.mark.parametrize("task", LOSSES)
def test_no_valid_pixels(task, batch):
    channels = {"depth": 1, "normal": 3, "segmentation": 5}[task]
    prediction = torch.randn(2, channels, 4, 6).requires_grad_()
    loss = mean_of(SMOOTHED[task](prediction, batch))
    loss.value.backward()
    assert loss.value == 0
    assert loss.num_pixels == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


@pytest.mark.parametrize("task", LOSSES)
def test_invalid_pixels_are_excluded(task, batch):
    """The mean is over the valid pixels of the whole batch; the gradient of all others is 0."""
    channels = {"depth": 1, "normal": 3, "segmentation": 5}[task]
    prediction = torch.randn(2, channels, 4, 6).requires_grad_()
    valid = torch.zeros(2, 4, 6, dtype=torch.bool)
    valid[0, 1, 2] = valid[1, 0] = True
    count = valid.sum()
    batch["depth"][valid[:, None]] = 3.0
    batch["depth_mask"] = batch["normal_mask"] = valid[:, None]
    batch["normal"].movedim(1, -1)[valid] = torch.tensor([0.6, 0.0, 0.8])
    batch["semantic"][valid] = 2
    loss = mean_of(LOSSES[task](prediction, batch))
    pixels = prediction.movedim(1, -1)[valid]  # (n, C)
    formula = {
        "depth": lambda: (pixels - 3).abs(),
        "normal": lambda: 1 - pixels @ torch.tensor([0.6, 0.0, 0.8]),
        "segmentation": lambda: -pixels.log_softmax(1)[:, 2],
    }
    assert loss.num_pixels == count
    assert loss.value.item() == pytest.approx(formula[task]().sum().item() / count.item(), rel=1e-5)
    loss.value.backward()
    reached = prediction.grad.abs().sum(1) > 0
    assert torch.equal(reached, valid)


SMOOTHING = "seg_loss_smoothing_"  # followed by the label smoothing


@pytest.mark.parametrize("path", files_of("losses"), ids=lambda path: path.stem)
def test_released_values(path):
    arrays = load(path)
    batch = targets(arrays["depth_gt"], arrays["normal_gt"], arrays["seg_labels"])
    logits, depth, normal = (
        torch.from_numpy(arrays[name]).double() for name in ("seg_logits", "depth_pred", "normal_pred")
    )
    ours = {
        **{
            name: segmentation_loss(logits, batch, float(name.removeprefix(SMOOTHING)))
            for name in arrays
            if name.startswith(SMOOTHING)
        },
        "seg_loss_all_ignored": segmentation_loss(logits, {"semantic": torch.full_like(batch["semantic"], -1)}),
        "depth_loss": l1_depth_loss(depth, batch),
        "INTENDED_depth_loss_no_valid_pixel": l1_depth_loss(
            depth, batch | {"depth_mask": torch.zeros_like(depth).bool()}
        ),
        "normal_loss": normal_loss(normal, batch),
    }
    for name, loss in ours.items():
        error = abs(mean_of(loss).value.item() - float(arrays[name]))
        print(f"{name}: {error:.1e}")  # shown with pytest -rP
        assert error <= 1e-8 * abs(float(arrays[name])), name
