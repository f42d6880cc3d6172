"""Prediction of panoramas with a trained network, from images of any common format."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from datasets.panorama import resize_rgb
from metrics.seam import seam_score
from networks.backbones import DEFAULT
from networks.checkpoint import open_checkpoint
from prediction.fisheye import refuse_fisheyes
from prediction.gpano import parse_gpano
from prediction.guided_size import at_panorama_size
from prediction.input_image import as_rgb, read_image
from prediction.panorama_input import Height, PanoramaInput, panorama_input
from prediction.result import PanoramaPrediction
from prediction.sphere_flags import SphereFlags
from prediction.sphere_placement import Placement
from prediction.trained_model import ImageLike, TrainedModel
from prediction.tta import ViewAverage
from tasks import TASKS

_REMEDY = "force=True stretches it, placement says which part of the sphere it shows"


class PanoramaModel(TrainedModel):
    """A trained network for panoramas, see `load_elite360m` and `TrainedModel`."""

    _open = staticmethod(open_checkpoint)

    def predict(
        self,
        image: ImageLike | Sequence[ImageLike],
        tta: int = 1,
        force: bool = False,
        height: Height = None,
        placement: Placement | None = None,
        mask: np.ndarray | None = None,
    ) -> PanoramaPrediction | list[PanoramaPrediction]:
        """Predict one panorama, or several in one forward pass.

        Args:
            image: a file, a Pillow image, an array (H, W, 3) or a tensor (3, H, W), RGB; also gray (H, W) or (H, W, 1),
                or with alpha (H, W, 4), which is dropped. Values are uint8, uint16, or floats in [0, 1]. Several
                panoramas are a list of any of these, an array (B, H, W, 3) or a tensor (B, 3, H, W).
            tta: number of views to average, see `prediction.tta`; 1: the plain network.
            force: stretch images that are not 2:1 (by more than two pixels of width) and accept dual fisheyes, instead
                of rejecting them.
            height: of the maps, which are twice as wide, see `prediction.guided_size`; "own": that of the image; None:
                the training size of the network, `settings.height`.
            placement: the part of the sphere that the image shows; None: from the GPano metadata of a file, else all.
            mask: (H, W) bool, the valid pixels of the image; None: all.

        Returns:
            The prediction of one panorama, or a list for several.

        Raises:
            UserError: when a file cannot be read, or the image is not twice as wide as high or shows two fisheyes.
            ValueError: when an array has another shape, type or range, or `tta` is less than 1.
        """
        several = isinstance(image, list | tuple) or getattr(image, "ndim", 0) == 4
        images = list(image) if several else [image]
        panoramas = [self._panorama(one, force, height, placement, mask) for one in images]
        predictions = self.predict_batch(panoramas, tta) if panoramas else []
        return predictions if several else predictions[0]

    def _panorama(
        self, image: ImageLike, force: bool, height: Height, placement: Placement | None, mask: np.ndarray | None
    ) -> PanoramaInput:
        """Prepare one image, see `predict`."""
        file = read_image(image) if isinstance(image, str | Path) else None
        rgb = file.rgb if file else as_rgb(image)
        if mask is not None and mask.shape != rgb.shape[:2]:
            raise ValueError(f"the mask is {mask.shape}, the image {rgb.shape[:2]}")
        if placement is None:
            name = image if file else "the image"
            if not force:
                refuse_fisheyes(rgb, name, "force=True")
            gpano = parse_gpano(file.xmp) if file else None
            placement = SphereFlags(force=force, remedy=_REMEDY).placement(rgb.shape[:2], gpano, name)
        return panorama_input(rgb, placement, height, self.settings.height, mask)

    def predict_batch(self, images: list[np.ndarray | PanoramaInput], tta: int = 1) -> list[PanoramaPrediction]:
        """Predict several panoramas (H, 2H, 3) uint8 in one forward pass; the maps of each have its size."""
        if tta < 1:
            raise ValueError(f"tta must be 1 or more, got {tta}")
        panoramas = [image if isinstance(image, PanoramaInput) else PanoramaInput(image) for image in images]
        resized = [resize_rgb(panorama.rgb, self.settings.height, self.settings.width) for panorama in panoramas]
        plain, averaged = self._run(resized, tta)
        return [
            self._prediction(
                panorama,
                resized[number],
                tta,
                {task: maps[number] for task, maps in plain.items()},
                {task: maps[number] for task, maps in averaged.items()},
            )
            for number, panorama in enumerate(panoramas)
        ]

    def _prediction(
        self,
        panorama: PanoramaInput,
        resized: np.ndarray,
        tta: int,
        plain: dict[str, torch.Tensor],
        averaged: dict[str, torch.Tensor],
    ) -> PanoramaPrediction:
        """The prediction of one image from maps (., h, w) per task, of the plain network and averaged over views."""
        maps = at_panorama_size(averaged, resized, panorama.rgb)
        if panorama.seen is not None:
            maps = {task: _mask_unseen(task, values, panorama.seen) for task, values in maps.items()}
        return PanoramaPrediction(
            rgb=panorama.rgb,
            valid=panorama.valid,
            placement=panorama.placement,
            is_resampled=panorama.placement is not None or panorama.from_cube,
            settings=self.settings,
            tta=tta,
            seam=_seam_scores(averaged),
            plain_seam=_seam_scores(plain),
            **{TASKS[task].display.map_name: values for task, values in maps.items()},
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


def _mask_unseen(task: str, values: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A copy of a map (H, W, ...) that marks pixels outside the image as missing."""
    values = values.copy()
    values[~seen] = TASKS[task].display.missing
    return values
