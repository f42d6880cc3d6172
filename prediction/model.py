"""Prediction with a trained network, from images of any common format."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datasets.panorama import resize_rgb
from metrics.seam import seam_score
from networks.backbones import DEFAULT
from networks.checkpoint import Checkpoint, open_checkpoint
from prediction.input_image import as_rgb, require_panorama
from prediction.predictor import predictor_of
from prediction.result import Prediction
from prediction.tta import ViewAverage
from tasks import TASKS
from training.setup import precision_of

ImageLike = np.ndarray | Image.Image | str | Path


def load_elite360m(
    path: str | Path = DEFAULT,
    device: torch.device | str | None = None,
    amp: str = "off",
    compiled: bool = False,
    channels_last: bool = False,
) -> "PanoramaModel":
    """Load a trained network for prediction.

    Args:
        path: a checkpoint file, a run folder, a folder with one run, or weights of the released code; those of this
            repository if not given.
        device: None: the first GPU if there is one, else the CPU.
        amp, compiled, channels_last: see `prediction.predictor.predictor_of`.

    Raises:
        UserError: when there is no checkpoint, or it cannot be used.
    """
    checkpoint = open_checkpoint(path)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return PanoramaModel(checkpoint, device, amp, compiled, channels_last)


class PanoramaModel:
    """A trained network, see `load_elite360m`.

    Attributes:
        settings: of the network: architecture and meaning of its predictions.
        path: of its checkpoint.
        sha256: of the checkpoint.
        epoch: number of epochs of training; 0 if unknown.
        device: of the network.
        precision: of its computations, see `training.setup.precision_of`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        amp: str = "off",
        compiled: bool = False,
        channels_last: bool = False,
    ):
        network = checkpoint.build_network().to(device).eval()
        self._predictor = predictor_of(network, amp, compiled, channels_last)
        self.settings = checkpoint.settings
        self.path = checkpoint.path
        self.sha256 = checkpoint.sha256
        self.epoch = checkpoint.epoch
        self.device = device
        self.precision = precision_of(device, amp)

    def predict(self, image: ImageLike, tta: int = 1, force: bool = False) -> Prediction:
        """Predict from one panorama, at the training size of the network (`settings.height` x `width`).

        Args:
            image: a file, a Pillow image, or an array (H, W, 3), RGB; also gray (H, W) or (H, W, 1), or with alpha
                (H, W, 4), which is dropped. Arrays are uint8, uint16, or floats in [0, 1].
            tta: number of views to average, see `prediction.tta`; 1: the plain network.
            force: stretch an image that is not 2:1 instead of rejecting it.

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

    def predict_batch(self, images: list[np.ndarray], tta: int = 1) -> list[Prediction]:
        """Predict from several resized panoramas (H, W, 3) uint8 at once; `tta` as in `predict`."""
        if tta < 1:
            raise ValueError(f"tta must be 1 or more, got {tta}")
        plain, averaged = self._run(np.stack(images), tta)
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
    ) -> Prediction:
        """The prediction of one image, from maps (., H, W) per task: of the plain network and averaged over views."""
        displays = {task: TASKS[task].display for task in self.settings.tasks}
        maps = {display.map_name: display.as_map(averaged[task]) for task, display in displays.items()}
        return Prediction(
            rgb=rgb,
            settings=self.settings,
            tta=tta,
            seam=_seam_scores(averaged),
            plain_seam=_seam_scores(plain),
            **maps,
        )

    @torch.no_grad()
    def _run(self, rgb: np.ndarray, tta: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """Predictions (B, ., H, W) per task for (B, H, W, 3), of the plain network and averaged over `tta` views."""
        batch = torch.from_numpy(rgb).to(self.device).permute(0, 3, 1, 2).float() / 255
        return ViewAverage(self._predictor, tta, self.settings.normal_frame).with_plain(batch)


def _seam_scores(predictions: dict[str, torch.Tensor]) -> dict[str, float]:
    return {task: seam_score(prediction, TASKS[task].column_difference) for task, prediction in predictions.items()}
