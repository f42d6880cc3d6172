"""The losses of Elite360M against plain formulas, their reduction, and invalid pixels."""

import math

import pytest
import torch

from losses.balancing.fixed import FixedWeights
from losses.balancing.uncertainty import UncertaintyWeighting
from losses.reduction import MeanLoss, global_means
from tasks import TASKS
from tasks.build import build_objective, resize_targets


@pytest.fixture
def batch():
    """Two images of 8 x 16 pixels; each map has invalid pixels."""
    normal = torch.nn.functional.normalize(torch.randn(2, 3, 8, 16), dim=1)
    depth = 11 * torch.rand(2, 1, 8, 16)
    return {
        "rgb": torch.rand(2, 3, 8, 16),
        "depth": depth,
        "depth_mask": depth <= 10,
        "normal": normal,
        "normal_mask": torch.rand(2, 1, 8, 16) > 0.2,
        "semantic": torch.randint(-1, 5, (2, 8, 16)),
    }


def random_prediction(task: str) -> torch.Tensor:
    return torch.randn(2, {"depth": 1, "normal": 3, "segmentation": 5}[task], 8, 16).requires_grad_()


def mean_loss(task: str, prediction: torch.Tensor, batch: dict) -> MeanLoss:
    """The mean loss of one task over a batch."""
    [loss] = global_means([TASKS[task].loss(prediction, batch)])
    return loss


def test_pixel_counts_are_exchanged_together(batch, monkeypatch):
    """The counts of all tasks, final and intermediate, in one vector."""
    exchanged = []
    monkeypatch.setattr("losses.reduction.all_sum", lambda counts: exchanged.append(counts) or 2 * counts)
    small = {task: random_prediction(task)[..., ::2, ::2] for task in TASKS}
    predictions = {task: random_prediction(task) for task in TASKS} | {"intermediate": small}
    network = torch.nn.Identity()
    network.tasks = tuple(TASKS)
    losses = build_objective(network).losses_of(predictions, batch)
    [counts] = exchanged
    assert len(counts) == 6
    assert counts[[0, 2]].tolist() == [batch["depth_mask"].sum(), (batch["semantic"] >= 0).sum()]
    alone = mean_loss("depth", predictions["depth"], batch).value
    assert losses["depth"].item() == pytest.approx(alone.item(), rel=1e-6), "both counts are doubled"


def test_berhu(batch):
    """By hand: errors 1, 0.1 and 0.2, delta = 0.2; (1 + 0.04) / 0.4 = 2.6 above delta, |e| up to it."""
    target = torch.tensor([2.0, 3.0, 4.0, 5.0]).view(1, 1, 1, 4)
    prediction = target + torch.tensor([1.0, -0.1, 0.2, 70.0]).view(1, 1, 1, 4)
    mask = torch.tensor([True, True, True, False]).view(1, 1, 1, 4)
    loss = mean_loss("depth", prediction, {"depth": target, "depth_mask": mask})
    assert loss.value.item() == pytest.approx((2.6 + 0.1 + 0.2) / 3, rel=1e-5)
    assert loss.num_pixels == 3


def test_berhu_threshold_is_a_constant(batch):
    """The gradient above the threshold is e / delta, without a part through delta."""
    prediction = torch.tensor([1.0, 0.5]).view(1, 1, 1, 2).requires_grad_()
    target = {"depth": torch.zeros(1, 1, 1, 2), "depth_mask": torch.ones(1, 1, 1, 2, dtype=torch.bool)}
    mean_loss("depth", prediction, target).value.backward()
    assert prediction.grad.flatten().tolist() == pytest.approx([1 / 0.2 / 2, 0.5 / 0.2 / 2])


def test_normal_loss(batch):
    """90 and 60 degrees count, 1 and 179 degrees are excluded. The length of the prediction does not matter."""
    target = torch.tensor([[1.0, 0, 0]] * 4).T.view(1, 3, 1, 4)
    angles = torch.tensor([90.0, 60.0, 1.0, 179.0]).deg2rad()
    prediction = 5 * torch.stack([angles.cos(), angles.sin(), torch.zeros(4)]).view(1, 3, 1, 4)
    loss = mean_loss("normal", prediction, {"normal": target, "normal_mask": torch.ones(1, 1, 1, 4, dtype=torch.bool)})
    assert loss.value.item() == pytest.approx((math.pi / 2 + math.pi / 3) / 2, rel=1e-5)
    assert loss.num_pixels == 2


def test_cross_entropy():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [9.0, 9.0]]).T.view(1, 2, 1, 3)
    loss = mean_loss("segmentation", logits, {"semantic": torch.tensor([[[0, 1, -1]]])})
    expected = (-math.log(math.e**2 / (math.e**2 + 1)) + math.log(2)) / 2
    assert loss.value.item() == pytest.approx(expected, rel=1e-5)
    assert loss.num_pixels == 2


