"""The detection loss against plain formulas and the released code, and without boxes or positive anchors."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import complete_box_iou_loss
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

import losses.detection
from losses.atss import match_anchors
from losses.detection import (
    complete_iou_loss,
    detection_loss,
    detection_losses,
    mined_cross_entropy,
    sigmoid_focal_loss,
    valid_mask,
)
from losses.reduction import global_means
from tests.achievement_golden import files_of, load
from utils.anchors import anchor_boxes
from utils.boxes import decode, encode, paired_iou

SIZE = (96, 64)
CLASSES = 6
VARIANTS = [
    {"cls_loss_type": cls, "loc_loss_type": loc, "iou_aware": aware, "loc_weight": weight}
    for cls, loc, aware, weight in (
        ("focal", "IoU", True, 10.0),
        ("focal", "L1", False, 1.0),
        ("CE", "IoU", True, 2.0),
        ("CE", "L1", False, 1.0),
    )
]
BOXES = [
    [[0.1, 0.2, 0.7, 0.8, 3], [0.5, 0.1, 0.9, 0.4, 1], [0.3, 0.3, 0.6, 0.6, 6]],
    [[0, 0, 0, 0, 0]] * 3,
    [[0.2, 0.1, 0.5, 0.9, 2], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
]


def batch_of(boxes: torch.Tensor, size: tuple[int, int] = SIZE) -> dict:
    return {"boxes": boxes, "rgb": torch.zeros(len(boxes), 3, *size)}


@pytest.fixture
def batch():
    """Three images, the second without boxes."""
    return batch_of(torch.tensor(BOXES))


def random_prediction(cls_loss_type: str, count: int = 3) -> torch.Tensor:
    torch.manual_seed(1)
    channels = 4 + CLASSES + (cls_loss_type == "CE")
    return torch.randn(count, len(anchor_boxes(SIZE)), channels, dtype=torch.float64).requires_grad_()


def plain_ciou(a: list[float], b: list[float]) -> float:
    iou = paired_iou(torch.tensor(a), torch.tensor(b)).item()
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    distance = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    angles = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    factor = v / (1 - iou + v) if iou > 0.5 else 0
    return 1 - (iou - distance / diagonal - factor * v)


def test_complete_iou():
    """Known values, a plain formula, and torchvision's loss where its missing IoU threshold does not matter."""
    first = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.6, 0.9], [0, 0, 0.1, 0.1]], dtype=torch.float64)
    second = torch.tensor([[0.15, 0.1, 0.55, 0.6], [0.6, 0.1, 0.9, 0.5], [0, 0, 0.12, 0.08]], dtype=torch.float64)
    found = complete_iou_loss(first, second)
    assert found.tolist() == pytest.approx([0.374753, 1.163717, 0.319306], abs=1e-6)
    assert found.tolist() == pytest.approx(list(map(plain_ciou, first.tolist(), second.tolist())), rel=1e-6)
    assert found[0].item() == pytest.approx(complete_box_iou_loss(first[0], second[0]).item(), rel=1e-5)


def test_complete_iou_of_equal_boxes():
    """The loss is 0 and the gradient finite."""
    boxes = torch.tensor([[0.1, 0.2, 0.4, 0.9]]).requires_grad_()
    loss = complete_iou_loss(boxes, boxes.detach().clone())
    loss.sum().backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert boxes.grad.isfinite().all()


def test_focal_loss_with_hard_targets():
    logits = torch.randn(2, 7, CLASSES)
    labels = torch.randint(0, CLASSES + 1, (2, 7))
    targets = F.one_hot(labels, CLASSES + 1)[..., 1:].float()
    ours = sigmoid_focal_loss(logits, labels, torch.ones(2, 7))
    torch.testing.assert_close(ours, torchvision_focal_loss(logits, targets, reduction="none").sum((1, 2)))


