"""Average precision of detections against a port of the VOC devkit's loop, and values of the released code."""

import math
import sys

import numpy as np
import pytest
import torch

import metrics.detection
from metrics.coco_ap import coco_average_precision
from metrics.detection import DetectionMetric, mean_average_precisions
from metrics.evaluator import Evaluator
from metrics.voc_ap import (
    NO_DETECTIONS,
    THRESHOLDS,
    DetectedBoxes,
    ObjectBoxes,
    area_precision,
    average_precisions,
    best_objects,
    eleven_point_precision,
)
from tests.achievement_golden import files_of, load
from utils.anchors import anchor_boxes
from utils.boxes import Detections, encode
from utils.errors import UserError

C = 5  # classes including the background


def random_boxes(g: np.random.Generator, count: int) -> np.ndarray:
    """Boxes (count, 4) with integer corners within 100 x 100 pixels."""
    low = g.integers(1, 60, (count, 2))
    return np.concatenate([low, low + g.integers(5, 40, (count, 2))], axis=1).astype(np.float64)


def random_set(seed: int) -> tuple[DetectedBoxes, ObjectBoxes]:
    """Random detections and objects: class 3 has only difficult objects, class 4 none; many scores are equal."""
    g = np.random.default_rng(seed)
    images, labels = g.integers(0, 8, 40), g.integers(1, 4, 40)
    is_difficult = (g.random(40) < 0.3) | (labels == 3)
    objects = ObjectBoxes(images, labels, random_boxes(g, 40), is_difficult)
    source = g.integers(0, 40, 150)
    boxes = objects.boxes[source] - 1 + g.normal(0, 3, (150, 4)) * g.integers(0, 2, (150, 1))
    labels = np.where(g.random(150) < 0.8, labels[source], g.integers(1, C, 150))
    return DetectedBoxes(images[source], labels, g.random(150).round(1), boxes), objects


def devkit_precision(
    detections: DetectedBoxes, objects: ObjectBoxes, label: int, threshold: float, eleven_point: bool
) -> float:
    """Average precision of a class by the devkit's loop over detections."""
    by_image: dict[int, list[dict]] = {}
    for image, object_label, box, difficult in zip(*objects, strict=True):
        if object_label == label:
            by_image.setdefault(image, []).append({"box": box, "difficult": difficult, "found": False})
    count = sum(not row["difficult"] for rows in by_image.values() for row in rows)
    rows = [
        (-float(f"{score:.3f}"), image, [float(f"{x + 1:.1f}") for x in box])
        for image, detected_label, score, box in zip(*detections, strict=True)
        if detected_label == label
    ]
    correct, wrong = [], []
    for _, image, (x1, y1, x2, y2) in sorted(rows, key=lambda row: row[0]):
        best, best_row = -math.inf, None
        for row in by_image.get(image, []):
            a1, b1, a2, b2 = row["box"]
            intersection = max(min(x2, a2) - max(x1, a1) + 1, 0) * max(min(y2, b2) - max(y1, b1) + 1, 0)
            union = (x2 - x1 + 1) * (y2 - y1 + 1) + (a2 - a1 + 1) * (b2 - b1 + 1) - intersection
            if intersection / union > best:
                best, best_row = intersection / union, row
        is_match = best > threshold
        ignored = is_match and best_row["difficult"]
        is_correct = is_match and not ignored and not best_row["found"]
        if is_correct:
            best_row["found"] = True
        correct.append(is_correct)
        wrong.append(not ignored and not is_correct)
    recall = np.cumsum(correct) / count
    precision = np.cumsum(correct) / np.maximum(np.cumsum(correct) + np.cumsum(wrong), np.finfo(np.float64).eps)
    if eleven_point:
        return sum(max(precision[recall >= least], default=0) for least in np.arange(0, 1.1, 0.1)) / 11
    envelope = [max(precision[i:]) for i in range(len(precision))]
    return sum(np.diff([0, *recall]) * envelope)


