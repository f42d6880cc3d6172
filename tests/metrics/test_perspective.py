"""Metrics of perspective images against plain formulas and values of the released code."""

import json
import math

import numpy as np
import pytest
import torch

from metrics.perspective import (
    DepthMetric,
    NormalMetric,
    PerspectiveMetric,
    SegmentationMetric,
    lower_median,
)
from metrics.summary import ACCURACY, SUMMARIZED, summary_score
from tests.achievement_golden import files_of, load, targets
from utils.boxes import detect, stored_pixels

METRICS = {"segmentation": SegmentationMetric, "depth": DepthMetric, "normal": NormalMetric}
K = 5
SIZE = (6, 8)


def evaluate(metric: PerspectiveMetric, batches: list[tuple[torch.Tensor, dict]]) -> dict[str, float]:
    """Metrics of batches of (prediction, ground truth): over all pixels, and means over images with ground truth."""
    rows = []
    for prediction, batch in batches:
        metrics = metric.batch_metrics(prediction, batch)
        assert metrics.values.dtype == torch.float64
        assert metrics.values.shape == (len(prediction), len(metric.image_metric_names))
        rows.append(metrics.values[metrics.has_ground_truth])
    means = torch.cat(rows).mean(0).tolist()
    result = metric.dataset_metrics() | dict(zip(metric.image_metric_names, means, strict=True))
    assert result.keys() == set(metric.metric_names)
    return result


def random_batch(count: int, seed: int) -> tuple[dict[str, torch.Tensor], dict]:
    """Predictions by task, and ground truth with holes, of `count` images."""
    g = torch.Generator().manual_seed(seed)

    def rand(channels: int) -> torch.Tensor:
        return torch.rand(count, channels, *SIZE, generator=g)

    predictions = {"depth": 8 * rand(1), "normal": rand(3) - 0.5, "segmentation": rand(K)}
    batch = {
        "depth": 0.1 + 9 * rand(1),
        "depth_mask": rand(1) > 0.3,
        "normal": torch.nn.functional.normalize(rand(3) - 0.3, dim=1),
        "normal_mask": rand(1) > 0.3,
        "semantic": torch.randint(-1, K - 1, (count, *SIZE), generator=g),  # the last class does not occur
    }
    return predictions, batch


def part(batch: dict, rows: slice) -> dict:
    return {key: value[rows] for key, value in batch.items()}


def plain_segmentation(logits: torch.Tensor, batch: dict) -> dict[str, float]:
    labels = batch["semantic"]
    valid = labels >= 0
    predicted, labels = logits.argmax(1)[valid].tolist(), labels[valid].tolist()
    pairs = list(zip(predicted, labels, strict=True))
    ious = []
    for k in range(K):
        either = sum(k in pair for pair in pairs)
        ious.append(sum(pair == (k, k) for pair in pairs) / either if either else 0.0)
    return {"mIoU": sum(ious) / K, "pixAcc": sum(p == t for p, t in pairs) / len(pairs)}


def plain_depth(prediction: torch.Tensor, batch: dict) -> dict[str, float]:
    mask = batch["depth_mask"]
    p, d = prediction[mask].double().clamp(0.001, 10).numpy(), batch["depth"][mask].double().numpy()
    logs = np.log(p) - np.log(d)
    return {
        **{f"d{i}": np.mean(np.maximum(p / d, d / p) < 1.25**i) for i in (1, 2, 3)},
        "rms": np.sqrt(np.mean((p - d) ** 2)),
        "log_rms": np.sqrt(np.mean(logs**2)),
        "abs_rel": np.mean(np.abs(p - d) / d),
        "sq_rel": np.mean((p - d) ** 2 / d),
        "log10": np.mean(np.abs(np.log10(p) - np.log10(d))),
        "si_log": np.std(logs),
    }


