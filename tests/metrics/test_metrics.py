"""Metrics of panoramas against torchmetrics and plain formulas; invariance to batches and order."""

import importlib
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from metrics.normal import angle_between
from metrics.segmentation import confusion_matrices, predicted_labels, segmentation_metrics
from metrics.weighted import weighted_medians
from tasks import TASKS, build_evaluator
from utils.cpu_kernels import without_cpu_kernels
from utils.sphere import erp_solid_angles

HEIGHT, WIDTH, CLASSES = 8, 16, 6


@pytest.fixture(scope="module")
def oracle():
    """Imported only here, as it takes seconds and every test process imports this file."""
    return importlib.import_module("torchmetrics.functional")


def random_batch(count: int) -> dict:
    """Ground truth with holes; class 5 never occurs, image 1 has no valid depth."""
    depth = 0.5 + 11 * torch.rand(count, 1, HEIGHT, WIDTH)
    mask = depth <= 10
    mask[1:2] = False
    return {
        "index": torch.arange(count),
        "id": [f"image {i}" for i in range(count)],
        "depth": depth.masked_fill(~mask, torch.nan),
        "depth_mask": mask,
        "normal": torch.nn.functional.normalize(torch.randn(count, 3, HEIGHT, WIDTH), dim=1),
        "normal_mask": torch.rand(count, 1, HEIGHT, WIDTH) > 0.3,
        "semantic": torch.randint(-1, 5, (count, HEIGHT, WIDTH)),
    }


def random_predictions(count: int) -> dict:
    logits = torch.randn(count, CLASSES, HEIGHT, WIDTH)
    logits[:, 5] = -100.0
    return {
        "depth": 12 * torch.rand(count, 1, HEIGHT, WIDTH),
        "normal": torch.nn.functional.normalize(torch.randn(count, 3, HEIGHT, WIDTH), dim=1),
        "segmentation": logits,
    }


def part(batch: dict, indices) -> dict:
    return {k: [v[i] for i in indices] if isinstance(v, list) else v[list(indices)] for k, v in batch.items()}


def metrics_of(task: str, prediction: torch.Tensor, batch: dict) -> dict[str, float]:
    """Metrics of the first image of a batch."""
    metric = TASKS[task].metric(CLASSES)
    return dict(zip(metric.image_metric_names, metric.batch_metrics(prediction, batch).values[0].tolist(), strict=True))


def test_depth_against_torchmetrics(oracle):
    batch, predictions = random_batch(1), random_predictions(1)
    mask = batch["depth_mask"][0]
    ours = metrics_of("depth", predictions["depth"], batch)
    p = predictions["depth"][0][mask].double().clamp(0.1, 10)
    d = batch["depth"][0][mask].double().clamp(0.1, 10)
    assert ours["abs_"] == pytest.approx(oracle.mean_absolute_error(p, d).item())
    assert ours["rms"] == pytest.approx(oracle.mean_squared_error(p, d, squared=False).item())
    assert ours["abs_rel"] == pytest.approx(oracle.mean_absolute_percentage_error(p, d).item())
    assert ours["log10"] == pytest.approx(oracle.mean_absolute_error(p.log10(), d.log10()).item())
    assert ours["log_rms"] == pytest.approx(oracle.mean_squared_error(p.log10(), d.log10(), squared=False).item())
    assert ours["sq_rel"] == pytest.approx(((p - d) ** 2 / d).mean().item())
    for i in (1, 2, 3):
        ratio = torch.maximum(p / d, d / p)
        assert ours[f"a{i}"] == pytest.approx((ratio < 1.25**i).double().mean().item())


def test_normals_at_known_angles(cpu_kernels):
    angles = torch.tensor([1.0, 6.0, 10.0, 20.0, 25.0, 90.0, 123.0])
    target = torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand(3, 1, 7)
    prediction = torch.stack([angles.deg2rad().sin(), torch.zeros(7), angles.deg2rad().cos()])[:, None]
    mask = torch.tensor([[True] * 6 + [False]])[None]
    ours = metrics_of("normal", prediction[None], {"normal": target[None], "normal_mask": mask[None]})
    valid = angles[:6]
    assert {name: value for name, value in ours.items() if "solid" not in name} == pytest.approx(
        {
            "mean": valid.mean().item(),
            "median": 10.0,  # the lower median
            "rmse": valid.square().mean().sqrt().item(),
            "a1": 100 / 6,
            "a2": 200 / 6,
            "a3": 300 / 6,
            "a4": 400 / 6,
            "a5": 500 / 6,
        },
        rel=1e-5,
    )


def test_small_angles_are_accurate():
    """The arccosine in float32 would be 0 or 0.028 degrees here."""
    a, b = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1.0, math.radians(0.001), 0.0])
    assert angle_between(a, b).item() == pytest.approx(0.001, rel=1e-5)
    assert angle_between(a, -b).item() == pytest.approx(179.999, rel=1e-9)


