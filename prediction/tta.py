"""Test-time augmentation: predictions averaged over several views of a panorama."""

from collections.abc import Iterator

import torch

from prediction.predictor import Predictor
from tasks import TASKS
from training.loop import batched
from utils.cpu_kernels import use_cpu_kernels
from utils.views import View

IMAGES_AT_ONCE = 16  # of all views, on a GPU; on a CPU a batch is no faster, and needs more memory


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
        if self._number == 1:
            plain = self._network(rgb)
            return plain, plain
        answers = self._of_views(rgb)
        _, plain = next(answers)  # the first view is the panorama itself
        totals = dict(plain)
        for view, predictions in answers:
            for task, maps in predictions.items():
                totals[task] = totals[task] + TASKS[task].averaging.restore(maps, view, self._normal_frame)
        return plain, {task: TASKS[task].averaging.mean(total, self._number) for task, total in totals.items()}

    def _of_views(self, rgb: torch.Tensor) -> Iterator[tuple[View, dict[str, torch.Tensor]]]:
        """Each view and the network's predictions for it; several views are predicted as one batch."""
        at_once = 1 if use_cpu_kernels(rgb) else max(1, IMAGES_AT_ONCE // len(rgb))
        for some in batched(views(self._number, rgb.shape[-1]), at_once):
            joint = self._network(torch.cat([view.apply(rgb) for view in some]))
            of_each = {task: maps.unflatten(0, (len(some), len(rgb))) for task, maps in joint.items()}
            for number, view in enumerate(some):
                yield view, {task: maps[number] for task, maps in of_each.items()}
