"""The best constant prediction for each metric. A network that does not clearly beat it has learned nothing.

Each metric has its own constant: if the mean depth is 2 m, the lowest `rms` may be at 2 m and the lowest `abs_rel` at
1.4 m. The constants are fitted to the ground truth of the evaluation, so no learned constant can be better, up to the
resolution of the search.
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from metrics.constants import solid_angles
from metrics.depth import FRACTIONS, METRICS
from metrics.normal import THRESHOLDS, NormalMetric, angle_between
from metrics.protocol import MIN_DEPTH, SOLID_ANGLE
from utils.distributed import gather_objects
from utils.sphere import icosphere
from utils.tasks import IGNORE_LABEL, MAX_DEPTH

_STEPS = 64  # candidate depths per factor of 1.25, the limit of a1
_NUM_DEPTHS = int(np.log(MAX_DEPTH / MIN_DEPTH) / np.log(1.25) * _STEPS) + 1
_DIRECTIONS_LEVEL = 3  # icosphere: 642 directions, about 8 degrees apart
_CELL = 3  # degrees of latitude and longitude: cell size of the histogram of normals


class BestConstant(NamedTuple):
    """The best constant for one metric.

    Attributes:
        metric: value of the metric.
        constant: depth in meters, unit vector (x, y, z), or label.
    """

    metric: float
    constant: float | tuple[float, ...] | int


class ConstantBaseline(ABC):
    """Finds the best constant prediction of a task for each metric.

    Args:
        num_classes: K.

    Attributes:
        description: the candidates, in words.
    """

    description: str

    def __init__(self, num_classes: int):
        self.num_classes = num_classes

    @abstractmethod
    def fit(self, batch: dict) -> None:
        """Add the ground truth of a batch (see `datasets.panorama`)."""

    def choose(self) -> None:  # noqa: B027 - optional
        """Choose the constants to `evaluate`; to be called by all processes after `fit` with all batches."""

    def evaluate(self, batch: dict) -> None:  # noqa: B027 - optional
        """Evaluate the chosen constants; to be called after `choose` with the batches passed to `fit`."""

    @abstractmethod
    def compute(self) -> dict[str, BestConstant]:
        """The best constant for each metric, from all processes; empty without ground truth."""


class ConstantDepth(ConstantBaseline):
    """The best constant depths; metrics are exact, computed for all candidates from a depth histogram of each image."""

    description = (
        f"for each metric the best of {_NUM_DEPTHS} constant depths of {MIN_DEPTH:g} to {MAX_DEPTH:g} m, "
        f"{100 * (1.25 ** (1 / _STEPS) - 1):.2f} % apart"
    )

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._candidates = MIN_DEPTH * 1.25 ** (torch.arange(_NUM_DEPTHS).double() / _STEPS)  # (C,)
        self._sums = torch.zeros(2, len(METRICS), _NUM_DEPTHS, dtype=torch.float64)  # over images, for both weightings
        self._count = 0

    def fit(self, batch: dict) -> None:
        for depth, mask in zip(batch["depth"], batch["depth_mask"], strict=True):
            if mask.any():
                self._sums += self._metrics(depth, mask).cpu()
                self._count += 1

    def compute(self) -> dict[str, BestConstant]:
        count = sum(gather_objects(self._count))
        if not count:
            return {}
        means = sum(gather_objects(self._sums)) / count
        best = {}
        for suffix, table in zip(("", SOLID_ANGLE), means, strict=True):
            for name, values in zip(METRICS, table, strict=True):
                index = values.argmax() if name in FRACTIONS else values.argmin()
                best[name + suffix] = BestConstant(values[index].item(), self._candidates[index].item())
        return best

    def _metrics(self, depth: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The METRICS of each candidate for an image, (2, 14, C): weighted uniformly, and by solid angle."""
        c = self._candidates.to(depth.device)
        d = depth[mask].double().clamp(MIN_DEPTH, MAX_DEPTH)  # (n,)
        log_c, log_d = c.log10(), d.log10()
        bins = torch.bucketize(d, c, right=True)  # number of candidates <= d, so d < c[j] where bin <= j
        tables = []
        for weights in _pixel_weights(mask):
            w = weights / weights.sum()
            # Sums of weight, depth, inverse depth and log depth: of pixels below each candidate (b), and total (t).
            below, total = _cumulative_sums(bins, (w, w * d, w / d, w * log_d))
            (b, b_d, b_inverse, b_log), (_, t_d, t_inverse, t_log) = below[:, :-1], total
            above = 1 - b
            within = [_within(d, c, w, limit) for limit in FRACTIONS.values()]
            relative = c * b_inverse - b + above - c * (t_inverse - b_inverse)
            squared_relative = c**2 * t_inverse - 2 * c + t_d
            absolute = c * b - b_d + (t_d - b_d) - c * above
            squared = c**2 - 2 * c * t_d + w @ d**2
            squared_log = log_c**2 - 2 * log_c * t_log + w @ log_d**2
            absolute_log = log_c * b - b_log + (t_log - b_log) - log_c * above
            inverse = 1 / c**2 - 2 * t_inverse / c + w @ d**-2
            rms, log_rms, irmse = (x.clamp_min(0).sqrt() for x in (squared, squared_log, inverse))
            si_log = np.log(10) * (w @ (log_d - t_log) ** 2).sqrt().expand_as(c)  # the same for every constant
            released = (relative, squared_relative, absolute, rms, log_rms, absolute_log)
            tables.append(torch.stack([*released, *within, np.log(10) * log_rms, si_log, irmse]))
        return torch.stack(tables)


