"""Test-time augmentation: predictions averaged over several views of a panorama."""

from collections.abc import Iterator

import torch

from prediction.predictor import Predictor
from tasks import TASKS
from training.loop import batched
from utils.cpu_kernels import use_cpu_kernels
from utils.views import View

IMAGES_AT_ONCE = 16  # views of all images in a batch on a GPU; on a CPU such batches only need more memory


def views(number: int, width: int) -> list[View]:
    """The averaged views: view i of N is rolled by round(i W / N) columns, and mirrored if i is odd.

    The first is the panorama itself.
    """
    return [View(round(i * width / number), mirrored=i % 2 == 1) for i in range(number)]


class ViewAverage:
    """A `Predictor` that averages a network's predictions over N views.

    Depths and logits are averaged; normals are rotated back, averaged and normalized. N = 1 gives exactly the
    predictions of the network.

    Args:
        network: predictor of one view.
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
        """The predictions of the plain network, which are those for the first view, and the average over all views."""
        if self._number == 1:
            plain = self._network(rgb)
            return plain, plain
        view_predictions = self._predict_views(rgb)
        _, plain = next(view_predictions)  # the first view is the panorama itself
        totals = dict(plain)
        for view, predictions in view_predictions:
            for task, maps in predictions.items():
                totals[task] = totals[task] + TASKS[task].averaging.restore(maps, view, self._normal_frame)
        return plain, {task: TASKS[task].averaging.mean(total, self._number) for task, total in totals.items()}

    def _predict_views(self, rgb: torch.Tensor) -> Iterator[tuple[View, dict[str, torch.Tensor]]]:
        """Each view and the network's predictions for it; on a GPU, several views are one batch."""
        views_at_once = 1 if use_cpu_kernels(rgb) else max(1, IMAGES_AT_ONCE // len(rgb))
        for batch in batched(views(self._number, rgb.shape[-1]), views_at_once):
            predictions = self._network(torch.cat([view.apply(rgb) for view in batch]))
            by_view = {task: maps.unflatten(0, (len(batch), len(rgb))) for task, maps in predictions.items()}
            for number, view in enumerate(batch):
                yield view, {task: maps[number] for task, maps in by_view.items()}
