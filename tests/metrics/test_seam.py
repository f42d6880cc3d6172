"""The seam score against closed forms."""

import math

import pytest
import torch

from metrics.seam import depth_differences, label_differences, normal_differences, seam_score
from tasks import TASKS, build_evaluator
from utils.sphere import erp_rays, erp_solid_angles

HEIGHT, WIDTH = 8, 16


def depth_of(logarithm: torch.Tensor) -> torch.Tensor:
    """Depth (1, H, W) with this logarithm (W,) in each row."""
    return logarithm.double().exp().expand(1, HEIGHT, WIDTH)


def logits_of(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 0).float()


@pytest.mark.parametrize("task", list(TASKS))
def test_constant_map_scores_0(task):
    constant = torch.tensor([0.6, 0.8, 0.0])[: 1 if task == "depth" else 3, None, None]
    assert seam_score(constant.expand(-1, HEIGHT, WIDTH), TASKS[task].column_difference) == 0


def test_ramp_scores_half_the_width():
    """W - 1 steps up, and one step of the same height down at the border."""
    ramp = depth_of(0.01 * torch.arange(WIDTH))
    assert seam_score(ramp, depth_differences) == pytest.approx(WIDTH / 2)


@pytest.mark.parametrize("columns", [0, 3, 9])
def test_uniformly_steep_map_scores_1(columns):
    """Equal steps up and down: the border is like any other place."""
    up_and_down = 0.1 * torch.tensor([*range(WIDTH // 2), *range(WIDTH // 2, 0, -1)])
    assert seam_score(depth_of(up_and_down.roll(columns)), depth_differences) == pytest.approx(1)


def test_rays_score_1():
    """Within a row, the angle between neighboring rays is constant."""
    rays = torch.tensor(erp_rays(HEIGHT, WIDTH)).movedim(-1, 0)
    assert seam_score(rays, normal_differences) == pytest.approx(1)
    angle = normal_differences(rays[None])[0, HEIGHT // 2, 0].item()
    tilt = math.pi / HEIGHT / 2  # latitude of the row below the equator
    chord = math.cos(tilt) * math.sin(math.pi / WIDTH)
    assert angle == pytest.approx(math.degrees(2 * math.asin(chord)))


@pytest.mark.parametrize("task", list(TASKS))
def test_mean_over_all_rolls_is_1(task):
    prediction = torch.rand(1 if task == "depth" else 3, HEIGHT, WIDTH) + 0.2
    scores = [seam_score(prediction.roll(i, -1), TASKS[task].column_difference) for i in range(WIDTH)]
    assert sum(scores) / WIDTH == pytest.approx(1)
    assert max(scores) > 1.05, "scores differ"


def test_rows_are_weighted_by_solid_angle():
    """The top row changes at the border and once elsewhere, a row at the equator twice elsewhere."""
    labels = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    labels[0, 7:] = 1
    labels[4, 3:9] = 2
    top, equator = erp_solid_angles(HEIGHT, WIDTH)[[0, 4]]
    assert seam_score(logits_of(labels), label_differences) == pytest.approx(WIDTH * top / (2 * top + 2 * equator))


def test_unit_of_depth_does_not_matter():
    depth = 1 + torch.rand(1, HEIGHT, WIDTH)
    assert seam_score(3 * depth, depth_differences) == pytest.approx(seam_score(depth, depth_differences))


def test_zero_depth():
    depth = torch.zeros(1, HEIGHT, WIDTH)
    depth[..., 3] = 1
    assert seam_score(depth, depth_differences) == 0, "two steps, neither at the border"


def test_nan_prediction_scores_nan():
    assert math.isnan(seam_score(torch.full((1, HEIGHT, WIDTH), torch.nan), depth_differences))


def test_evaluator_averages_over_images():
    """Including images without ground truth."""
    depth = torch.stack([depth_of(0.01 * torch.arange(WIDTH)), depth_of(torch.zeros(WIDTH))])
    invalid = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    batch = {"index": torch.arange(2), "id": ["ramp", "constant"], "depth": depth, "depth_mask": invalid}
    evaluator = build_evaluator(("depth",), 3)
    evaluator.update({"depth": depth}, batch)
    results, rows = evaluator.compute()
    assert results == {"depth": {"seam": pytest.approx(WIDTH / 4)}}
    assert [row["depth/seam"] for row in rows] == pytest.approx([WIDTH / 2, 0])