def _pixel_weights(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (n,) float64 of the n pixels in a mask (1, H, W): uniform, and solid angles in steradians."""
    solid_angle = solid_angles(*mask.shape[-2:], mask.device)[:, None].expand_as(mask)[mask]
    return torch.ones_like(solid_angle), solid_angle


def _cumulative_sums(bins: torch.Tensor, quantities: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cumulative sums (m, C + 1) of m quantities (n,) over the bins, and their totals (m,)."""
    sums = torch.stack([torch.bincount(bins, values, minlength=_NUM_DEPTHS + 1) for values in quantities])
    return sums.cumsum(1), sums.sum(1)


def _within(depth: torch.Tensor, candidates: torch.Tensor, weights: torch.Tensor, limit: float) -> torch.Tensor:
    """Total weight (C,) of the depths d (n,) with max(c/d, d/c) < limit, for each candidate c."""
    below = []
    # Weight of d < c * limit, minus weight of d <= c / limit.
    for edges, includes_edge in ((candidates * limit, False), (candidates / limit, True)):
        bins = torch.bucketize(depth, edges, right=not includes_edge)
        below.append(torch.bincount(bins, weights, minlength=_NUM_DEPTHS + 1).cumsum(0)[:-1])
    return below[0] - below[1]


class ConstantNormal(ConstantBaseline):
    """The best constant directions, chosen with a histogram of the normals and then evaluated exactly."""

    description = (
        "for each metric the best of 648 constant directions: the six axes, and 642 about 8 degrees apart; chosen by "
        f"cells of {_CELL} degrees"
    )

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._sums = torch.zeros(2, 3 + len(THRESHOLDS), len(_directions()), dtype=torch.float64)
        self._chosen: dict[str, int] = {}  # index of the direction for each metric
        self._totals = dict.fromkeys(NormalMetric.metric_names, 0.0)  # sum of each metric over images
        self._count = 0

    def fit(self, batch: dict) -> None:
        for normal, mask in zip(batch["normal"], batch["normal_mask"], strict=True):
            if mask.any():
                cells = _cells(normal[:, mask[0]])
                for sums, weights in zip(self._sums, _pixel_weights(mask), strict=True):
                    histogram = torch.bincount(cells, weights / weights.sum(), minlength=_num_cells())
                    sums += _direction_metrics(histogram.float().cpu())

    def choose(self) -> None:
        names = iter(NormalMetric.metric_names)
        for table in sum(gather_objects(self._sums)):
            for row, values in enumerate(table):
                is_error = row < 3  # mean, median, rmse
                self._chosen[next(names)] = int(values.argmin() if is_error else values.argmax())

    def evaluate(self, batch: dict) -> None:
        metric = NormalMetric(self.num_classes)
        for index in sorted(set(self._chosen.values())):
            constant = _directions()[index].to(batch["normal"].device)[None, :, None, None]
            metrics = metric.batch_metrics(constant.expand_as(batch["normal"]), batch)
            totals = metrics.values.where(metrics.has_ground_truth[:, None], 0).sum(0).tolist()
            for name, total in zip(metric.image_metric_names, totals, strict=True):
                if self._chosen[name] == index:
                    self._totals[name] += total
        self._count += int(batch["normal_mask"].flatten(1).any(1).sum())

    def compute(self) -> dict[str, BestConstant]:
        count, totals = sum(gather_objects(self._count)), gather_objects(self._totals)
        if not count:
            return {}
        return {
            name: BestConstant(sum(part[name] for part in totals) / count, tuple(_directions()[index].tolist()))
            for name, index in self._chosen.items()
        }


@lru_cache(maxsize=1)
def _directions() -> torch.Tensor:
    """Candidate unit vectors (648, 3) float64."""
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double() + 0  # avoids -0
    return torch.cat([axes, torch.tensor(icosphere(_DIRECTIONS_LEVEL)[0])])


def _num_cells() -> int:
    return (180 // _CELL + 1) * (360 // _CELL)


def _cells(normal: torch.Tensor) -> torch.Tensor:
    """Indices (n,) of the latitude-longitude cells of unit vectors (3, n); the axes are cell centers."""
    x, y, z = normal
    row = (torch.rad2deg(y.clamp(-1, 1).arcsin()) / _CELL).round() + 90 // _CELL
    columns = 360 // _CELL
    column = (torch.rad2deg(torch.atan2(x, z)) / _CELL).round() % columns
    return (row * columns + column).long()


@lru_cache(maxsize=1)
def _sorted_angles() -> tuple[torch.Tensor, torch.Tensor]:
    """Angles in degrees between directions and cell centers, (648, cells), sorted in each row, and their order."""
    latitude = torch.deg2rad(torch.arange(-90, 91, _CELL).double())[:, None]
    longitude = torch.deg2rad(torch.arange(0, 360, _CELL).double())[None]
    x, y, z = latitude.cos() * longitude.sin(), latitude.sin() + 0 * longitude, latitude.cos() * longitude.cos()
    centers = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    angles = torch.stack([angle_between(direction.expand_as(centers), centers).float() for direction in _directions()])
    return angles.sort(dim=1)


def _direction_metrics(histogram: torch.Tensor) -> torch.Tensor:
    """Mean, median, rmse and fractions below the THRESHOLDS, (8, 648), of an image with these cell weights (cells,)."""
    angles, order = _sorted_angles()
    weights = histogram[order]  # (648, cells), from the nearest cell to the farthest
    cumulative = weights.cumsum(1)
    last = angles.shape[1] - 1
    median = angles.gather(1, (cumulative < 0.5).sum(1, keepdim=True).clamp_max(last))[:, 0]
    limits = torch.tensor(THRESHOLDS).expand(len(angles), -1).contiguous()
    num_below = torch.searchsorted(angles, limits)  # number of cells below each limit
    fractions = torch.where(num_below > 0, cumulative.gather(1, (num_below - 1).clamp_min(0)), 0)
    mean, mean_square = (weights * angles).sum(1), (weights * angles**2).sum(1)
    return torch.stack([mean, median, mean_square.sqrt(), *fractions.T])


class ConstantClass(ConstantBaseline):
    """The best constant class; metrics are exact."""

    description = "for each metric the best of the classes, predicted everywhere"

    def __init__(self, num_classes: int):
        super().__init__(num_classes)
        self._counts = torch.zeros(num_classes, dtype=torch.float64)  # pixels of each class
        self._solid_angles = torch.zeros(num_classes, dtype=torch.float64)
        self._fractions = torch.zeros(num_classes, dtype=torch.float64)  # sums over images of pixel fractions
        self._occurring = torch.zeros(num_classes, dtype=torch.float64)  # the same, each divided by the image's classes
        self._num_images = 0

    def fit(self, batch: dict) -> None:
        for labels in batch["semantic"]:
            mask = labels != IGNORE_LABEL
            valid_labels = labels[mask]
            if len(valid_labels):
                _, solid_angle = _pixel_weights(mask[None])
                self._solid_angles += torch.bincount(valid_labels, solid_angle, minlength=self.num_classes).cpu()
                counts = torch.bincount(valid_labels, minlength=self.num_classes).double().cpu()
                fraction = counts / counts.sum()
                self._counts += counts
                self._fractions += fraction
                self._occurring += fraction / (counts > 0).sum()
                self._num_images += 1

    def compute(self) -> dict[str, BestConstant]:
        num_images = sum(gather_objects(self._num_images))
        if not num_images:
            return {}
        counts, solid_angles, fractions, occurring = (
            sum(gather_objects(x)) for x in (self._counts, self._solid_angles, self._fractions, self._occurring)
        )
        metrics = {}
        for suffix, areas in (("", counts), (SOLID_ANGLE, solid_angles)):
            accuracy, num_occurring = areas / areas.sum(), (areas > 0).sum()
            metrics |= {
                # The predicted class counts as occurring.
                f"mIoU{suffix}": accuracy / (num_occurring + (areas == 0)),
                f"pixAcc{suffix}": accuracy,
                f"mAcc{suffix}": (areas > 0).double() / num_occurring,
                f"fwIoU{suffix}": accuracy**2,
            }
        metrics |= {
            "mIoU_per_image": fractions / num_images / self.num_classes,
            "mIoU_occurring": occurring / num_images,
        }
        return {name: BestConstant(values.max().item(), int(values.argmax())) for name, values in metrics.items()}
