"""Detection boxes: encoding relative to anchors, and selection of an image's final detections.

As in the released code of Yun & Cho (ICCV 2023). A box is (x1, y1, x2, y2), its corners as fractions of the image's
width and height; an anchor is (center x, center y, width, height), see `utils.anchors`. Classes start at 1; 0 is the
background.
"""

from typing import NamedTuple

import torch
from torchvision.ops import batched_nms, box_convert

from utils.anchors import anchor_boxes
from utils.padding import padded_size
from utils.precision import at_least_float32

CENTER_SCALE, SIZE_SCALE = 0.1, 0.2  # of the offsets
MIN_SCORE = 0.01
MAX_CANDIDATES = 4000  # per class, by score
MAX_IOU = 0.5  # between two detections of a class
MAX_DETECTIONS = 200  # per image


class Detections(NamedTuple):
    """Detections of B images, by decreasing score, padded with rows of class 0.

    Attributes:
        boxes: (B, MAX_DETECTIONS, 4).
        scores: (B, MAX_DETECTIONS).
        labels: classes, (B, MAX_DETECTIONS) int64.
    """

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


def decode(offsets: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Decode offsets (..., A, 4) from anchors (A, 4) to boxes (..., A, 4): the inverse of `encode`.

    Center: anchor center + 0.1 (dx, dy) * anchor size; size: anchor size * exp(0.2 (dw, dh)) (SSD, Liu et al., ECCV
    2016).
    """
    centers = anchors[..., :2] + CENTER_SCALE * offsets[..., :2] * anchors[..., 2:]
    sizes = anchors[..., 2:] * (SIZE_SCALE * offsets[..., 2:]).exp()
    return box_convert(torch.cat([centers, sizes], dim=-1), "cxcywh", "xyxy")


def encode(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Encode boxes (..., A, 4) as offsets (..., A, 4) from anchors (A, 4): the inverse of `decode`."""
    centers, sizes = box_convert(boxes, "xyxy", "cxcywh").split(2, dim=-1)
    shifts = (centers - anchors[..., :2]) / anchors[..., 2:] / CENTER_SCALE
    return torch.cat([shifts, (sizes / anchors[..., 2:]).log() / SIZE_SCALE], dim=-1)


def paired_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union (...) of paired boxes (..., 4), with broadcasting; 0 for boxes without area."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    intersection = sides.clamp_min(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (first, second)]
    return intersection / (sum(areas) - intersection).clamp_min(torch.finfo(first.dtype).tiny)


@torch.no_grad()
def detect(prediction: torch.Tensor, size: tuple[int, int], softmax: bool = False) -> Detections:
    """Select the final detections of images.

    Candidates are the 4000 best anchors of each class, with a score above 0.01. A candidate is dropped if its IoU with
    a better one of its class exceeds 0.5; the image's 200 best remain. (The released code first limits each class to
    400, which makes no difference.)

    Args:
        prediction: (B, A, 4 + C'), offsets and logits.
        size: image size (H, W).
        softmax: whether the logits are for a softmax, background first, instead of one sigmoid per class.
    """
    prediction = at_least_float32(prediction)
    anchors = anchor_boxes(size, prediction.device).to(prediction.dtype)
    found = [_detect(offsets_and_logits, anchors, softmax) for offsets_and_logits in prediction]
    return Detections(*(torch.stack(values) for values in zip(*found, strict=True)))


def stored_pixels(boxes: torch.Tensor, stored_sizes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes (B, n, 4) float64 in pixels of the stored images, which were padded (right or bottom) and resized.

    Args:
        boxes: (B, n, 4).
        stored_sizes: (B, 2), H and W of the stored images.
        size: (H, W) after padding and resizing.
    """
    padded = [padded_size((height, width), *size) for height, width in stored_sizes.tolist()]
    scales = torch.tensor([(width, height) * 2 for height, width in padded], dtype=torch.float64)
    return boxes.double() * scales.to(boxes.device)[:, None]


def _detect(prediction: torch.Tensor, anchors: torch.Tensor, softmax: bool) -> tuple[torch.Tensor, ...]:
    """Padded boxes, scores and labels of one image, from its prediction (A, 4 + C')."""
    logits = prediction[:, 4:]
    scores = logits.softmax(-1)[:, 1:] if softmax else logits.sigmoid()  # (A, C)
    num_classes = scores.shape[1]

    def best(candidates: torch.Tensor, candidate_scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The detections among candidates (indices into the flattened scores)."""
        confident = candidate_scores > MIN_SCORE
        candidates, candidate_scores = candidates[confident], candidate_scores[confident]
        anchor, label = candidates // num_classes, candidates % num_classes
        boxes = decode(prediction[anchor, :4], anchors[anchor])
        # float64, as batched_nms separates the classes by shifting their boxes.
        kept = batched_nms(boxes.double(), candidate_scores.double(), label, MAX_IOU)[:MAX_DETECTIONS]
        return boxes[kept], candidate_scores[kept], label[kept] + 1

    # Only better candidates can suppress one: if enough of the best of all classes remain, the others are not needed.
    top_scores, top = scores.flatten().topk(min(MAX_CANDIDATES, scores.numel()))
    found = best(top, top_scores)
    if len(found[1]) < MAX_DETECTIONS and len(top) < scores.numel() and top_scores[-1] > MIN_SCORE:
        top_scores, anchor = scores.topk(min(MAX_CANDIDATES, len(scores)), dim=0)  # per class, (n, C)
        top = anchor * num_classes + torch.arange(num_classes, device=anchor.device)
        found = best(top.flatten(), top_scores.flatten())
    missing = MAX_DETECTIONS - len(found[1])
    return tuple(torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) for values in found)