def plain_normal(prediction: torch.Tensor, batch: dict) -> dict[str, float]:
    mask = batch["normal_mask"][:, 0]
    p, n = (x.movedim(1, -1)[mask].double().numpy() for x in (prediction, batch["normal"]))
    cosine = np.sum(p * n, axis=1) / np.linalg.norm(p, axis=1)
    angle = np.sort(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    fractions = {name: np.mean(angle < float(name)) for name in ("11.25", "22.5", "30")}
    return {"mean": angle.mean(), "median": angle[(len(angle) - 1) // 2], **fractions}


PLAIN = {"segmentation": plain_segmentation, "depth": plain_depth, "normal": plain_normal}


@pytest.mark.parametrize("task", METRICS)
def test_per_image_and_per_pixel(task):
    """Batches of 3 and 2 images, one of which has no ground truth."""
    batches = [random_batch(3, seed=1), random_batch(2, seed=2)]
    for key, invalid in (("depth_mask", False), ("normal_mask", False), ("semantic", -1)):
        batches[1][1][key][1] = invalid
    ours = evaluate(METRICS[task](K), [(predictions[task], batch) for predictions, batch in batches])
    prediction = torch.cat([predictions[task] for predictions, _ in batches])[:4]
    batch = {key: torch.cat([batch[key] for _, batch in batches])[:4] for key in batches[0][1]}
    per_pixel = PLAIN[task](prediction, batch)
    single_images = [PLAIN[task](prediction[i : i + 1], part(batch, slice(i, i + 1))) for i in range(4)]
    assert len(ours) == 2 * len(per_pixel)
    for name, value in per_pixel.items():
        per_image = np.mean([metrics[name] for metrics in single_images])
        if task == "normal":
            tolerance = {"abs": 0.0006} if name == "median" else {"rel": 1e-9}
            assert ours[name] == pytest.approx(per_image, rel=1e-9), name
            assert ours[f"{name}_per_pixel"] == pytest.approx(value, **tolerance), name
        else:
            assert ours[name] == pytest.approx(value, rel=1e-9), name
            assert ours[f"{name}_per_image"] == pytest.approx(per_image, rel=1e-9), name
        assert per_image != pytest.approx(value, rel=1e-4), "the test could not tell them apart"


@pytest.mark.parametrize("task", METRICS)
def test_any_batch_size(task):
    predictions, batch = random_batch(4, seed=3)
    pairs = [(predictions[task][rows], part(batch, rows)) for rows in (slice(0, 1), slice(1, 4))]
    expected = evaluate(METRICS[task](K), [(predictions[task], batch)])
    assert evaluate(METRICS[task](K), pairs) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("task", METRICS)
def test_no_ground_truth(task):
    predictions, batch = random_batch(2, seed=4)
    batch["semantic"].fill_(-1)
    batch["depth_mask"].fill_(False)
    batch["normal_mask"].fill_(False)
    metric = METRICS[task](K)
    assert not metric.batch_metrics(predictions[task], batch).has_ground_truth.any()
    assert metric.dataset_metrics() == {}


@pytest.mark.parametrize("task", METRICS)
def test_invalid_pixels_are_ignored(task):
    """Even NaN, in predictions and ground truth."""
    predictions, batch = random_batch(2, seed=5)
    others, other_batch = random_batch(2, seed=5)
    invalid = {
        "depth": ~batch["depth_mask"],
        "normal": ~batch["normal_mask"].expand(-1, 3, -1, -1),
        "segmentation": (batch["semantic"] < 0)[:, None].expand(-1, K, -1, -1),
    }[task]
    assert invalid.any()
    others[task][invalid] = torch.nan
    if task != "segmentation":
        other_batch[task][invalid] = torch.nan
    ours = evaluate(METRICS[task](K), [(predictions[task], batch)])
    assert evaluate(METRICS[task](K), [(others[task], other_batch)]) == ours


def test_absent_classes_count_as_zero():
    """The third class is only predicted where labels are ignored; the fourth never occurs."""
    logits = torch.nn.functional.one_hot(torch.tensor([[[0, 1, 2, 2]]]), 4).movedim(-1, 1).double()
    metrics = evaluate(SegmentationMetric(4), [(logits, {"semantic": torch.tensor([[[0, 1, 1, -1]]])})])
    assert metrics["mIoU"] == 0.375
    assert metrics["pixAcc"] == pytest.approx(2 / 3)


def test_depth_of_known_pixels():
    """Predictions of NaN count as 0.001 m, of 20 m as 10 m."""
    prediction = torch.tensor([1.0, 2.0, math.nan, 20.0]).view(1, 1, 1, 4)
    depth = torch.tensor([1.1, 3.0, 2.0, 9.0]).view(1, 1, 1, 4)
    metrics = evaluate(DepthMetric(K), [(prediction, {"depth": depth, "depth_mask": depth > 0})])
    expected = {"d1": 0.5, "d2": 0.75, "d3": 0.75, "rms": 1.225357, "log_rms": 3.806518, "abs_rel": 0.383713}
    expected |= {"sq_rel": 0.612884, "si_log": 3.239330, "log10": 0.891068}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("prediction", "clamped"), [(math.inf, 10), (-math.inf, 0.001), (-3.0, 0.001), (11.0, 10)])
def test_predicted_depth_is_clamped(prediction, clamped):
    batch = {"depth": torch.full((1, 1, 1, 1), 4.0), "depth_mask": torch.ones(1, 1, 1, 1, dtype=torch.bool)}
    metrics = evaluate(DepthMetric(K), [(torch.full((1, 1, 1, 1), prediction), batch)])
    assert metrics["rms"] == pytest.approx(abs(clamped - 4))


@pytest.mark.parametrize(("count", "expected"), [(1, 0.0), (2, 0.0), (3, 1.0), (4, 1.0), (5, 2.0)])
def test_lower_median(count, expected):
    values = torch.tensor([9.0, *range(count), 9.0]).flip(0).view(1, 1, -1)
    mask = torch.ones(1, 1, 1, count + 2, dtype=torch.bool)
    mask[..., [0, -1]] = False
    assert lower_median(values, mask).item() == expected


def test_angles_of_parallel_and_orthogonal_normals():
    """0, 90 and 180 degrees; cosines above 1 are clamped."""
    prediction = torch.tensor([[1.0, 0, 0], [0, 3, 0], [-2, 0, 0]]).T.view(1, 3, 1, 3)
    normal = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 1, 3) * (1 + 1e-6)
    mask = torch.ones(1, 1, 1, 3, dtype=torch.bool)
    metrics = evaluate(NormalMetric(K), [(prediction, {"normal": normal, "normal_mask": mask})])
    assert metrics["mean"] == pytest.approx(90)
    assert metrics["median_per_pixel"] == pytest.approx(90, abs=0.001)
    assert metrics["11.25"] == metrics["30"] == pytest.approx(1 / 3)


def check(ours: dict[str, float], theirs: dict[str, np.ndarray], prefix: str, names: list[str], rtol: float) -> None:
    for name in names:
        expected = float(theirs[prefix + name])
        error = abs(ours[name] - expected)
        print(f"{prefix}{name}: {error:.1e}")  # shown with pytest -rP
        assert error <= rtol * abs(expected), name


DEPTH_NAMES = list(DepthMetric.dataset_metric_names)
NORMAL_NAMES = list(NormalMetric.image_metric_names)


@pytest.mark.parametrize("path", files_of("metrics"), ids=lambda path: path.stem)
def test_released_values(path):
    arrays = load(path)
    num_classes = int(arrays["seg_num_classes"])
    batch = targets(arrays["depth_gt"], arrays["normal_gt"], arrays["seg_label"])
    predicted = torch.from_numpy(arrays["seg_pred"])
    logits = torch.nn.functional.one_hot(predicted, num_classes).movedim(-1, 1).double()
    segmentation = SegmentationMetric(num_classes)
    check(evaluate(segmentation, [(logits, batch)]), arrays, "seg_", ["mIoU"], 1e-8)
    assert segmentation.confusion.diagonal().tolist() == arrays["seg_intersection"].tolist()
    assert segmentation.confusion.sum(1).tolist() == arrays["seg_label_area"].tolist()

    depth = evaluate(DepthMetric(K), [(torch.from_numpy(arrays["depth_pred"]).double(), batch)])
    check(depth, arrays, "depth_", DEPTH_NAMES, 1e-8)

    normal = NormalMetric(K)
    prediction = torch.from_numpy(arrays["normal_pred"]).double()
    of_images = normal.batch_metrics(prediction, batch).values.numpy()
    assert arrays["normal_columns"].tolist() == NORMAL_NAMES
    np.testing.assert_allclose(of_images, arrays["normal_per_image"], rtol=1e-8)
    check(evaluate(NormalMetric(K), [(prediction, batch)]), arrays, "normal_", NORMAL_NAMES, 1e-8)


@pytest.mark.parametrize("path", files_of("metrics"), ids=lambda path: path.stem)
def test_released_summary_scores(path):
    """Keys of mAP include the year of the rule: scores use the geometric mean of them, accuracies the mean."""
    arrays = load(path)
    inputs = json.loads(str(arrays["summary_inputs"]))
    columns = ("detection", "segmentation", "depth", "normal")
    for metrics, score, accuracies in zip(
        inputs, arrays["summary_scores"], arrays["kpi_of_summary_inputs"], strict=True
    ):
        if precisions := [value for name, value in metrics.items() if name.startswith("mAP")]:
            metrics["mAP"] = np.mean(precisions)
        for task, expected in zip(columns, accuracies, strict=True):
            assert metrics.get(ACCURACY[task], math.nan) == pytest.approx(expected, rel=1e-8, nan_ok=True)
        if precisions:
            metrics["mAP"] = math.prod(precisions) ** (1 / len(precisions))
        by_task = {task: metrics if SUMMARIZED[task][0][0] in metrics else {} for task in columns}
        assert summary_score(by_task) == pytest.approx(score, rel=1e-8)


def test_summary_score():
    metrics = {
        "segmentation": {"mIoU": 0.44},
        "depth": {"d1": 0.8, "rms": 0.6},
        "normal": {"mean": 20, "median": 14, "11.25": 0.45},
    }
    assert summary_score(metrics) == pytest.approx(0.390423, abs=1e-6)
    with_detection = {"detection": {"mAP": 0.57}, "segmentation": {"mIoU": 0.78}, "depth": {"d1": 0.89, "rms": 0.4}}
    assert summary_score(with_detection) == pytest.approx(0.872057, abs=1e-6)
    assert summary_score(metrics | {"segmentation": {"mIoU": 0.0}}) == 0
    assert summary_score(metrics | {"depth": {"d1": 0.8, "rms": 0.0}}) == 0
    assert summary_score({"segmentation": {"mIoU": 0.44}, "depth": {}}) == pytest.approx(0.44)
    assert math.isnan(summary_score(metrics | {"segmentation": {"mIoU": math.nan}}))
    assert math.isnan(summary_score({"depth": {}}))


def regenerated_batch(h: np.random.Generator, check_sums: np.ndarray) -> tuple[dict[str, torch.Tensor], dict]:
    """Predictions and ground truth of a batch of `evaluation.npz`; see the README of the golden files."""
    count, classes, size = 2, 21, 128
    logits = h.standard_normal((count, classes, size, size)) * np.linspace(0.2, 1.6, classes)[:, None, None]
    depth = h.standard_normal((count, 1, size, size)) * 2 + 4
    normals = h.standard_normal((count, 3, size, size))
    loc, conf = h.standard_normal((count, 1008, 4)), h.standard_normal((count, 1008, classes - 1)) * 1.5 - 6
    logits, depth, normals, loc, conf = (x.astype(np.float32) for x in (logits, depth, normals, loc, conf))
    labels = h.integers(0, classes - 3, (count, size, size))
    labels[h.random(labels.shape) < 0.2] = 255
    corrected = (labels != 255) & (h.random(labels.shape) < 0.6)
    b, y, x = np.nonzero(corrected)
    logits[b, labels[b, y, x], y, x] += 6
    logits[:, -1] -= 100
    conf[1] -= 4
    noise = np.exp(0.2 * h.standard_normal(depth.shape))
    depth_mm = np.clip(depth * 1000 * noise, 0, 12000).astype(np.int16)
    depth_mm[h.random(depth.shape) < 0.2] = 0

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    normal_gt = unit(unit(normals) + 0.3 * h.standard_normal(normals.shape))
    normal_gt = (normal_gt * (h.random(depth.shape) > 0.2)).astype(np.float32)
    depth[0, 0, 0, :4] = np.nan, np.inf, -np.inf, -3
    depth_mm[0, 0, 0, :4] = 2000
    arrays = (logits, depth, normals, loc, conf, labels, depth_mm, normal_gt)
    sums = [np.where(np.isfinite(x), x, 0).sum(dtype=np.float64) for x in arrays]
    np.testing.assert_allclose(sums, check_sums, rtol=1e-5, atol=0.1)
    predictions = {
        "segmentation": torch.from_numpy(logits),
        "depth": torch.from_numpy(depth),
        "normal": torch.from_numpy(normals),
        "detection": torch.from_numpy(np.concatenate([loc, conf], axis=2)),
    }
    return predictions, targets(depth_mm.astype(np.float32) / np.float32(1000), normal_gt, labels)


@pytest.mark.parametrize("path", files_of("evaluation"), ids=lambda path: path.stem)
def test_released_evaluation(path):
    arrays = load(path)
    h = np.random.default_rng(int(arrays["seed"]))
    batches = [regenerated_batch(h, sums) for sums in arrays["check"]]
    ours = {
        task: evaluate(metric(21), [(predictions[task], batch) for predictions, batch in batches])
        for task, metric in METRICS.items()
    }
    names = {"segmentation": ["mIoU"], "depth": DEPTH_NAMES, "normal": NORMAL_NAMES}
    for task in METRICS:
        check(ours[task], arrays, "metric_", names[task], 1e-6)
    assert summary_score(ours) == pytest.approx(float(arrays["summary_score"]), rel=1e-6)
    with_detection = summary_score(ours | {"detection": {"mAP": 0.5}})
    assert with_detection == pytest.approx(float(arrays["summary_score_with_map_0.5"]), rel=1e-6)

    prediction = torch.cat([predictions["detection"] for predictions, _ in batches])
    rows = detected_rows(prediction.double(), torch.from_numpy(arrays["hw"]))
    assert len(rows) == arrays["det_rows_total"]
    assert np.bincount(rows[:, 0].astype(int)).tolist() == arrays["det_per_image"].tolist()
    np.testing.assert_allclose(rows[::3], arrays["det_rows"], rtol=1e-6)


def detected_rows(prediction: torch.Tensor, stored_sizes: torch.Tensor) -> np.ndarray:
    """Image, class, score and box in stored pixels, (n, 7), sorted by class, image and descending score."""
    detected = detect(prediction, (128, 128))
    boxes = stored_pixels(detected.boxes, stored_sizes, (128, 128))
    image, row = detected.labels.nonzero(as_tuple=True)
    columns = torch.stack(
        [x.double() for x in (image, detected.labels[image, row], detected.scores[image, row])], dim=1
    )
    rows = torch.cat([columns, boxes[image, row]], dim=1)
    return rows[rows[:, 1].argsort(stable=True)].numpy()
