"""Predictors that do not look at the picture. A network that does not clearly beat them has learnt nothing."""

from collections.abc import Iterable

import torch

from utils.distributed import gather_objects
from utils.sphere import icosphere
from utils.tasks import IGNORE_LABEL

_NORMAL_CANDIDATES = 3  # icosphere level: 642 directions, about 8 degrees apart


class TrivialPredictor:
    """The best constant depth, the best constant normal and the majority class of a set of truths.

    Knowing the truth that it will be judged by, it is a little better than any constant that could be learnt.

    Args:
        tasks: which tasks to predict.
        num_classes: K.
    """

    def __init__(self, tasks: tuple[str, ...], num_classes: int):
        self.tasks = tasks
        self.depth = 0.0  # metres: the mean has the lowest root mean square error of all constants
        self.normal = torch.zeros(3)  # the candidate with the lowest mean angle
        self.label_counts = torch.zeros(num_classes, dtype=torch.int64)

    def fit(self, batches: Iterable[dict]) -> "TrivialPredictor":
        """Find the constants for these truths and those of the other processes; returns itself."""
        candidates = torch.tensor(icosphere(_NORMAL_CANDIDATES)[0])  # (V, 3)
        angle_sums = torch.zeros(len(candidates), dtype=torch.float64)
        depth_sum = torch.zeros((), dtype=torch.float64)
        depth_count = torch.zeros((), dtype=torch.float64)
        label_counts = torch.zeros_like(self.label_counts)
        for batch in batches:
            depth = batch["depth"][batch["depth_mask"]].double().cpu()
            depth_sum += depth.sum()
            depth_count += len(depth)
            # Every fourth row and column: a constant has nothing to gain from the others.
            known = batch["normal_mask"][:, 0, ::4, ::4]
            normal = batch["normal"].movedim(1, -1)[:, ::4, ::4][known].cpu()
            angle_sums += (candidates @ normal.double().T).clamp(-1, 1).arccos().sum(dim=1)
            labels = batch["semantic"][batch["semantic"] != IGNORE_LABEL].cpu()
            label_counts += torch.bincount(labels, minlength=len(label_counts))
        self.depth = (_over_processes(depth_sum) / _over_processes(depth_count).clamp_min(1)).item()
        self.normal = candidates[_over_processes(angle_sums).argmin()].float()
        self.label_counts = _over_processes(label_counts)
        return self

    def __call__(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """The same predictions for any panoramas (B, 3, H, W)."""
        batch, _, height, width = rgb.shape
        constants = {
            "depth": torch.tensor([self.depth]),
            "normal": self.normal,
            "segmentation": torch.nn.functional.one_hot(self.label_counts.argmax(), len(self.label_counts)).float(),
        }
        return {
            task: constants[task].to(rgb.device)[None, :, None, None].expand(batch, -1, height, width)
            for task in self.tasks
        }


def _over_processes(total: torch.Tensor) -> torch.Tensor:
    return sum(gather_objects(total))
