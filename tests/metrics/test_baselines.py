"""Baselines that ignore the image: best constants against a plain search, and fixed maps."""

import math

import numpy as np
import pytest
import torch

from metrics.constant_baselines import ConstantClass, ConstantDepth, ConstantNormal
from metrics.depth import METRICS
from metrics.evaluator import evaluate
from metrics.fixed_maps import BoxRoomNormals, RowMajorityClass, RowMeanDepth
from metrics.normal import angle_between
from tasks import TASKS, build_baselines, build_evaluator
from utils.sphere import angles_to_rays, depth_to_points

HEIGHT, WIDTH, CLASSES = 16, 32, 5
STEP = 1.25 ** (1 / 64)  # between candidates


def ground_truth_batches(count: int = 4) -> list[dict]:
    """Batches of two images with different depths and classes, and holes; image 1 has no ground truth."""
    scale = torch.linspace(0.3, 2.5, count)[:, None, None, None]
    depth = scale * (1 + 3 * torch.rand(count, 1, HEIGHT, WIDTH) ** 2)
    mask = (torch.rand(count, 1, HEIGHT, WIDTH) > 0.2) & (depth <= 10)
    normal_mask, semantic = torch.rand_like(depth) > 0.3, torch.randint(-1, 4, (count, HEIGHT, WIDTH))
    semantic[2:] = semantic[2:].clamp_max(1)
    mask[1] = normal_mask[1] = False
    semantic[1] = -1
    normal = torch.nn.functional.normalize(
        torch.randn(count, 3, HEIGHT, WIDTH) + torch.tensor([0, -1.5, 0]).view(3, 1, 1), dim=1
    )
    batch = {
        "index": torch.arange(count),
        "id": [str(i) for i in range(count)],
        "rgb": torch.rand(count, 3, HEIGHT, WIDTH),
        "depth": depth.masked_fill(~mask, math.nan),
        "depth_mask": mask,
        "normal": normal.masked_fill(~normal_mask, 0),
        "normal_mask": normal_mask,
        "semantic": semantic,
    }
    return [{key: value[i : i + 2] for key, value in batch.items()} for i in range(0, count, 2)]


