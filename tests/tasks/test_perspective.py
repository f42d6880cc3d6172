"""Tasks on perspective images, and validation during training."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from losses.detection import detection_loss
from losses.distillation import detection_distillation
from losses.reduction import global_means
from tasks.epoch_end import SUMMARY, EpochEnd, Validation, ValidationSet
from tasks.perspective import DetectionOptions, build_evaluator, perspective_displays, perspective_tasks
from training.run_folder import RunFolder
from training.state import Progress
from utils.anchors import anchor_boxes
from utils.tasks import ALONG_AXIS
from visual.displays import DisplaySettings

NAMES = ("segmentation", "depth", "normal")


def batch() -> dict:
    normal = torch.zeros(2, 3, 2, 2)
    normal[:, 2] = -1
    return {
        "id": ["a", "b"],
        "index": [0, 1],
        "depth": torch.full((2, 1, 2, 2), 2.0),
        "depth_mask": torch.ones(2, 1, 2, 2, dtype=torch.bool),
        "normal": normal,
        "normal_mask": torch.ones(2, 1, 2, 2, dtype=torch.bool),
        "semantic": torch.tensor([[[0, 0], [1, 1]], [[1, 1], [1, -1]]]),
    }


def predictions() -> dict:
    """Labels 0 0 1 0 for the first image and 1 everywhere for the second; the first depth is 20 % too large."""
    logits = torch.zeros(2, 2, 2, 2)
    logits[0, 0] = torch.tensor([[1.0, 1], [-1, 1]])
    logits[1, 1] = 1
    depth = torch.tensor([2.4, 4.0])[:, None, None, None].expand(2, 1, 2, 2)
    normal = torch.zeros(2, 3, 2, 2)
    normal[0, 2], normal[1, 0] = -1, 1
    return {"segmentation": logits, "depth": depth, "normal": normal}


def test_evaluator():
    """The paper's averages: over pixels for depth and segmentation, over images for normals; no seam score."""
    evaluator = build_evaluator(perspective_tasks(NAMES), 2)
    evaluator.update(predictions(), batch())
    results, rows = evaluator.compute()
    assert list(results) == list(NAMES)
    assert results["segmentation"]["mIoU"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert results["segmentation"]["pixAcc"] == pytest.approx(6 / 7)
    assert results["depth"]["d1"] == pytest.approx(0.5)
    assert results["depth"]["rms"] == pytest.approx(((0.4**2 + 2**2) / 2) ** 0.5)
    assert results["depth"]["rms_per_image"] == pytest.approx((0.4 + 2) / 2)
    assert results["normal"]["mean"] == pytest.approx(45)
    assert [row["id"] for row in rows] == ["a", "b"]
    assert not [name for row in rows for name in row if "seam" in name]
    tasks = perspective_tasks(NAMES)
    accuracies = {name: tasks[name].accuracy(results[name]) for name in NAMES}
    assert accuracies == pytest.approx({"segmentation": (2 / 3 + 4 / 5) / 2, "depth": 0.5, "normal": 0.5})


def test_paper_losses():
    tasks = perspective_tasks(NAMES)
    [loss] = global_means([tasks["depth"].loss(predictions()["depth"], batch())])
    assert loss.value.item() == pytest.approx((0.4 + 2) / 2)
    plain, smooth = (perspective_tasks(NAMES, smoothing)["segmentation"].loss for smoothing in (0.0, 0.1))
    log_softmax = predictions()["segmentation"].log_softmax(1).movedim(1, -1)
    labels = batch()["semantic"]
    valid = labels >= 0
    cross_entropy = -log_softmax[valid].gather(1, labels[valid][:, None]).mean()
    uniform = -log_softmax[valid].mean()
    actual = plain(predictions()["segmentation"], batch()).total.item()
    assert actual == pytest.approx(cross_entropy.item() * 7, rel=1e-5)
    expected = 0.9 * cross_entropy + 0.1 * uniform
    assert smooth(predictions()["segmentation"], batch()).total.item() == pytest.approx(expected.item() * 7, rel=1e-5)


def test_loss_weights_are_equal():
    assert {task.loss_weight for task in perspective_tasks(NAMES).values()} == {1 / 3}
    assert [task.loss_weight for task in perspective_tasks(("depth",)).values()] == [1.0]


@pytest.mark.parametrize("cls_head", ["sigmoid", "softmax"])
def test_displays_of_a_network(cls_head):
    """The first logit of a softmax is the background, of which there are no detections."""
    settings = SimpleNamespace(tasks=("depth", "detection"), height=64, width=64, cls_head=cls_head)
    displays = perspective_displays(settings, min_score=0.5)
    assert [display.map_name for display in displays.values()] == ["depth", "boxes"]
    prediction = torch.zeros(len(anchor_boxes((64, 64))), 4 + 3)
    prediction[:, 4:] = -20
    prediction[0, 4], prediction[1, 6] = 20, 20
    labels = displays["detection"].as_map(prediction)[:, 0].tolist()
    assert sorted(labels) == ([1, 3] if cls_head == "sigmoid" else [2])


def make_validation(**settings) -> Validation:
    tasks = perspective_tasks(("depth",))
    settings = {"draw_every": 1, "keep_every": 100, "last": 10, **settings}
    return Validation(tasks, (ValidationSet([], lambda: build_evaluator(tasks, 2)),), **settings)


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"every": 4}, [4, 8, 10]),
        ({"first": 3, "every": 2}, [4, 6, 8, 10]),
        ({"first": 20}, [10]),
    ],
)
def test_validated_epochs(settings, epochs):
    assert [epoch for epoch in range(1, 11) if make_validation(**settings).is_due(epoch)] == epochs


