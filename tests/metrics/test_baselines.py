"""Baselines that do not use the image: each best constant against a search by hand, and the fixed maps."""

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


def truths(count: int = 4) -> list[dict]:
    """Batches of two rooms of other sizes and classes, with holes; image 1 has no ground truth at all."""
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
    """The metrics of a prediction (.,) that is the same everywhere, as those of any network."""

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


def loss(name: str, value: float, other: float) -> float:
    """By how much a metric is worse than another one, relative to their size."""
    higher_is_better = name.startswith(("a1", "a2", "a3", "a4", "a5", "delta", "mIoU", "pixAcc", "mAcc", "fwIoU"))
    return (other - value if higher_is_better else value - other) / max(value, other)


def test_constant_depths_are_the_best():
    """The metric is that of a network which predicts the constant, and no constant of a finer grid is much better."""
    batches = truths()
    best = fitted(ConstantDepth(CLASSES), batches)
    assert best.keys() == {name + suffix for name in METRICS for suffix in ("", "_solid_angle")}
    for name, (metric, constant) in best.items():
        assert metric == pytest.approx(metrics_of(batches, "depth", torch.tensor([constant]).double())[name], rel=1e-9)
    for constant in np.geomspace(0.1, 10, 500):
        others = metrics_of(batches, "depth", torch.tensor([constant]).double())
        for name, (metric, _) in best.items():
            assert loss(name, metric, others[name]) < 0.01, (name, constant)
    constants = {best[name].constant for name in ("abs_rel", "rms", "a1")}
    assert len(constants) == 3, "each metric has its own"
    assert best["abs_rel"].constant < best["rms"].constant


def test_a_constant_depth_is_found():
    batches = truths()
    for batch in batches:
        batch["depth"] = torch.full_like(batch["depth"], 2.5)
    for metric, constant in fitted(ConstantDepth(CLASSES), batches).values():
        assert constant / 2.5 < 1.954
        assert metric in (pytest.approx(0, abs=0.02), pytest.approx(1))
    assert fitted(ConstantDepth(CLASSES), batches)["rms"].constant == pytest.approx(2.5, rel=STEP - 1)


@pytest.mark.parametrize("task", TASKS)
def test_constants_are_better_than_others(task):
    """Than the mean of the pixels, the direction of most normals, and every class."""
    batches = truths()
    best = fitted(TASKS[task].constant(CLASSES), batches)
    known = torch.cat([b["depth"][b["depth_mask"]] for b in batches])
    candidates = {
        "depth": [known.mean()[None], known.median()[None]],
        "normal": [torch.tensor([0.0, -1, 0]), torch.tensor([1.0, 0, 0]), torch.tensor([0, -0.6, 0.8])],
        "segmentation": list(torch.eye(CLASSES)),
    }
    tolerance = {"depth": 0.004, "normal": 0.1, "segmentation": 1e-9}[task]  # few pixels, in cells of three degrees
    for value in candidates[task]:
        others = metrics_of(batches, task, value)
        for name, (metric, _) in best.items():
            allowed = 0.05 if name.startswith("delta") else tolerance  # few pixels are that near
            assert loss(name, metric, others[name]) < allowed, name


def test_metrics_of_constant_directions_are_exact():
    """Chosen by cells of three degrees, but evaluated as a network that predicts them would be."""
    batches = truths()
    best = fitted(ConstantNormal(CLASSES), batches)
    for name, (metric, constant) in best.items():
        assert metric == pytest.approx(metrics_of(batches, "normal", torch.tensor(constant))[name], rel=1e-6)


def test_a_constant_direction_is_found():
    direction = torch.tensor(angles_to_rays(np.array(0.3), np.array(-1.0))).float()
    normal = direction[None, :, None, None].expand(2, 3, HEIGHT, WIDTH)
    batch = {"normal": normal, "normal_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)}
    best = fitted(ConstantNormal(CLASSES), [batch])["mean"]
    assert angle_between(torch.tensor(best.constant), direction) < 6, "candidates lie about 8 degrees apart"


def test_the_best_class_is_not_always_the_most_frequent_one():
    """Class 0 fills one large part, class 1 small parts of all images: mIoU over images prefers the latter."""
    semantic = torch.full((3, HEIGHT, WIDTH), -1)
    semantic[0] = 0
    semantic[1:, 0, :4] = 1
    best = fitted(ConstantClass(CLASSES), [{"semantic": semantic}])
    assert best["pixAcc"].constant == 0
    assert best["mIoU_occurring"] == (pytest.approx(2 / 3), 1)
    assert best["mIoU_per_image"] == (pytest.approx(2 / 3 / CLASSES), 1)


@pytest.mark.parametrize("task", TASKS)
def test_no_ground_truth_has_no_constant(task):
    batch = truths()[0]
    batch["depth_mask"][:], batch["normal_mask"][:], batch["semantic"][:] = False, False, -1
    assert fitted(TASKS[task].constant(CLASSES), [batch]) == {}


def test_rows():
    batches = truths()
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


def test_the_box_is_a_box():
    """At every pixel the normal of the plane of a cube's face that is hit, towards the camera."""
    normals = BoxRoomNormals(CLASSES, 64, 128).compute().numpy()
    assert np.abs(normals).sum(0) == pytest.approx(np.ones((64, 128)))
    rays = depth_to_points(np.ones((64, 128)))
    assert -(np.moveaxis(normals, 0, -1) * rays).sum(-1) == pytest.approx(np.abs(rays).max(-1))
    assert normals[:, 0, 5].tolist() == [0, 1, 0], "the ceiling's point down, which is y"
    assert normals[:, 32, 64].tolist() == [0, 0, -1], "the wall ahead faces the camera"


def test_the_box_fits_a_room_along_the_axes():
    """Much better than any constant; and it is not used for normals of another frame than the camera's."""
    normal = BoxRoomNormals(CLASSES, HEIGHT, WIDTH).compute()[None].expand(2, -1, -1, -1)
    batch = truths()[0] | {"normal": normal, "normal_mask": torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)}
    baselines = build_baselines(("normal",), CLASSES, HEIGHT, WIDTH, "camera")
    baselines.fit(batch)
    baselines.evaluate([batch], torch.device("cpu"), with_breakdowns=True)
    results = baselines.results()
    assert results["fixed_map"]["normal"]["mean"] == pytest.approx(0, abs=1e-5)
    assert results["constant"]["normal"]["mean"] > 60
    assert baselines.breakdowns.keys() == {"normal"}
    of_world = build_baselines(("normal",), CLASSES, HEIGHT, WIDTH, "world")
    of_world.evaluate([batch], torch.device("cpu"), with_breakdowns=False)
    assert of_world.results()["fixed_map"] == {}


def test_any_batch_size():
    whole = truths()
    single = [{key: value[i : i + 1] for key, value in batch.items()} for batch in whole for i in range(2)]
    for task in TASKS:
        ours, theirs = (fitted(TASKS[task].constant(CLASSES), batches) for batches in (single, whole))
        for name in ours:
            assert ours[name].metric == pytest.approx(theirs[name].metric)
            assert ours[name].constant == pytest.approx(theirs[name].constant)
