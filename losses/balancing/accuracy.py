"""Weights that follow the tasks' accuracies in validation."""

import torch

from losses.balancing.base import WeightedLosses

SMOOTHING = 0.1  # what a new accuracy counts in the moving average


class AccuracyWeights(WeightedLosses):
    """Keeps a moving average of each task's accuracy: 10 % new, 90 % old, the first one as it is.

    Yun & Cho (ICCV 2023), as in their program. There a metric that is missing crashes, and one that is NaN spoils the
    weights for ever; here the average stays what it was.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool):
        super().__init__(tasks, geometric)
        self.register_buffer("_accuracies", torch.full((len(tasks),), torch.nan))  # NaN: not known yet

    def validated(self, accuracies: dict[str, float | None]) -> None:
        new = torch.tensor([torch.nan if accuracies.get(task) is None else accuracies[task] for task in self.tasks])
        new, old = new.to(self._accuracies), self._accuracies
        smoothed = torch.where(old.isnan(), new, SMOOTHING * new + (1 - SMOOTHING) * old)
        self._accuracies.copy_(torch.where(new.isfinite(), smoothed, old))

    @property
    def accuracies(self) -> torch.Tensor:
        """The averages (T,), 0 to 1; NaN where not known yet."""
        return self._accuracies