@pytest.mark.usefixtures("cpu_kernels")
@pytest.mark.parametrize("highest", [2, -1])
@pytest.mark.parametrize("rows_at_once", [1, 3, 8, 100])
@pytest.mark.parametrize("size", [(20, 16), (10, 8), (15, 12), (35, 28)])
def test_cross_entropy_of_resized_logits(size, rows_at_once, highest, monkeypatch):
    """The chunks of rows do not change value and gradient, at any scale."""
    height, width = size
    monkeypatch.setattr("utils.chunks.CHUNK_ELEMENTS", rows_at_once * 3 * width)
    labels = torch.randint(-1, highest + 1, (2, height, width))
    logits = torch.randn(2, 3, 5, 4).double().requires_grad_()
    ours = mean_loss("segmentation", logits, {"semantic": labels})
    resized = torch.nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    plain = mean_loss("segmentation", resized, {"semantic": labels})
    assert torch.allclose(ours.value, plain.value)
    assert ours.num_pixels == plain.num_pixels == (labels >= 0).sum()
    for a, b in zip(*(torch.autograd.grad(3 * loss.value, logits) for loss in (ours, plain)), strict=True):
        assert torch.allclose(a, b)


@pytest.mark.usefixtures("cpu_kernels")
def test_cross_entropy_without_gradients():
    """The same value without a graph, as in validation."""
    logits, batch = torch.randn(2, 3, 5, 4).requires_grad_(), {"semantic": torch.randint(-1, 3, (2, 20, 16))}
    expected = mean_loss("segmentation", logits, batch).value
    with torch.no_grad():
        value = mean_loss("segmentation", logits, batch).value
    assert value == expected
    assert not value.requires_grad


@pytest.mark.parametrize("size", [(32, 32), (16, 33), (2, 8)])
def test_cross_entropy_of_other_aspect_ratios(size):
    with pytest.raises(ValueError, match="aspect ratio"):
        mean_loss("segmentation", torch.randn(1, 3, 4, 8), {"semantic": torch.zeros(1, *size, dtype=torch.long)})


def test_normal_loss_against_cosine_similarity(batch):
    prediction = (5 * torch.randn(2, 3, 8, 16)).double().requires_grad_()
    batch["normal"] = batch["normal"].double()
    cosine = torch.nn.functional.cosine_similarity(prediction, batch["normal"], dim=1)[batch["normal_mask"][:, 0]]
    plain = torch.arccos(cosine[cosine.abs() < 0.999]).mean()
    ours = mean_loss("normal", prediction, batch).value
    assert torch.allclose(ours, plain)
    for a, b in zip(*(torch.autograd.grad(loss, prediction) for loss in (ours, plain)), strict=True):
        assert torch.allclose(a, b)


@pytest.mark.parametrize("task", TASKS)
def test_zero_at_ground_truth(task, batch):
    logits = 1e4 * torch.nn.functional.one_hot(batch["semantic"].clamp_min(0), 5).movedim(-1, 1).float()
    prediction = {"depth": batch["depth"], "normal": batch["normal"], "segmentation": logits}[task]
    prediction = prediction.clone().requires_grad_()
    loss = mean_loss(task, prediction, batch).value
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("task", TASKS)
def test_invalid_pixels_are_ignored(task, batch):
    """Ground truth of NaN and predictions of 1e9 or infinity in invalid pixels change neither value nor gradient."""
    prediction = random_prediction(task)
    before = mean_loss(task, prediction, batch).value
    gradient = torch.autograd.grad(before, prediction)[0]
    valid = (batch["semantic"] >= 0)[:, None] if task == "segmentation" else batch[f"{task}_mask"]
    assert not valid.all()
    if task != "segmentation":
        batch[task] = batch[task].masked_fill(~valid, torch.nan)
    infinite = 1e9 if task == "segmentation" else torch.inf
    changed = prediction.detach().masked_fill(~valid, infinite).requires_grad_()
    after = mean_loss(task, changed, batch).value
    assert after == before
    changed_gradient = torch.autograd.grad(after, changed)[0]
    assert torch.equal(changed_gradient, gradient)
    assert not changed_gradient.masked_select(~valid).any()


@pytest.mark.parametrize("task", TASKS)
def test_nan_predictions_give_nan(task, batch):
    prediction = torch.full_like(random_prediction(task), torch.nan)
    assert mean_loss(task, prediction, batch).value.isnan()


@pytest.mark.parametrize("task", TASKS)
def test_no_valid_pixels(task, batch):
    for key in ("depth_mask", "normal_mask"):
        batch[key] = torch.zeros_like(batch[key])
    batch["semantic"] = torch.full_like(batch["semantic"], -1)
    prediction = random_prediction(task)
    loss = mean_loss(task, prediction, batch)
    loss.value.backward()
    assert loss.value == 0
    assert loss.num_pixels == 0
    assert not prediction.grad.any()


def test_mean_is_over_pixels_not_images(batch):
    """One valid pixel in the first image, all in the second."""
    batch["depth_mask"] = torch.ones_like(batch["depth_mask"])
    batch["depth_mask"][0] = False
    batch["depth_mask"][0, 0, 0, 0] = True
    batch["depth"] = torch.zeros_like(batch["depth"])
    prediction = torch.zeros(2, 1, 8, 16)
    prediction[0] = 1.0
    loss = mean_loss("depth", prediction, batch)
    assert loss.value.item() == pytest.approx(2.6 / 129, rel=1e-5)