def plain_losses(prediction: torch.Tensor, boxes: torch.Tensor, options: dict) -> tuple[float, float, int]:
    """Box loss, class loss and number of positives of one image, anchor by anchor."""
    anchors = anchor_boxes(SIZE).double()
    matched = match_anchors(boxes[None], SIZE)[0].tolist()
    decoded = decode(prediction[:, :4], anchors)
    box_sum = class_sum = 0.0
    background = []
    for a, n in enumerate(matched):
        logits = prediction[a, 4:]
        if n >= 0:
            target, label = boxes[n, :4].double(), int(boxes[n, 4])
            iou = paired_iou(decoded[a], target).item() if options["iou_aware"] else 1.0
            if options["loc_loss_type"] == "IoU":
                box_sum += plain_ciou(decoded[a].tolist(), target.tolist())
            else:
                errors = (prediction[a, :4] - encode(target, anchors[a])).abs().tolist()
                box_sum += sum(e - 0.5 if e > 1 else e * e / 2 for e in errors)
        if options["cls_loss_type"] == "CE":
            entropies = -logits.log_softmax(0)
            if n < 0:
                background.append(entropies[0].item())
            else:
                weights = torch.full_like(entropies, (1 - iou) / CLASSES)
                weights[label] = iou
                class_sum += (weights * entropies).sum().item()
        else:
            for k, p in enumerate(logits.sigmoid().tolist(), start=1):
                y = iou if n >= 0 and k == label else 0.0
                entropy = -y * math.log(p) - (1 - y) * math.log(1 - p)
                class_sum += (0.25 if y > 0 else 0.75) * (y - p) ** 2 * entropy
    positives = sum(n >= 0 for n in matched)
    class_sum += sum(sorted(background, reverse=True)[: 3 * positives])
    return options["loc_weight"] * box_sum, class_sum, positives


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(map(str, options.values())))
def test_plain_formulas(options, batch):
    prediction = random_prediction(options["cls_loss_type"])
    found = detection_losses(prediction, batch, **options)
    plain = [plain_losses(prediction[i].detach(), batch["boxes"][i], options) for i in (0, 2)]
    box, classes, positives = (sum(values) for values in zip(*plain, strict=True))
    assert found.num_positives == positives > 10
    assert found.box.item() == pytest.approx(box, rel=1e-6)
    assert found.classes.item() == pytest.approx(classes, rel=1e-6)
    loss = detection_loss(prediction, batch, **options)
    (mean,) = global_means([loss])
    assert mean.value.item() == pytest.approx((box + classes) / positives, rel=1e-6)
    mean.value.backward()
    assert prediction.grad.isfinite().all()
    assert not prediction.grad[1].any(), "image without boxes"
    is_positive = match_anchors(batch["boxes"], batch["rgb"].shape[-2:]) >= 0
    assert not prediction.grad[..., :4][~is_positive].any(), "boxes of background anchors"
    assert prediction.grad[..., :4][is_positive].any()


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(map(str, options.values())))
@pytest.mark.parametrize(
    "boxes",
    [torch.zeros(3, 0, 5), torch.zeros(3, 2, 5), torch.tensor([[[0.4, 0.4, 0.405, 0.41, 1]]]).expand(3, 1, 5)],
    ids=["none", "padding", "too-small"],
)
def test_no_positive_anchor(options, boxes):
    """A box below 1% of the image's width and height matches no anchor."""
    prediction = random_prediction(options["cls_loss_type"])
    loss = detection_loss(prediction, batch_of(boxes), **options)
    (mean,) = global_means([loss])
    mean.value.backward()
    assert mean.value == 0
    assert loss.num_pixels == 0
    assert torch.equal(prediction.grad, torch.zeros_like(prediction))


def test_negatives_with_positives_in_another_process(monkeypatch):
    """They count, as they would in a single process with all images."""
    monkeypatch.setattr(losses.detection, "all_sum", lambda count: count + 5)
    prediction = random_prediction("focal")
    batch = batch_of(torch.tensor([[[0.4, 0.4, 0.405, 0.41, 1]]]).expand(3, 1, 5))
    loss = detection_loss(prediction, batch)
    assert loss.num_pixels == 0
    negatives = torchvision_focal_loss(prediction[..., 4:], torch.zeros_like(prediction[..., 4:]), reduction="sum")
    assert loss.total.item() == pytest.approx(negatives.item())


@pytest.mark.parametrize("cls_loss_type", ["focal", "CE"])
def test_perfect_boxes(cls_loss_type, batch):
    """The box loss is 0, gradients are finite, and the IoU-aware targets equal the hard ones."""
    prediction = random_prediction(cls_loss_type).detach().float()
    matched = match_anchors(batch["boxes"], SIZE)
    targets = batch["boxes"].gather(1, matched.clamp_min(0)[..., None].expand(-1, -1, 5))[..., :4]
    is_positive = matched >= 0
    exact = encode(targets, anchor_boxes(SIZE))
    prediction[..., :4] = torch.where(is_positive[..., None], exact, 0)
    prediction.requires_grad_()
    aware, hard = (
        detection_losses(prediction, batch, cls_loss_type=cls_loss_type, iou_aware=aware) for aware in (True, False)
    )
    assert aware.box.item() == pytest.approx(0, abs=1e-3)
    assert aware.classes.item() == pytest.approx(hard.classes.item(), rel=1e-4)
    (aware.box + aware.classes).backward()
    assert prediction.grad.isfinite().all()


def test_values_at_640():
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.5, 3], [0.55, 0.5, 0.6, 0.58, 7], [0.2, 0.2, 0.35, 0.45, 5]]])
    prediction = torch.cat([torch.zeros(1, 25200, 4), torch.full((1, 25200, 20), -4.59512)], dim=2)
    found = detection_losses(prediction, batch_of(boxes, (640, 640)))
    assert found.num_positives == 36
    assert (found.box / 36).item() == pytest.approx(5.617165, rel=1e-5)
    assert (found.classes / 36).item() == pytest.approx(0.143763, rel=1e-5)


