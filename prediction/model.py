"""A trained network that takes images of any common format."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from datasets.panorama import resize_rgb
from metrics.seam import seam_score
from networks.checkpoint import Checkpoint, find_checkpoint, load_checkpoint
from prediction.input_image import as_rgb, require_panorama
from prediction.result import Prediction
from prediction.tta import ViewAverage
from tasks import TASKS


def load_elite360m(path: str | Path, device: torch.device | str | None = None) -> "PanoramaModel":
    """A trained network, ready to predict.

    Args:
        path: a checkpoint file, a run folder, or a folder that holds one run; ours, or weights of the released program.
        device: where to compute; the first GPU if there is one, else the CPU, when not given.

    Raises:
        UserError: when there is no checkpoint, or it cannot be used.
    """
    checkpoint = load_checkpoint(find_checkpoint(path))
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return PanoramaModel(checkpoint, device)


class PanoramaModel:
    """A trained network: `load_elite360m` makes one.

    Attributes:
        settings: what the network is, and what its predictions mean.
        path: of its checkpoint.
        sha256: of that file, when it was read.
        epoch: how many epochs it was trained; 0 when unknown.
        device: where it computes.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device):
        self._network = checkpoint.build_network().to(device).eval()
        self.settings = checkpoint.settings
        self.path = checkpoint.path
        self.sha256 = checkpoint.sha256
        self.epoch = checkpoint.epoch
        self.device = device

    def predict(self, image: np.ndarray | Image.Image | str | Path, tta: int = 1, force: bool = False) -> Prediction:
        """Predict from one panorama, at the size that the network was trained on (`settings.height` x `width`).

        Args:
            image: a file, a Pillow image, or an array (H, W, 3), RGB; gray (H, W) or (H, W, 1) and alpha (H, W, 4) will
                do as well, the alpha being dropped. Arrays are uint8, uint16, or floats in [0, 1].
            tta: how many views to average, see `prediction.tta`; 1 is the plain network.
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
