"""Prediction of perspective images with a trained network, from images of any common format."""

from pathlib import Path

import numpy as np
import torch

from datasets.perspective import fit_colors
from networks.achievement_checkpoint import AchievementCheckpoint, load_achievement_checkpoint
from networks.saved_network import find_checkpoint
from prediction.cameras import Camera, CameraFlags
from prediction.input_image import as_rgb, read_image
from prediction.result import PerspectivePrediction
from prediction.trained_model import ImageLike, TrainedModel
from tasks.perspective import perspective_displays
from utils.padding import padded_size
from utils.pinhole import Pinhole
from visual.boxes import SHOWN_SCORE
from visual.displays import Display


class PerspectiveModel(TrainedModel):
    """A trained network for perspective images, see `load_achievement` and `TrainedModel`."""

    @staticmethod
    def _open(path: str | Path) -> AchievementCheckpoint:
        return load_achievement_checkpoint(find_checkpoint(path))

    def predict(
        self, image: ImageLike, camera: Pinhole | None = None, min_score: float = SHOWN_SCORE
    ) -> PerspectivePrediction:
        """Predict one image, at its own size.

        Args:
            image: as for `PanoramaModel.predict`, but with any aspect ratio.
            camera: of the image; None: by the focal length in the EXIF of a file if there is one, else NYU v2's.
            min_score: minimum score of detections.

        Raises:
            UserError: when a file cannot be read.
            ValueError: when an array has another shape, type or range, or the camera is for another image size.
        """
        file = read_image(image) if isinstance(image, str | Path) else None
        rgb = file.rgb if file else as_rgb(image)
        if camera and (camera.height, camera.width) != rgb.shape[:2]:
            size = f"{rgb.shape[1]}x{rgb.shape[0]}"
            raise ValueError(f"the image is {size}, but the camera is for {camera.width}x{camera.height}")
        if camera:
            used = Camera(camera, "given")
        else:
            used = CameraFlags().camera(rgb.shape[:2], file.focal_length if file else None, self.settings)
        [prediction] = self.predict_batch([rgb], [used], min_score)
        return prediction

    def predict_batch(
        self, images: list[np.ndarray], cameras: list[Camera], min_score: float = SHOWN_SCORE
    ) -> list[PerspectivePrediction]:
        """Predict several images (any, any, 3) uint8, given their cameras, in one forward pass; see `predict`."""
        displays = perspective_displays(self.settings, min_score)
        predictions = self._run([fit_colors(rgb, self.settings.height, self.settings.width) for rgb in images])
        return [
            self._prediction(rgb, camera, displays, {task: maps[number] for task, maps in predictions.items()})
            for number, (rgb, camera) in enumerate(zip(images, cameras, strict=True))
        ]

    def _prediction(
        self, rgb: np.ndarray, camera: Camera, displays: dict[str, Display], predictions: dict[str, torch.Tensor]
    ) -> PerspectivePrediction:
        """The prediction of one image, from the network's predictions for the padded and resized one."""
        size = rgb.shape[:2]
        padded = padded_size(size, self.settings.height, self.settings.width)
        maps = {
            display.map_name: display.as_map_at(predictions[task], size, padded) for task, display in displays.items()
        }
        return PerspectivePrediction(rgb=rgb, settings=self.settings, camera=camera, **maps)

    @torch.no_grad()
    def _run(self, images: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """Predictions, such as (B, ., h, w), per task for B images at the size of the network."""
        return self._predictor(self._as_batch(images))


load_achievement = PerspectiveModel.load
