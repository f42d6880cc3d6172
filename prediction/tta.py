"""Test-time augmentation: predictions averaged over several views of a panorama."""

from collections.abc import Callable

import torch

from tasks import TASKS
from utils.views import View

Predictor = Callable[[torch.Tensor], dict[str, torch.Tensor]]


def views(number: int, width: int) -> list[View]:
    """The averaged views: view i of N is rolled by round(i W / N) columns, and mirrored if i is odd.

    The first is the panorama itself.
    """
    return [View(round(i * width / number), mirrored=i % 2 == 1) for i in range(number)]


class ViewAverage:
    """A predictor, from rgb (B, 3, H, W) to a prediction per task, that averages a network's predictions for N views.

    Depths and logits are averaged; normals are rotated back, averaged and normalized. N = 1 gives exactly the
    predictions of the network.

    Args:
        network: in eval mode.
        number: N, 1 or more.
        normal_frame: "camera" or "world", the frame of the network's normals.
    """

    def __init__(self, network: Predictor, number: int, normal_frame: str):
        self._network = network
        self._number = number
        self._normal_frame = normal_frame

    def __call__(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.with_plain(rgb)[1]

    def with_plain(self, rgb: torch.Tensor) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The predictions of the plain network, for the first view, and the average."""
        plain = self._network(rgb)
        if self._number == 1:
            return plain, plain
        totals = dict(plain)
        for view in views(self._number, rgb.shape[-1])[1:]:
            for task, prediction in self._network(view.apply(rgb)).items():
                totals[task] = totals[task] + TASKS[task].averaging.restore(prediction, view, self._normal_frame)
        return plain, {task: TASKS[task].averaging.mean(total, self._number) for task, total in totals.items()}