def as_double(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array).double() for array in arrays]


def close(ours: torch.Tensor, theirs: np.ndarray, rtol: float) -> bool:
    return ours.item() == pytest.approx(theirs.item(), rel=rtol)


@pytest.mark.parametrize("path", files_of("losses"), ids=lambda path: path.stem)
def test_released_class_losses(path):
    """The background logit of the cross-entropy is 0."""
    arrays = load(path)
    logits, quality = (x[None] for x in as_double(arrays["focal_logits"], arrays["focal_iou"]))
    labels = torch.from_numpy(arrays["focal_class"])[None]
    hard = torch.ones_like(quality)
    assert close(sigmoid_focal_loss(logits, labels, hard), arrays["focal_hard_sum"], 1e-8)
    assert close(sigmoid_focal_loss(logits, labels, quality), arrays["focal_iou_aware_sum"], 1e-8)
    is_positive = labels[0] > 0
    logits, quality, labels = logits[:, is_positive], quality[:, is_positive], labels[:, is_positive]
    first = sigmoid_focal_loss(logits[:, :1], labels[:, :1], torch.zeros(1, 1, dtype=torch.float64))
    assert close(first, arrays["focal_iou_zero_sum_first_positive"], 1e-8)
    logits = F.pad(logits, (1, 0))
    assert close(mined_cross_entropy(logits, labels, torch.ones_like(quality)), arrays["ce_positive_sum"], 1e-8)
    assert close(mined_cross_entropy(logits, labels, quality), arrays["ce_iou_aware_positive_sum"], 1e-8)


@pytest.mark.parametrize("path", files_of("losses"), ids=lambda path: path.stem)
def test_released_box_losses(path):
    arrays = load(path)
    first, second = as_double(arrays["ciou_box1"], arrays["ciou_box2"])
    found = complete_iou_loss(first.requires_grad_(), second)
    found.sum().backward()
    np.testing.assert_allclose(found.detach(), arrays["ciou_loss"], rtol=1e-8)
    np.testing.assert_allclose(first.grad, arrays["ciou_grad_box1"], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("path", files_of("losses"), ids=lambda path: path.stem)
def test_released_losses(path, dtype, rtol):
    arrays = load(path)
    size = (int(arrays["mbox_size"]),) * 2
    images = [torch.from_numpy(arrays[f"mbox_boxes{image}"].reshape(-1, 5)) for image in range(3)]
    batch = batch_of(torch.nn.utils.rnn.pad_sequence(images, batch_first=True).to(dtype), size)
    h, anchors, classes = np.random.default_rng(int(arrays["mbox_seed"])), 1008, int(arrays["mbox_num_classes"])
    offsets, logits, background = (
        torch.from_numpy(x.astype(np.float32)).to(dtype)
        for x in (
            h.standard_normal((3, anchors, 4)),
            h.standard_normal((3, anchors, classes)) * 1.5 - 4,
            h.standard_normal((3, anchors, 1)) + 1,
        )
    )
    for name, iou_aware in (("iou_aware", True), ("hard", False)):
        prediction = torch.cat([offsets, logits], dim=2).requires_grad_()
        found = detection_losses(prediction, batch, iou_aware=iou_aware)
        assert close(found.box / found.num_positives, arrays[f"mbox_focal_{name}_box"], rtol)
        assert close(found.classes / found.num_positives, arrays[f"mbox_focal_{name}_class"], rtol)
        global_means([detection_loss(prediction, batch, iou_aware=iou_aware)])[0].value.backward()
        norms = [part.norm().item() for part in prediction.grad.split([4, classes], dim=2)]
        assert norms == pytest.approx(arrays[f"mbox_focal_{name}_grad_norm_loc_conf"].tolist(), rel=10 * rtol)
        prediction = torch.cat([offsets, background, logits], dim=2)
        found = detection_losses(prediction, batch, cls_loss_type="CE", iou_aware=iou_aware)
        assert close(found.classes / found.num_positives, arrays[f"mbox_CE_{name}_class"], rtol)
    found = detection_losses(torch.cat([offsets, logits], dim=2), batch, loc_loss_type="L1", loc_weight=1)
    assert close(found.box / found.num_positives, arrays["mbox_focal_L1_box_weight1"], rtol)


def test_tiny_boxes_are_valid():
    """Although no anchor is positive, the image has ground truth and needs no teacher."""
    tiny = torch.tensor([[[0.5, 0.5, 0.505, 0.505, 1.0]], [[0.0, 0.0, 0.0, 0.0, 0.0]]])
    batch = {"boxes": tiny, "rgb": torch.zeros(2, 3, 64, 64)}
    assert not (match_anchors(tiny, (64, 64)) >= 0).any()
    assert valid_mask(batch).tolist() == [[True], [False]]