def metrics_of(batches: list[dict], task: str, value: torch.Tensor) -> dict[str, float]:
    """Metrics of a network that predicts the same value (.,) everywhere."""

    def predict(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        return {task: value[None, :, None, None].expand(len(rgb), -1, HEIGHT, WIDTH)}

    return evaluate(predict, batches, build_evaluator((task,), CLASSES))[0][task]


def fitted(baseline, batches: list[dict]):
    for batch in batches:
        baseline.fit(batch)
    baseline.choose()
    for batch in batches:
        baseline.evaluate(batch)
    return baseline.compute()


def deficit(name: str, value: float, other: float) -> float:
    """Relative amount by which a metric is worse than another value of it."""
    higher_is_better = name.startswith(("a1", "a2", "a3", "a4", "a5", "delta", "mIoU", "pixAcc", "mAcc", "fwIoU"))
    return (other - value if higher_is_better else value - other) / max(value, other)


def test_constant_depths_are_optimal():
    """Metrics equal those of a network that predicts the constant; no constant on a finer grid is much better."""
    batches = ground_truth_batches()
    best = fitted(ConstantDepth(CLASSES), batches)
    assert best.keys() == {name + suffix for name in METRICS for suffix in ("", "_solid_angle")}
    for name, (metric, constant) in best.items():
        assert metric == pytest.approx(metrics_of(batches, "depth", torch.tensor([constant]).double())[name], rel=1e-9)
    for constant in np.geomspace(0.1, 10, 500):
        others = metrics_of(batches, "depth", torch.tensor([constant]).double())
        for name, (metric, _) in best.items():
            assert deficit(name, metric, others[name]) < 0.01, (name, constant)
    constants = {best[name].constant for name in ("abs_rel", "rms", "a1")}
    assert len(constants) == 3, "each metric has its own constant"
    assert best["abs_rel"].constant < best["rms"].constant


def test_constant_ground_truth_depth_is_found():
    batches = ground_truth_batches()
    for batch in batches:
        batch["depth"] = torch.full_like(batch["depth"], 2.5)
    best = fitted(ConstantDepth(CLASSES), batches)
    for metric, constant in best.values():
        assert constant / 2.5 < 1.954
        assert metric in (pytest.approx(0, abs=0.02), pytest.approx(1))
    assert best["rms"].constant == pytest.approx(2.5, rel=STEP - 1)


@pytest.mark.parametrize("task", TASKS)
def test_constants_beat_obvious_ones(task):
    """Mean and median of the pixels, the most common direction, and every class."""
    batches = ground_truth_batches()
    best = fitted(TASKS[task].constant(CLASSES), batches)
    depths = torch.cat([b["depth"][b["depth_mask"]] for b in batches])
    candidates = {
        "depth": [depths.mean()[None], depths.median()[None]],
        "normal": [torch.tensor([0.0, -1, 0]), torch.tensor([1.0, 0, 0]), torch.tensor([0, -0.6, 0.8])],
        "segmentation": list(torch.eye(CLASSES)),
    }
    tolerance = {"depth": 0.004, "normal": 0.1, "segmentation": 1e-9}[task]  # normals: few pixels, 3-degree cells
    for value in candidates[task]:
        others = metrics_of(batches, task, value)
        for name, (metric, _) in best.items():
            allowed = 0.05 if name.startswith("delta") else tolerance  # few pixels are within these limits
            assert deficit(name, metric, others[name]) < allowed, name


def test_constant_normal_metrics_are_exact():
    """Directions are chosen with 3-degree cells, but evaluated like predictions of a network."""
    batches = ground_truth_batches()
    best = fitted(ConstantNormal(CLASSES), batches)
    for name, (metric, constant) in best.items():
        assert metric == pytest.approx(metrics_of(batches, "normal", torch.tensor(constant))[name], rel=1e-6)


def test_constant_ground_truth_normal_is_found():
    direction = torch.tensor(angles_to_rays(np.array(0.3), np.array(-1.0))).float()
    normal = direction[None, :, None, None].expand(2, 3, HEIGHT, WIDTH)
    batch = {"normal": normal, "normal_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)}
    best = fitted(ConstantNormal(CLASSES), [batch])["mean"]
    assert angle_between(torch.tensor(best.constant), direction) < 6, "candidates are about 8 degrees apart"


def test_best_class_depends_on_metric():
    """Class 0 fills one image, class 1 small parts of the other two: per-image mIoU prefers class 1."""
    semantic = torch.full((3, HEIGHT, WIDTH), -1)
    semantic[0] = 0
    semantic[1:, 0, :4] = 1
    best = fitted(ConstantClass(CLASSES), [{"semantic": semantic}])
    assert best["pixAcc"].constant == 0
    assert best["mIoU_occurring"] == (pytest.approx(2 / 3), 1)
    assert best["mIoU_per_image"] == (pytest.approx(2 / 3 / CLASSES), 1)


@pytest.mark.parametrize("task", TASKS)
def test_no_constant_without_ground_truth(task):
    batch = ground_truth_batches()[0]
    batch["depth_mask"][:], batch["normal_mask"][:], batch["semantic"][:] = False, False, -1
    assert fitted(TASKS[task].constant(CLASSES), [batch]) == {}


def test_row_maps():
    batches = ground_truth_batches()
    means, classes = RowMeanDepth(CLASSES, HEIGHT, WIDTH), RowMajorityClass(CLASSES, HEIGHT, WIDTH)
    for batch in batches:
        batch["depth_mask"][:, :, 5] = False
        means.fit(batch)
        classes.fit(batch)
    depth = torch.cat([b["depth"].where(b["depth_mask"], math.nan) for b in batches])
    labels = torch.cat([b["semantic"] for b in batches])
    for row in range(HEIGHT):
        expected = depth.nanmean() if row == 5 else depth[:, :, row].nanmean()
        assert means.compute()[0, row].numpy() == pytest.approx(expected.item(), rel=1e-5)
        counts = torch.bincount(labels[:, row][labels[:, row] >= 0], minlength=CLASSES)
        assert (classes.compute()[:, row].argmax(0) == counts.argmax()).all()


def test_box_room_normals():
    """Each ray hits the cube at distance 1 / max |ray|; normals point toward the camera."""
    normals = BoxRoomNormals(CLASSES, 64, 128).compute().numpy()
    assert np.abs(normals).sum(0) == pytest.approx(np.ones((64, 128)))
    rays = depth_to_points(np.ones((64, 128)))
    assert -(np.moveaxis(normals, 0, -1) * rays).sum(-1) == pytest.approx(np.abs(rays).max(-1))
    assert normals[:, 0, 5].tolist() == [0, 1, 0], "ceiling: down (y)"
    assert normals[:, 32, 64].tolist() == [0, 0, -1], "wall ahead: backward"


def test_box_room_baseline():
    """It fits a room aligned with the axes, and is only used in the camera frame."""
    normal = BoxRoomNormals(CLASSES, HEIGHT, WIDTH).compute()[None].expand(2, -1, -1, -1)
    masks = {"normal_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)}
    batch = ground_truth_batches()[0] | {"normal": normal} | masks
    baselines = build_baselines(("normal",), CLASSES, HEIGHT, WIDTH, "camera")
    baselines.fit(batch)
    baselines.evaluate([batch], torch.device("cpu"), with_breakdowns=True)
    results = baselines.results()
    assert results["fixed_map"]["normal"]["mean"] == pytest.approx(0, abs=1e-5)
    assert results["constant"]["normal"]["mean"] > 60
    assert baselines.breakdowns.keys() == {"normal"}
    in_world_frame = build_baselines(("normal",), CLASSES, HEIGHT, WIDTH, "world")
    in_world_frame.evaluate([batch], torch.device("cpu"), with_breakdowns=False)
    assert in_world_frame.results()["fixed_map"] == {}


def test_constants_do_not_depend_on_batch_size():
    pairs = ground_truth_batches()
    singles = [{key: value[i : i + 1] for key, value in batch.items()} for batch in pairs for i in range(2)]
    for task in TASKS:
        best, expected = (fitted(TASKS[task].constant(CLASSES), batches) for batches in (singles, pairs))
        assert best.keys() == expected.keys()
        for name in best:
            assert best[name].metric == pytest.approx(expected[name].metric)
            assert best[name].constant == pytest.approx(expected[name].constant)