class Balancing(nn.Module):
    """Records its calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def end_epoch(self):
        self.calls.append("epoch")

    def validated(self, accuracies):
        self.calls.append(accuracies)


def test_best_models_and_schedule(tmp_path, monkeypatch):
    """Epochs without validation, worse scores and NaN do not replace the best models."""
    saved, scores = [], []
    monkeypatch.setattr("tasks.epoch_end.save_checkpoint", lambda path, **_: saved.append(path.parent.name))
    balancing = Balancing()
    stepper = SimpleNamespace(objective=SimpleNamespace(balancing=balancing), network=None, validated=scores.append)
    results = iter([{"depth": {"d1": value}} for value in (0.5, 0.4, float("nan"), 0.6)])
    monkeypatch.setattr(EpochEnd, "validate", lambda self: next(results))
    validation = make_validation(first=2, last=5, summary=lambda metrics: metrics["depth"]["d1"])
    folder, log = RunFolder(tmp_path, {"depth": "depth"}), SimpleNamespace(validation=lambda *_: None)
    end = EpochEnd(folder, SimpleNamespace(), "fixed", validation, stepper, log, Progress())
    for epoch in range(1, 6):
        end.progress.epoch = epoch
        end()
    last, best = "weights_last", ["depth_models", "weights_best"]
    assert saved == [last, *best, last, last, last, *best, last]
    assert scores == pytest.approx([0.5, 0.4, float("nan"), 0.6], nan_ok=True)
    assert end.progress.best_scores == {"depth": 0.6, SUMMARY: 0.6}
    accuracies = [{"depth": value} for value in (0.5, 0.4, None, 0.6)]
    assert balancing.calls == ["epoch", *(call for values in accuracies for call in ("epoch", values))]


def test_buffers_are_broadcast_before_validation(tmp_path, monkeypatch):
    """On CPUs, each process has its own BatchNorm statistics; checkpoints have those of the main process."""
    network, broadcast = nn.BatchNorm2d(1), []
    monkeypatch.setattr("tasks.epoch_end.broadcast_buffers", broadcast.append)
    settings = DisplaySettings((), (), ALONG_AXIS, "camera")
    stepper, log = SimpleNamespace(network=network), SimpleNamespace(image=print)
    folder = RunFolder(tmp_path, {"depth": "depth"})
    end = EpochEnd(folder, settings, "fixed", make_validation(), stepper, log, Progress())
    assert end.validate() == {"depth": {}}
    assert broadcast == [network]
    assert not network.training


@pytest.mark.parametrize(
    "change",
    [{"cls_loss_type": "CE", "cls_head": "softmax"}, {"loc_loss_type": "L1"}, {"iou_aware": False}, {"loc_weight": 3}],
)
def test_detection_options_reach_losses(change):
    torch.manual_seed(0)
    size, num_logits = (64, 64), 3 if change.get("cls_head") else 2
    boxes = torch.tensor([[[0.1, 0.1, 0.7, 0.9, 1.0], [0.3, 0.2, 0.9, 0.8, 2.0]]])
    batch = {"boxes": boxes, "rgb": torch.zeros(1, 3, *size)}
    prediction = torch.randn(1, len(anchor_boxes(size)), 4 + num_logits)
    options = DetectionOptions(size, **change)
    loss_options = {key: getattr(options, key) for key in ("cls_loss_type", "loc_loss_type", "iou_aware", "loc_weight")}
    task = perspective_tasks(("detection",), detection=options)["detection"]
    assert task.loss(prediction, batch).total == detection_loss(prediction, batch, **loss_options).total
    teacher, everywhere = torch.randn_like(prediction), torch.ones(1, dtype=torch.bool)
    expected = detection_distillation(prediction, teacher, everywhere, options.loc_weight).total
    assert task.pseudo_loss(prediction, teacher, everywhere).total == expected