def test_segmentation_against_torchmetrics(oracle):
    batch, predictions = random_batch(3), random_predictions(3)
    predictions["segmentation"][:, 4] += 2  # not uniform
    matrices = confusion_matrices(predicted_labels(predictions["segmentation"]), batch["semantic"], CLASSES)
    ours = segmentation_metrics(matrices.sum(0))
    settings = {"num_classes": CLASSES, "ignore_index": -1}
    prediction = predictions["segmentation"].argmax(1)
    assert ours["mIoU"] == pytest.approx(
        oracle.classification.multiclass_jaccard_index(prediction, batch["semantic"], **settings).item()
    )
    assert ours["pixAcc"] == pytest.approx(
        oracle.classification.multiclass_accuracy(prediction, batch["semantic"], average="micro", **settings).item()
    )
    theirs = oracle.classification.multiclass_confusion_matrix(prediction, batch["semantic"], **settings)
    assert torch.equal(matrices.sum(0), theirs)


def test_classes_that_count_for_miou():
    """IoU is 1 and 0.5 for the two labeled classes and 0 for a third, predicted one; three of six do not occur."""
    labels, prediction = torch.tensor([[[0, 0, 1, 1, -1]]]), torch.tensor([[[0, 0, 1, 2, 3]]])
    per_image = metrics_of("segmentation", prediction[:, None], {"semantic": labels})
    assert per_image == pytest.approx({"mIoU_per_image": (1 + 0.5) / 6, "mIoU_occurring": (1 + 0.5) / 3})
    assert segmentation_metrics(confusion_matrices(prediction, labels, CLASSES)[0]) == pytest.approx(
        {"mIoU": (1 + 0.5 + 0) / 3, "pixAcc": 3 / 4, "mAcc": (1 + 0.5) / 2, "fwIoU": 0.5 * 1 + 0.5 * 0.5}
    )


