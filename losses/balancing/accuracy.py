"""Base class of methods whose weights depend on validation accuracies."""

import torch

from losses.balancing.base import WeightedLosses

SMOOTHING = 0.1  # weight of a new accuracy in the moving average


class AccuracyWeights(WeightedLosses):
    """Keeps a moving average of each task's accuracy: 10 % new, 90 % old, initialized with the first value.

    As in the released code of Yun & Cho (ICCV 2023), except for missing and non-finite accuracies, which leave the
    average unchanged here; there, a missing one crashes the training and NaN makes all weights NaN.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, keep_exponents: bool = False):
        super().__init__(tasks, geometric, keep_exponents)
        self.register_buffer("_accuracies", torch.full((len(tasks),), torch.nan))

    def validated(self, accuracies: dict[str, float | None]) -> None:
        new = torch.tensor([torch.nan if accuracies.get(task) is None else accuracies[task] for task in self.tasks])
        new, old = new.to(self._accuracies), self._accuracies
        smoothed = torch.where(old.isnan(), new, SMOOTHING * new + (1 - SMOOTHING) * old)
        self._accuracies.copy_(torch.where(new.isfinite(), smoothed, old))

    @property
    def accuracies(self) -> torch.Tensor:
        """The averages (T,), 0 to 1; NaN before the first value."""
        return self._accuracies
