"""Adaptive training sample selection: assigns boxes to anchors (ATSS, Zhang et al., CVPR 2020)."""

import torch
from torchvision.ops import box_convert

from utils.anchors import RATIOS, anchor_boxes, anchors_per_level
from utils.boxes import paired_iou

NEAREST = 9  # locations of each level
RESOLUTION = 2**-18  # of distances, in widths and heights of the image
MARGIN = 0.01  # between the center of an anchor and the sides of its box, in widths and heights of the image


@torch.no_grad()
def match_anchors(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The index of the box of each anchor, (B, A) int64; -1 for the background.

    Candidates for a box are, on each level, the anchors of the 9 locations nearest to its center. Positive are those
    with an IoU of at least the mean plus the standard deviation of the IoUs of all its candidates, whose center is
    in the box, more than 0.01 from its sides. An anchor that is positive for several boxes gets the one with the
    highest IoU, of equal ones the first.

    Args:
        boxes: (B, N, 5) x1, y1, x2, y2, class; class 0 = padding.
        size: of the images, (H, W).
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
    """Indices (B, N, K) of the anchors nearest to boxes (B, N, 4), of each level those of NEAREST locations, or all.

    Of equally distant locations, which are frequent around centers on the border of two cells, the last ones: so that
    rounding, which differs between devices, has no influence.
    """
    centers = box_convert(boxes, "xyxy", "cxcywh")[..., :2]
    of_location = torch.arange(len(RATIOS), device=boxes.device)
    candidates, start = [], 0
    for count in level_counts:
        locations = anchors[start : start + count : len(RATIOS), :2]
        distances = torch.cdist(centers, locations, compute_mode="donot_use_mm_for_euclid_dist")
        steps = (distances / RESOLUTION).round().long()
        rank = steps * len(locations) - torch.arange(len(locations), device=boxes.device)
        nearest = rank.topk(min(NEAREST, len(locations)), largest=False).indices
        candidates.append((start + len(RATIOS) * nearest[..., None] + of_location).flatten(2))
        start += count
    return torch.cat(candidates, dim=-1)


def _box_with_highest_iou(candidates: torch.Tensor, iou: torch.Tensor, num_anchors: int) -> torch.Tensor:
    """For each anchor the index of the box with the highest IoU, (B, A); -1 where none is positive.

    Args:
        candidates: (B, N, K) indices of anchors.
        iou: (B, N, K) with each of them; -1 where it is not positive.
    """
    batch_size, num_boxes, _ = candidates.shape
    box = torch.arange(num_boxes, device=candidates.device)[:, None].expand_as(candidates).flatten(1)
    candidates, iou = candidates.flatten(1), iou.flatten(1)
    highest = iou.new_full((batch_size, num_anchors), -1).scatter_reduce(1, candidates, iou, "amax")
    is_best = (iou >= 0) & (iou == highest.gather(1, candidates))
    first = box.new_full((batch_size, num_anchors), num_boxes)
    first = first.scatter_reduce(1, candidates, torch.where(is_best, box, num_boxes), "amin")
    return torch.where(first < num_boxes, first, -1)