def test_segmentation_by_solid_angle():
    """Against sums over pixels in NumPy; image 2 has no labels."""
    batch, predictions = random_batch(3), random_predictions(3)
    batch["semantic"][2] = -1
    evaluator = build_evaluator(("segmentation",), CLASSES)
    evaluator.update(predictions, batch)
    ours = evaluator.compute()[0]["segmentation"]
    labels, predicted = batch["semantic"].numpy(), predictions["segmentation"].argmax(1).numpy()
    weights = np.broadcast_to(erp_solid_angles(HEIGHT, WIDTH)[:, None], labels.shape)
    valid = labels >= 0
    areas = []  # by class: target, prediction, intersection
    for k in range(CLASSES):
        target, prediction = valid & (labels == k), valid & (predicted == k)
        areas.append([weights[mask].sum() for mask in (target, prediction, target & prediction)])
    occurring = [(t, both / (t + p - both)) for t, p, both in areas if t]
    total = sum(t for t, *_ in areas)
    expected = {
        "mIoU": np.mean([iou for _, iou in occurring]),  # class 5 is never predicted either
        "pixAcc": sum(both for *_, both in areas) / total,
        "mAcc": np.mean([both / t for t, _, both in areas if t]),
        "fwIoU": sum(t * iou for t, iou in occurring) / total,
    }
    assert {name: ours[f"{name}_solid_angle"] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert ours["mIoU_solid_angle"] != pytest.approx(ours["mIoU"], rel=1e-6)


def test_logits_are_not_truncated():
    """The released code takes the argmax of integers: 0.9 and 0.1 would both be 0."""
    assert predicted_labels(torch.tensor([0.1, 0.9]).view(1, 2, 1, 1)).item() == 1


@pytest.mark.parametrize("batch_size", [1, 3])
def test_any_batch_size(batch_size):
    batch, predictions = random_batch(8), random_predictions(8)
    whole = build_evaluator(tuple(TASKS), CLASSES)
    whole.update(predictions, batch)
    parts = build_evaluator(tuple(TASKS), CLASSES)
    for start in range(0, 8, batch_size):
        indices = range(start, min(start + batch_size, 8))
        parts.update(part(predictions, indices), part(batch, indices))
    assert parts.compute() == whole.compute()


def test_any_order_of_images():
    batch, predictions = random_batch(8), random_predictions(8)
    forward, backward = build_evaluator(tuple(TASKS), CLASSES), build_evaluator(tuple(TASKS), CLASSES)
    forward.update(predictions, batch)
    backward.update(part(predictions, range(7, -1, -1)), part(batch, range(7, -1, -1)))
    assert forward.compute() == backward.compute()


def test_images_without_ground_truth_are_skipped():
    """Image 1 has no valid depth."""
    batch, predictions = random_batch(3), random_predictions(3)
    evaluator = build_evaluator(("depth",), CLASSES)
    evaluator.update(predictions, batch)
    results, rows = evaluator.compute()
    error = (predictions["depth"].double().clamp(0.1, 10) - batch["depth"].double().clamp(0.1, 10)) ** 2
    rms = [error[i][batch["depth_mask"][i]].mean().sqrt().item() for i in (0, 2)]
    assert results["depth"]["rms"] == pytest.approx(sum(rms) / 2)
    assert [row["id"] for row in rows] == ["image 0", "image 1", "image 2"]
    assert "depth/rms" not in rows[1]


def test_no_metrics_without_ground_truth():
    batch, predictions = random_batch(2), random_predictions(2)
    batch["depth_mask"][:] = False
    batch["semantic"][:] = -1
    evaluator = build_evaluator(("depth", "segmentation"), CLASSES)
    evaluator.update(predictions, batch)
    results = evaluator.compute()[0]
    assert results["depth"].keys() == results["segmentation"].keys() == {"seam"}, "it needs no ground truth"


def test_solid_angle_weights():
    """Errors beyond 60 degrees of latitude only: a third of the pixels, 13 % of the sphere."""
    height, width = 30, 60
    target = torch.full((1, 1, height, width), 2.0)
    prediction = target.clone()
    prediction[..., :5, :] += 1
    prediction[..., -5:, :] += 1
    batch = {"index": torch.tensor([0]), "id": ["x"], "depth": target, "depth_mask": target > 0}
    evaluator = build_evaluator(("depth",), CLASSES)
    evaluator.update({"depth": prediction}, batch)
    metrics = evaluator.compute()[0]["depth"]
    assert metrics["abs_"] == pytest.approx(1 / 3)
    assert metrics["abs__solid_angle"] == pytest.approx(1 - math.sin(math.pi / 3))
    assert metrics["a1_solid_angle"] == pytest.approx(math.sin(math.pi / 3))


def test_weighted_medians(cpu_kernels):
    """Values with weight 0 are ignored, even if they are not finite."""
    rows = [
        ([3.0, 1.0, 2.0], [1.0, 1.0, 1.0], 2),
        ([3.0, 1.0, 2.0], [5.0, 1.0, 1.0], 3),
        ([3.0, 1.0, 2.0], [1.0, 3.0, 1.0], 1),
        ([7.0, 7.0, 7.0], [1.0, 1.0, 1.0], 7),
        ([3.0, torch.nan, 2.0], [1.0, 0.0, 1.0], 2),
        ([torch.inf, 4.0, -1.0], [0.0, 1.0, 0.0], 4),
    ]
    values, weights, medians = (torch.tensor(column).double() for column in zip(*rows, strict=True))
    assert weighted_medians(values, weights).tolist() == medians.tolist()


def test_weighted_medians_of_nonfinite_values(cpu_kernels):
    values = torch.tensor([[1.0, torch.nan, 2.0], [1.0, torch.inf, 2.0]]).double()
    assert weighted_medians(values, torch.ones(2, 3).double()).isnan().all()


@pytest.mark.parametrize("spread", [1.0, 1e-12, 1e6])
def test_weighted_medians_against_sorting(spread, cpu_kernels):
    """An outlier moves most values into one bin; integer weights make sums exact in any order."""
    values = spread * torch.randint(0, 50, (20, 301)).double() / 7
    values[:, 0] = 1e3
    weights = torch.randint(0, 9, (20, 301)).double()
    expected = []
    for row, counts in zip(values, weights.long(), strict=True):
        repeated = row.repeat_interleave(counts).sort().values
        expected.append(repeated[(len(repeated) + 1) // 2 - 1].item())
    assert weighted_medians(values, weights).tolist() == expected


def test_row_chunks(small_chunks):
    """Bitwise the same as without chunks, as on GPUs."""
    batch, predictions = random_batch(3), random_predictions(3)
    results = []
    for in_chunks in (True, False):
        evaluator = build_evaluator(tuple(TASKS), CLASSES, with_breakdown=True)
        with nullcontext() if in_chunks else without_cpu_kernels():
            evaluator.update(predictions, batch)
        profile = evaluator.breakdowns()["normal"].by_distance
        results.append((evaluator.compute(), profile.counts.tolist(), [x.tolist() for x in profile.means.values()]))
    assert results[0] == results[1]


def test_inputs_are_not_modified():
    batch, predictions = random_batch(2), random_predictions(2)
    inputs = {"target": batch, "prediction": predictions}
    copies = {name: {k: v.clone() for k, v in x.items() if k != "id"} for name, x in inputs.items()}
    build_evaluator(tuple(TASKS), CLASSES).update(predictions, batch)
    for name, tensors in copies.items():
        for key, copy in tensors.items():
            assert torch.equal(inputs[name][key].nan_to_num(-7), copy.nan_to_num(-7)), (name, key)
