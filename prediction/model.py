"""Prediction of panoramas with a trained network, from images of any common format."""

from pathlib import Path

import numpy as np
import torch

from datasets.panorama import resize_rgb
from metrics.seam import seam_score
from networks.backbones import DEFAULT
from networks.checkpoint import open_checkpoint
from prediction.input_image import as_rgb, require_panorama
from prediction.result import PanoramaPrediction
from prediction.trained_model import ImageLike, TrainedModel
from prediction.tta import ViewAverage
from tasks import TASKS


class PanoramaModel(TrainedModel):
    """A trained network for panoramas, see `load_elite360m` and `TrainedModel`."""

    _open = staticmethod(open_checkpoint)

    def predict(self, image: ImageLike, tta: int = 1, force: bool = False) -> PanoramaPrediction:
        """Predict from one panorama, at the training size of the network (`settings.height` x `width`).

        Args:
            image: a file, a Pillow image, or an array (H, W, 3), RGB; also gray (H, W) or (H, W, 1), or with alpha
                (H, W, 4), which is dropped. Arrays are uint8, uint16, or floats in [0, 1].
            tta: number of views to average, see `prediction.tta`; 1: the plain network.
            force: stretch an image that is not 2:1 instead of rejecting it. A pixel or two off do not count.

        Raises:
            UserError: when a file cannot be read, or the image is not twice as wide as high.
            ValueError: when an array has another shape, type or range, or `tta` is less than 1.
        """
        rgb = as_rgb(image)
        if not force:
            require_panorama(rgb, image if isinstance(image, str | Path) else "the image", "force=True")
        [prediction] = self.predict_batch([self.resize(rgb)], tta)
        return prediction

    def resize(self, rgb: np.ndarray) -> np.ndarray:
        """An image (any, any, 3) uint8 at the size of the network, (H, W, 3)."""
        return resize_rgb(rgb, self.settings.height, self.settings.width)

    def predict_batch(self, images: list[np.ndarray], tta: int = 1) -> list[PanoramaPrediction]:
        """Predict from several resized panoramas (H, W, 3) uint8 at once; `tta` as in `predict`."""
        if tta < 1:
            raise ValueError(f"tta must be 1 or more, got {tta}")
        plain, averaged = self._run(images, tta)
        return [
            self._prediction(
                rgb,
                tta,
                {task: maps[number] for task, maps in plain.items()},
                {task: maps[number] for task, maps in averaged.items()},
            )
            for number, rgb in enumerate(images)
        ]

    def _prediction(
        self, rgb: np.ndarray, tta: int, plain: dict[str, torch.Tensor], averaged: dict[str, torch.Tensor]
    ) -> PanoramaPrediction:
        """The prediction of one image, from maps (., H, W) per task: of the plain network and averaged over views."""
        displays = {task: TASKS[task].display for task in self.settings.tasks}
        maps = {display.map_name: display.as_map(averaged[task]) for task, display in displays.items()}
        return PanoramaPrediction(
            rgb=rgb,
            settings=self.settings,
            tta=tta,
            seam=_seam_scores(averaged),
            plain_seam=_seam_scores(plain),
            **maps,
        )

    @torch.no_grad()
    def _run(self, images: list[np.ndarray], tta: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Predictions (B, ., H, W) per task for B images, of the plain network and averaged over `tta` views."""
        return ViewAverage(self._predictor, tta, self.settings.normal_frame).with_plain(self._as_batch(images))


def load_elite360m(
    path: str | Path = DEFAULT,
    device: torch.device | str | None = None,
    amp: str = "off",
    compiled: bool = False,
    channels_last: bool = False,
) -> PanoramaModel:
    """Load a trained network for panoramas, by default the weights of this repository; see `TrainedModel.load`."""
    return PanoramaModel.load(path, device, amp, compiled, channels_last)


def _seam_scores(predictions: dict[str, torch.Tensor]) -> dict[str, float]:
    return {task: seam_score(prediction, TASKS[task].column_difference) for task, prediction in predictions.items()}
