"""Depth metrics of panoramas."""

import math
from functools import partial

import torch

from metrics.alignment import fit_depth
from metrics.breakdown import PixelError
from metrics.pooling import ImageSums
from metrics.protocol import PER_PIXEL, SMALLEST_DEPTH, SOLID_ANGLE, DepthProtocol, limits
from metrics.region import depth_mask
from metrics.resizing import resized
from metrics.task_metric import BatchMetrics, PixelMetric, RowSums, pooled_means, with_solid_angle
from utils.batches import STORED

METRICS = (
    *("abs_rel", "sq_rel", "abs_", "rms", "log_rms", "log10", "a1", "a2", "a3"),
    *("delta_1.05", "delta_1.10", "rms_ln", "si_log", "irmse"),
)
FRACTIONS = {"a1": 1.25, "a2": 1.25**2, "a3": 1.25**3, "delta_1.05": 1.05, "delta_1.10": 1.1}  # limits of the ratio
_NUM_ERRORS = 13  # of `depth_errors`


def depth_errors(p: torch.Tensor, d: torch.Tensor) -> list[torch.Tensor]:
    """The 13 per-pixel errors, (B, h, W) float64 or bool each, from whose means `depth_metrics` computes these metrics.

    ========== ========================================= ===================================
    metric     formula, mean over pixels                 name in the released code
    ========== ========================================= ===================================
    abs_rel    |e| / d                                   abs_rel, also mae (which it is not)
    sq_rel     e^2 / d                                   sq_rel, also mre (which it is not)
    abs_       |e|, meters                               abs_
    rms        sqrt(mean e^2), meters                    rms
    log_rms    sqrt(mean (log10 p - log10 d)^2)          log_rms
    log10      |log10 p - log10 d|                       log10
    a1,2,3     fraction with max(p/d, d/p) < 1.25^1,2,3  a1, a2, a3
    delta_X    fraction with max(p/d, d/p) < X
    rms_ln     sqrt(mean l^2), l = ln p - ln d
    si_log     sqrt(mean l^2 - (mean l)^2)
    irmse      sqrt(mean (1/p - 1/d)^2), 1/meters
    ========== ========================================= ===================================

    Args:
        p, d: predicted and ground truth depth, (B, h, W) float64 meters along the ray, above 0; e = p - d.
    """
    error = p - d
    log_error = p.log10() - d.log10()
    ratio = torch.maximum(p / d, d / p)
    absolute, squared = error.abs(), error**2
    below = [ratio < limit for limit in FRACTIONS.values()]
    inverse = (error / (p * d)) ** 2
    return [absolute / d, squared / d, absolute, squared, log_error**2, log_error.abs(), *below, log_error, inverse]


def depth_metrics(means: torch.Tensor) -> torch.Tensor:
    """The METRICS (..., 14) from the means (..., 13) of `depth_errors`."""
    relative, mean_square, log_square, absolute_log, fractions, log_mean, inverse_square = means.split(
        [3, 1, 1, 1, len(FRACTIONS), 1, 1], dim=-1
    )
    log_rms = log_square.sqrt()
    deviation = (log_square - log_mean**2).clamp_min(0).sqrt()
    natural = math.log(10) * torch.cat([log_rms, deviation], dim=-1)
    return torch.cat(
        [relative, mean_square.sqrt(), log_rms, absolute_log, fractions, natural, inverse_square.sqrt()], dim=-1
    )


class DepthMetric(PixelMetric):
    """Depth metrics by each of the depth protocols of an evaluation."""

    metric_names = with_solid_angle(METRICS)
    pixel_errors = (PixelError("absolute error", "m"), PixelError("relative error", ""))
    breakdown_errors = (METRICS.index("abs_"), METRICS.index("abs_rel"))

    def set_up(self) -> None:
        self.image_metric_names = tuple(
            f"{name}{protocol.suffix}{weighting}"
            for protocol in self.protocol.depth
            if not protocol.pool_pixels
            for weighting in protocol.weightings
            for name in METRICS
        )
        # Protocol, weighting and key suffix of the metrics of all pixels together.
        self._pooled = [
            (protocol, weighting, f"{protocol.suffix}{'' if protocol.pool_pixels else PER_PIXEL}{weighting}")
            for protocol in self.protocol.depth
            if protocol.pool_pixels or (self.protocol.pool_pixels and not protocol.region)
            for weighting in protocol.weightings
        ]
        self.sums = ImageSums(len(self._pooled) * (1 + _NUM_ERRORS)) if self._pooled else None

    def batch_metrics(self, prediction: torch.Tensor, batch: dict) -> BatchMetrics:
        values, has_ground_truth, pooled, profiles = [], [], [], None
        for protocol in self.protocol.depth:
            sums = self._sum_errors(protocol, prediction, batch)
            profiles = sums.profiles if not protocol.name else profiles
            weights = self.row_weights(sums.first_error)
            if not protocol.pool_pixels:
                values += [depth_metrics(sums.means(weights[name])) for name in protocol.weightings]
                has_ground_truth += len(protocol.weightings) * len(METRICS) * [sums.counts.sum(-1) > 0]
            pooled += [sums.pooled(weights[name]) for other, name, _ in self._pooled if other is protocol]
        return BatchMetrics(
            torch.cat(values, dim=1),
            torch.stack(has_ground_truth, dim=1),
            profiles,
            torch.cat(pooled, dim=1) if pooled else None,
        )

    def dataset_metrics(self) -> dict[str, float]:
        """Metrics of all valid pixels together, for the protocols that pool pixels."""
        if not self._pooled:
            return {}
        metrics = {}
        for (_, _, suffix), sums in zip(self._pooled, self.sums.total().view(len(self._pooled), -1), strict=True):
            means = pooled_means(sums)
            if means is not None:
                values = depth_metrics(means).tolist()
                metrics |= {f"{name}{suffix}": value for name, value in zip(METRICS, values, strict=True)}
        return metrics

    def _sum_errors(self, protocol: DepthProtocol, prediction: torch.Tensor, batch: dict) -> RowSums:
        """Sums of the errors by a protocol; only those of the unnamed protocol have profiles."""
        if protocol.at_truth_size:
            batch = batch.get(STORED, batch)
            prediction = resized("depth", prediction, batch["depth"].shape[-2:])
        target = batch["depth"]
        mask = (depth_mask(protocol.region, batch) if protocol.region else batch["depth_mask"])[:, 0]
        if protocol.align != "none":
            row_weights = self.row_weights(mask)[SOLID_ANGLE if protocol.fit_by_solid_angle else ""]
            p, d = prediction[:, 0].double(), target[:, 0].double()
            prediction = fit_depth(protocol.align, p, d, row_weights[:, None] * mask).apply(p)[:, None]
        errors = partial(_clamped_errors, protocol.clamp, *limits(protocol.region or self.protocol.region))
        return self.sum_rows(errors, prediction, target, mask, None if protocol.name else batch)


def _clamped_errors(
    clamp: str, low: float, high: float, prediction: torch.Tensor, target: torch.Tensor
) -> list[torch.Tensor]:
    """`depth_errors` of depths (B, 1, h, W), clamped to [low, high] according to `DepthProtocol.clamp`."""
    p, d = prediction[:, 0].double(), target[:, 0].double()
    p = p.clamp_min(SMALLEST_DEPTH) if clamp == "none" else p.clamp(low, high)
    return depth_errors(p, d.clamp(low, high) if clamp == "both" else d)
