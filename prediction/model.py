"""Prediction with a trained network, from images of any common format."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datasets.panorama import resize_rgb
from metrics.seam import seam_score
from networks.checkpoint import Checkpoint, load_checkpoint
from networks.saved_network import find_checkpoint
from prediction.input_image import as_rgb, require_panorama
from prediction.result import Prediction
from prediction.tta import ViewAverage
from tasks import TASKS


def load_elite360m(path: str | Path, device: torch.device | str | None = None) -> "PanoramaModel":
    """Load a trained network for prediction.

    Args:
        path: a checkpoint file, a run folder, a folder with one run, or weights of the released program.
        device: None: the first GPU if there is one, else the CPU.

    Raises:
        UserError: when there is no checkpoint, or it cannot be used.
    """
    checkpoint = load_checkpoint(find_checkpoint(path))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return PanoramaModel(checkpoint, device)


class PanoramaModel:
    """A trained network, see `load_elite360m`.

    Attributes:
        settings: of the network: architecture and meaning of its predictions.
        path: of its checkpoint.
        sha256: of the checkpoint.
        epoch: number of epochs of training; 0 if unknown.
        device: of the network.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self._network = checkpoint.build_network().to(device).eval()
        self.settings = checkpoint.settings
        self.path = checkpoint.path
        self.sha256 = checkpoint.sha256
        self.epoch = checkpoint.epoch
        self.device = device

    def predict(self, image: np.ndarray | Image.Image | str | Path, tta: int = 1, force: bool = False) -> Prediction:
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
        if tta < 1:
            raise ValueError(f"tta must be 1 or more, got {tta}")
        rgb = as_rgb(image)
        if not force:
            require_panorama(rgb, image if isinstance(image, str | Path) else "the image", "force=True")
        rgb = resize_rgb(rgb, self.settings.height, self.settings.width)
        plain, averaged = self._run(rgb, tta)
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
        """Predictions (., H, W) per task, of the plain network and averaged over `tta` views."""
        batch = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1)[None].float() / 255
        plain, averaged = ViewAverage(self._network, tta, self.settings.normal_frame).with_plain(batch)
        return tuple({task: maps[0] for task, maps in predictions.items()} for predictions in (plain, averaged))


def _seam_scores(predictions: dict[str, torch.Tensor]) -> dict[str, float]:
    return {task: seam_score(prediction, TASKS[task].column_difference) for task, prediction in predictions.items()}