@pytest.mark.parametrize("seed", range(4))
def test_against_devkit(seed):
    detections, objects = random_set(seed)
    ours = average_precisions(detections, objects, C)
    for label in (1, 2):
        for table, eleven_point in ((ours.area, False), (ours.eleven_point, True)):
            expected = [devkit_precision(detections, objects, label, t, eleven_point) for t in THRESHOLDS]
            np.testing.assert_allclose(table[label - 1], expected, rtol=1e-12)
    assert np.isnan(ours.area[2:]).all(), "classes without objects, or with difficult ones only"
    assert ours.area[0, 0] > ours.area[0, 9] > 0
    means = mean_average_precisions(ours)
    assert means["mAP"] == pytest.approx(ours.area[:2].mean())
    assert means["mAP_75_11point"] == pytest.approx(ours.eleven_point[:2, 5].mean())


def test_equal_scores_keep_their_order():
    objects = ObjectBoxes(np.array([0, 1]), np.ones(2, int), np.array([[1.0, 1, 10, 10]] * 2), np.zeros(2, bool))
    boxes = np.array([[0.0, 0, 9, 9], [50.0, 50, 60, 60], [0, 0, 9, 9]])

    def precision_of(order: list[int]) -> float:
        detections = DetectedBoxes(np.array([0, 0, 1])[order], np.ones(3, int), np.full(3, 0.5004), boxes[order])
        return average_precisions(detections, objects, 2).area[0, 0]

    assert precision_of([0, 2, 1]) == 1
    assert precision_of([0, 1, 2]) == pytest.approx((1 + 2 / 3) / 2)


def test_iou_equal_to_threshold_is_no_match():
    """Detections cover 5 x 10, then 6 x 10 of 10 x 10 pixels."""
    objects = ObjectBoxes(np.zeros(1, int), np.ones(1, int), np.array([[1.0, 1, 10, 10]]), np.zeros(1, bool))
    for width, expected in ((5, 0), (6, 1)):
        detections = DetectedBoxes(np.zeros(1, int), np.ones(1, int), np.ones(1), np.array([[0.0, 0, width - 1, 9]]))
        assert average_precisions(detections, objects, 2).area[0, 0] == expected


def test_no_detections_and_nan_boxes():
    objects = ObjectBoxes(np.zeros(1, int), np.ones(1, int), np.array([[1.0, 1, 10, 10]]), np.zeros(1, bool))
    nan = DetectedBoxes(np.zeros(1, int), np.ones(1, int), np.ones(1), np.full((1, 4), np.nan))
    assert best_objects(nan, objects)[0] == 0
    for detections in (NO_DETECTIONS, nan):
        assert mean_average_precisions(average_precisions(detections, objects, C))["mAP"] == 0


def test_areas_of_known_curve():
    recall = np.array([0.2, 0.2, 0.4, 0.6, 0.6, 0.8])
    precision = np.array([1, 0.5, 0.667, 0.75, 0.6, 0.667])
    assert area_precision(recall, precision) == pytest.approx(0.6334)
    assert eleven_point_precision(recall, precision) == pytest.approx(0.659182, abs=1e-6)


def test_coco():
    """One object is found at all IoUs, one at 0.5 to 0.65 after a wrong detection; a crowd is ignored."""
    pytest.importorskip("pycocotools")
    objects = ObjectBoxes(
        np.array([0, 1, 1]),
        np.array([1, 1, 1]),
        np.array([[1.0, 1, 101, 101], [1, 1, 101, 101], [201, 201, 301, 301]]),
        np.array([False, False, True]),
    )
    detections = DetectedBoxes(
        np.array([0, 0, 1, 1]),
        np.array([1, 1, 1, 1]),
        np.array([0.9, 0.8, 0.7, 0.95]),
        np.array([[0.0, 0, 100, 100], [300, 300, 400, 400], [0, 0, 67, 100], [200, 200, 300, 300]]),
    )
    one_found = 51 / 101  # precision 1 at recalls up to 0.5
    both_found = one_found + 50 / 101 * 2 / 3
    assert coco_average_precision(detections, objects) == pytest.approx((4 * both_found + 6 * one_found) / 10)
    assert coco_average_precision(NO_DETECTIONS, objects) == 0


