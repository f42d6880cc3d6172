"""Adaptive training sample selection: assigns boxes to anchors (ATSS, Zhang et al., CVPR 2020, algorithm 1)."""

import torch
from torchvision.ops import box_convert

from utils.anchors import RATIOS, anchor_boxes, anchors_per_level
from utils.boxes import paired_iou

# Lengths are in widths and heights of the image.
NEAREST = 9  # candidate locations per level
RESOLUTION = 2**-18  # distances are rounded to multiples of this
MARGIN = 0.01  # smallest distance from the center of a positive anchor to the sides of its box


@torch.no_grad()
def match_anchors(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Match each anchor to a box: indices (B, A) int64, -1 for background.

    On each level, the anchors at the 9 locations nearest to the center of a box are its candidates. A candidate is
    positive if its IoU is at least the mean plus the standard deviation over all candidates of the box, and its center
    is inside the box, more than 0.01 from each side. An anchor that is positive for several boxes is matched to the
    one with the highest IoU, the first of equal ones.

    Args:
        boxes: (B, N, 5) x1, y1, x2, y2, class; class 0 = padding.
        size: image size (H, W).
    """
    if not boxes.numel():
        return torch.full((len(boxes), sum(anchors_per_level(size))), -1, device=boxes.device)
    anchors = anchor_boxes(size, boxes.device).to(boxes.dtype)
    corners = boxes[..., :4]
    candidates = _candidates(corners, anchors, anchors_per_level(size))  # (B, N, K)
    iou = paired_iou(box_convert(anchors, "cxcywh", "xyxy")[candidates], corners[:, :, None])
    std, mean = torch.std_mean(iou, dim=-1, keepdim=True)
    centers = anchors[candidates][..., :2]
    margins = torch.cat([centers - corners[:, :, None, :2], corners[:, :, None, 2:] - centers], dim=-1).amin(-1)
    is_positive = (iou >= mean + std) & (margins > MARGIN) & (boxes[..., 4:] > 0)  # (B, N, K)
    return _box_with_highest_iou(candidates, torch.where(is_positive, iou, -1), len(anchors))


def _candidates(boxes: torch.Tensor, anchors: torch.Tensor, level_counts: tuple[int, ...]) -> torch.Tensor:
    """Indices (B, N, K) of the candidates for boxes (B, N, 4): anchors at the NEAREST locations of each level, or all.

    Equal distances are frequent, for centers on the border of two cells; the last locations are then taken. Distances
    are rounded first, because their floating-point errors differ between devices.
    """
    centers = box_convert(boxes, "xyxy", "cxcywh")[..., :2]
    at_location = torch.arange(len(RATIOS), device=boxes.device)
    candidates, start = [], 0
    for count in level_counts:
        locations = anchors[start : start + count : len(RATIOS), :2]
        distances = torch.cdist(centers, locations, compute_mode="donot_use_mm_for_euclid_dist")
        steps = (distances / RESOLUTION).round().long()
        rank = steps * len(locations) - torch.arange(len(locations), device=boxes.device)
        nearest = rank.topk(min(NEAREST, len(locations)), largest=False).indices
        candidates.append((start + len(RATIOS) * nearest[..., None] + at_location).flatten(2))
        start += count
    return torch.cat(candidates, dim=-1)


def _box_with_highest_iou(candidates: torch.Tensor, iou: torch.Tensor, num_anchors: int) -> torch.Tensor:
    """The index of the box with the highest IoU for each anchor, (B, A); -1 if it is positive for no box.

    Args:
        candidates: (B, N, K) anchor indices.
        iou: (B, N, K) IoU of each candidate with its box; -1 if not positive.
    """
    batch_size, num_boxes, _ = candidates.shape
    box = torch.arange(num_boxes, device=candidates.device)[:, None].expand_as(candidates).flatten(1)
    candidates, iou = candidates.flatten(1), iou.flatten(1)
    highest = iou.new_full((batch_size, num_anchors), -1).scatter_reduce(1, candidates, iou, "amax")
    is_best = (iou >= 0) & (iou == highest.gather(1, candidates))
    first = box.new_full((batch_size, num_anchors), num_boxes)
    first = first.scatter_reduce(1, candidates, torch.where(is_best, box, num_boxes), "amin")
    return torch.where(first < num_boxes, first, -1)