def test_uncertainty_weighting():
    """10 w exp(-s) F + s with w = 1, 2, 2."""
    weighting = UncertaintyWeighting(tuple(TASKS), {task: TASKS[task].loss_weight for task in TASKS})
    weighting.log_variances.data = torch.tensor([0.5, -0.5, 1.0])
    count = torch.tensor(7.0)
    losses = {task: MeanLoss(torch.tensor(value), count) for task, value in zip(TASKS, (0.3, 0.2, 0.1), strict=True)}
    expected = 10 * math.exp(-0.5) * 0.3 + 0.5 + 20 * math.exp(0.5) * 0.2 - 0.5 + 20 * math.exp(-1) * 0.1 + 1
    weighting.begin_step()
    assert weighting(losses, {}, torch.ones(3)).item() == pytest.approx(expected, rel=1e-6)
    assert weighting.weights() == pytest.approx(
        {"depth": math.exp(-0.5), "normal": 2 * math.exp(0.5), "segmentation": 2 * math.exp(-1)}
    )


def test_initial_uncertainty_weighting_is_ten_times_the_weighted_sum():
    """So the logged weights are comparable: the intermediate loss has a tenth of the coefficient in both."""
    uncertainty, fixed = (
        method(("depth", "normal"), {"depth": 1.0, "normal": 1.0}) for method in (UncertaintyWeighting, FixedWeights)
    )
    final, intermediate = (
        {task: MeanLoss(torch.tensor(value), torch.tensor(5.0)) for task, value in losses.items()}
        for losses in ({"depth": 0.3, "normal": 0.2}, {"depth": 0.5, "normal": 0.7})
    )
    totals = [balancing(final, intermediate, torch.ones(2)).item() for balancing in (uncertainty, fixed)]
    assert totals[0] == pytest.approx(10 * totals[1])
    assert uncertainty.weights() == fixed.weights()


def test_log_variance_without_labels_has_no_gradient():
    weighting = UncertaintyWeighting(("depth", "normal"), {"depth": 1, "normal": 2})
    losses = {
        "depth": MeanLoss(torch.tensor(0.3), torch.tensor(5.0)),
        "normal": MeanLoss(torch.tensor(0.0), torch.tensor(0.0)),
    }
    weighting.begin_step()
    weighting(losses, {}, torch.ones(2)).backward()
    assert weighting.log_variances.grad[0] != 0
    assert weighting.log_variances.grad[1] == 0


@pytest.mark.parametrize(
    ("dtype", "expected"), [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64,) * 2]
)
def test_losses_keep_the_precision_of_the_predictions(batch, dtype, expected):
    """And of the ground truth: 1 + 1e-10 is not 1 in float64. bfloat16 becomes float32."""
    predictions = {task: random_prediction(task).detach().to(dtype) for task in TASKS}
    batch = {key: x.to(expected) if x.is_floating_point() else x for key, x in batch.items()}
    batch["depth"] = torch.full_like(batch["depth"], 1 + 1e-10)
    predictions["intermediate"] = {task: predictions[task] for task in TASKS}
    objective = build_objective(FixedPredictions(predictions)).to(expected)
    assert all(loss.dtype == expected for loss in objective(batch).values())
    assert torch.equal(resize_targets(batch, (4, 8))["depth"], batch["depth"][..., ::2, ::2])


def test_resized_targets(batch):
    """Nearest neighbor: values are not interpolated, and types stay the same."""
    small = resize_targets(batch, (4, 8))
    for key in ("depth", "depth_mask", "normal", "normal_mask", "semantic"):
        assert small[key].dtype == batch[key].dtype
        assert torch.equal(small[key], batch[key][..., ::2, ::2])


class FixedPredictions(torch.nn.Module):
    """Stands in for a network; always returns the same predictions."""

    tasks = tuple(TASKS)

    def __init__(self, predictions: dict):
        super().__init__()
        self.predictions = predictions

    def forward(self, rgb):
        return self.predictions


def test_total_loss_of_objective(batch):
    """total = weighted final losses + intermediate losses, the latter against resized targets."""
    predictions = {task: random_prediction(task) for task in TASKS}
    predictions["intermediate"] = {task: predictions[task][..., ::4, ::4] for task in TASKS}
    losses = build_objective(FixedPredictions(predictions))(batch)
    small = resize_targets(batch, (2, 4))
    for task in TASKS:
        assert losses[task] == mean_loss(task, predictions[task], batch).value
        assert losses[f"intermediate_{task}"] == mean_loss(task, predictions["intermediate"][task], small).value
    weights = {"depth": 10, "normal": 20, "segmentation": 20}
    expected = sum(weights[task] * losses[task] + losses[f"intermediate_{task}"] for task in TASKS)
    assert torch.allclose(losses["total"], expected)