def predictions_of(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Predictions (1, A, 4 + C - 1) whose detections are boxes (n, 5), class last, with descending scores."""
    anchors = anchor_boxes(size)
    prediction = torch.full((1, len(anchors), 4 + C - 1), -9.0)
    prediction[0, :, :4] = 0
    prediction[0, : len(boxes), :4] = encode(boxes[:, :4], anchors[: len(boxes)])
    for row, label in enumerate(boxes[:, 4].long().tolist()):
        prediction[0, row, 3 + label] = 4.0 - row
    return prediction


def batch_of(index: int, objects: list[list[float]], stored_size: tuple[int, int], size: tuple[int, int]) -> dict:
    return {
        "rgb": torch.zeros(1, 3, *size),
        "index": torch.tensor([index]),
        "id": [str(index)],
        "objects": torch.tensor(objects, dtype=torch.float64).reshape(1, -1, 6),
        "stored_size": torch.tensor([stored_size]),
    }


def test_detection_metric():
    """Exact detections in padded images, with a padding row, in any order of batches; also with a softmax."""
    size = (64, 64)
    objects = [
        [[11, 21, 60, 40, 1, 0], [1, 1, 30, 30, 2, 0], [0, 0, 0, 0, 0, 0]],
        [[50, 1, 90, 40, 2, 0], [5, 5, 20, 20, 4, 1], [31, 11, 100, 50, 1, 0]],
    ]
    sizes = [(50, 100), (200, 100)]
    batches = []
    for index, (image_objects, stored) in enumerate(zip(objects, sizes, strict=True)):
        boxes = torch.tensor([row[:5] for row in image_objects if row[4]]).float()
        boxes[:, :4] = (boxes[:, :4] - 1) / max(stored)
        batches.append((predictions_of(boxes, size), batch_of(index, image_objects, stored, size)))
    for order in (batches, batches[::-1]):
        metric = DetectionMetric(C)
        evaluator = Evaluator({"detection": metric})
        for prediction, batch in order:
            evaluator.update({"detection": prediction}, batch)
        results, rows = evaluator.compute()
        assert results["detection"].keys() == set(metric.metric_names)
        assert set(results["detection"].values()) == {1.0}
        assert [row["index"] for row in rows] == [0, 1]
        np.testing.assert_array_equal(average_precisions(*metric.gathered(), C).area[:, 0], [1, 1, np.nan, np.nan])
        assert metric.gathered()[0].images.tolist() == [0, 0, 1, 1, 1]
    softmax = torch.nn.functional.pad(batches[0][0][..., 4:], (1, 0))
    metric.batch_metrics(torch.cat([batches[0][0][..., :4], softmax], dim=-1), batches[0][1])
    assert len(metric.gathered()[0].images) == 7


def test_no_ground_truth():
    metric = DetectionMetric(C)
    assert metric.dataset_metrics() == {}
    prediction = predictions_of(torch.tensor([[0.1, 0.1, 0.5, 0.5, 1]]), (64, 64))
    values = metric.batch_metrics(prediction, batch_of(0, [], (64, 64), (64, 64)))
    assert not values.has_ground_truth.any()
    assert metric.dataset_metrics() == {}


def test_with_coco(monkeypatch):
    monkeypatch.setattr(metrics.detection, "coco_average_precision", lambda detections, objects: 0.25)
    monkeypatch.setattr(metrics.detection, "import_pycocotools", lambda: None)
    metric = DetectionMetric(C, with_coco=True)
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5, 1]])
    metric.batch_metrics(predictions_of(boxes, (64, 64)), batch_of(0, [[7, 7, 33, 33, 1, 0]], (64, 64), (64, 64)))
    results = metric.dataset_metrics()
    assert results["mAP_coco"] == 0.25
    assert results.keys() == set(metric.metric_names)


def test_missing_pycocotools(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.delitem(sys.modules, "pycocotools.coco", raising=False)
    with pytest.raises(UserError, match="pip install pycocotools"):
        DetectionMetric(C, with_coco=True)


def test_processes_are_combined(monkeypatch):
    """One process has no images; equal scores are in the order of the images."""
    parts = [DetectionMetric(C) for _ in range(3)]
    boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5, 1], [0.6, 0.6, 0.9, 0.9, 2]])
    for index, part in ((2, parts[0]), (0, parts[0]), (1, parts[2])):
        objects = [[7, 7, 33, 33, 1, 0], [1, 1, 20, 20, 2, 0]]
        part.batch_metrics(predictions_of(boxes, (64, 64)), batch_of(index, objects, (64, 64), (64, 64)))
    gathered = [(part._detections, part._objects) for part in parts]
    monkeypatch.setattr(metrics.detection, "gather_objects", lambda value: gathered)
    detections, objects = parts[1].gathered()
    assert detections.images.tolist() == objects.images.tolist() == [0, 0, 1, 1, 2, 2]
    assert parts[1].dataset_metrics()["mAP_50"] == 0.5


def test_boxes_are_in_stored_pixels(monkeypatch):
    detected = Detections(torch.tensor([[[0.1, 0.2, 0.3, 0.4]]]), torch.tensor([[0.7]]), torch.tensor([[2]]))
    monkeypatch.setattr(metrics.detection, "detect", lambda *args, **kwargs: detected)
    metric = DetectionMetric(C)
    metric.batch_metrics(torch.zeros(1, 9, 8), batch_of(3, [], (100, 50), (64, 64)))
    detections, _ = metric.gathered()
    assert detections.boxes == pytest.approx(np.array([[10, 20, 30, 40]]))
    assert (detections.images, detections.labels, detections.scores) == (3, 2, pytest.approx(0.7))


def check(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("path", files_of("average precision"), ids=lambda path: path.stem)
def test_released_average_precisions(path):
    arrays = load(path)
    gt, det = arrays["gt"], arrays["det"]
    objects = ObjectBoxes(gt[:, 0], gt[:, 1], gt[:, 2:6].astype(np.float64), gt[:, 6] > 0)
    detections = DetectedBoxes(*det[:, :2].T.astype(np.int64), det[:, 2], det[:, 3:])
    ours = average_precisions(detections, objects, 21)
    has_objects = arrays["class_has_gt"]
    np.testing.assert_array_equal(~np.isnan(ours.area[:, 0]), has_objects)
    check(ours.area[has_objects], arrays["ap_area"][has_objects])
    check(ours.eleven_point[has_objects], arrays["ap_11point"][has_objects])
    means = mean_average_precisions(ours)
    for rule, suffix in (("area", ""), ("11point", "_11point")):
        check([means[name + suffix] for name in ("mAP", "mAP_50", "mAP_75")], arrays[f"INTENDED_map_{rule}"])
    curve = arrays["vocap_recall"], arrays["vocap_precision"]
    check(area_precision(*curve), arrays["vocap_area"])
    check(eleven_point_precision(*curve), arrays["vocap_11point"])


@pytest.mark.parametrize("path", files_of("metrics"), ids=lambda path: path.stem)
def test_released_values(path):
    arrays = load(path)
    gt, det = arrays["ap_objects"], arrays["ap_detections"]
    objects = ObjectBoxes(gt[:, 0], gt[:, 1] + 1, gt[:, 3:].astype(np.float64), gt[:, 2] > 0)
    detections = DetectedBoxes(det[:, 0].astype(int), det[:, 1].astype(int) + 1, det[:, 2], det[:, 3:].astype(float))
    ours = average_precisions(detections, objects, 7)
    has_objects = arrays["ap_mean_class_with_objects"]
    assert np.flatnonzero(~np.isnan(ours.area[:, 0])).tolist() == has_objects.tolist()
    check(ours.area[has_objects], arrays["ap_voc12"][has_objects])
    check(ours.eleven_point[has_objects], arrays["ap_voc07"][has_objects])
    means = mean_average_precisions(ours)
    for rule, suffix in (("voc12", ""), ("voc07", "_11point")):
        theirs = arrays[f"INTENDED_ap_{rule}_mean_of_classes_with_objects_all_50_75"]
        check([means[name + suffix] for name in ("mAP", "mAP_50", "mAP_75")], theirs)
