"""Boxes of detection: their encoding relative to anchors, and the choice of the final detections of an image.

Those of the released code of Yun & Cho (ICCV 2023). A box is (x1, y1, x2, y2), its corners in widths and heights of the
image; an anchor is (center x, center y, width, height), see `utils.anchors`. Classes count from 1; 0 is the background.
"""

from typing import NamedTuple

import torch
from torchvision.ops import batched_nms, box_convert

from utils.anchors import anchor_boxes
from utils.padding import padded_size
from utils.precision import at_least_float32

CENTER_SCALE, SIZE_SCALE = 0.1, 0.2  # of the offsets
MIN_SCORE = 0.01
MAX_CANDIDATES = 4000  # of each class, those with the highest scores
MAX_IOU = 0.5  # of two detections of a class
MAX_DETECTIONS = 200  # of an image


class Detections(NamedTuple):
    """The best detections of B images, by decreasing score; rows beyond those of an image have the class 0.

    Attributes:
        boxes: (B, MAX_DETECTIONS, 4).
        scores: (B, MAX_DETECTIONS).
        labels: classes, (B, MAX_DETECTIONS) int64.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


def decode(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Boxes (..., A, 4) from their offsets (..., A, 4) to the anchors (A, 4): the inverse of `encode`.

    The center is that of the anchor plus 0.1 (dx, dy) times its size, the size is that of the anchor times
    exp(0.2 (dw, dh)) (SSD, Liu et al., ECCV 2016).
    """
    centers = anchors[..., :2] + CENTER_SCALE * offsets[..., :2] * anchors[..., 2:]
    sizes = anchors[..., 2:] * (SIZE_SCALE * offsets[..., 2:]).exp()
    return box_convert(torch.cat([centers, sizes], dim=-1), "cxcywh", "xyxy")


def encode(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Offsets (..., A, 4) of boxes (..., A, 4) to the anchors (A, 4): the inverse of `decode`."""
    centers, sizes = box_convert(boxes, "xyxy", "cxcywh").split(2, dim=-1)
    shifts = (centers - anchors[..., :2]) / anchors[..., 2:] / CENTER_SCALE
    return torch.cat([shifts, (sizes / anchors[..., 2:]).log() / SIZE_SCALE], dim=-1)


def paired_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union (...) of each pair of boxes (..., 4), which broadcast; 0 for boxes without area."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = sides.clamp_min(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (first, second)]
    return intersection / (sum(areas) - intersection).clamp_min(torch.finfo(first.dtype).tiny)


@torch.no_grad()
def detect(prediction: torch.Tensor, size: tuple[int, int], softmax: bool = False) -> Detections:
    """The final detections of images.

    Of each class the 4000 best anchors with a score above 0.01 are candidates; those that overlap a better one of the
    class with an IoU above 0.5 are dropped; the 200 best of the image remain. (The released code keeps 400 of each
    class before that, which makes no difference.)

    Args:
        prediction: (B, A, 4 + C'), offsets and logits.
        size: of the images, (H, W).
        softmax: whether the logits are those of a softmax, the background first, or of one sigmoid per class.
    """
    prediction = at_least_float32(prediction)
    anchors = anchor_boxes(size, prediction.device).to(prediction.dtype)
    found = [_detect(offsets_and_logits, anchors, softmax) for offsets_and_logits in prediction]
    return Detections(*(torch.stack(values) for values in zip(*found, strict=True)))


def stored_pixels(boxes: torch.Tensor, stored_sizes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (B, n, 4) float64 in pixels of the stored images, which were padded at the right or below and resized.

    Args:
        boxes: (B, n, 4).
        stored_sizes: (B, 2) H, W.
        size: (H, W) after that.
    """
    padded = [padded_size((height, width), *size) for height, width in stored_sizes.tolist()]
    scales = torch.tensor([(width, height) * 2 for height, width in padded], dtype=torch.float64)
    return boxes.double() * scales.to(boxes.device)[:, None]


def _detect(prediction: torch.Tensor, anchors: torch.Tensor, softmax: bool) -> tuple[torch.Tensor, ...]:
    """Boxes, scores and labels of one image, padded, from (A, 4 + C')."""
    logits = prediction[:, 4:]
    scores = logits.softmax(-1)[:, 1:] if softmax else logits.sigmoid()  # (A, C)
    num_classes = scores.shape[1]

    def best(candidates: torch.Tensor, candidate_scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The detections among candidates, indices into the flat scores."""
        candidates = candidates[candidate_scores > MIN_SCORE]
        anchor, label = candidates // num_classes, candidates % num_classes
        boxes, of_candidates = decode(prediction[anchor, :4], anchors[anchor]), scores.flatten()[candidates]
        # In float64, as boxes of different classes are told apart by shifting them.
        kept = batched_nms(boxes.double(), of_candidates.double(), label, MAX_IOU)[:MAX_DETECTIONS]
        return boxes[kept], of_candidates[kept], label[kept] + 1

    # Whether a candidate is dropped depends on better ones only: if enough of the best remain, no others are needed.
    top_scores, top = scores.flatten().topk(min(MAX_CANDIDATES, scores.numel()))
    found = best(top, top_scores)
    if len(found[1]) < MAX_DETECTIONS and len(top) < scores.numel() and top_scores[-1] > MIN_SCORE:
        top_scores, anchor = scores.topk(min(MAX_CANDIDATES, len(scores)), dim=0)  # of each class, (., C)
        top = anchor * num_classes + torch.arange(num_classes, device=anchor.device)
        found = best(top.flatten(), top_scores.flatten())
    missing = MAX_DETECTIONS - len(found[1])
    return tuple(torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) for values in found)
