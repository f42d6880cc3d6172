"""Prediction of perspective images in files."""

from collections import Counter
from pathlib import Path

from prediction.cameras import CameraFlags
from prediction.file_predictor import FilePredictor
from prediction.input_image import InputImage, read_image
from prediction.perspective import PerspectiveModel
from prediction.result import PerspectivePrediction
from tasks.perspective import perspective_displays
from utils.errors import UserError
from utils.tasks import DETECTION
from visual.boxes import SHOWN_SCORE


class PerspectiveFilePredictor(FilePredictor):
    """Predicts files of perspective images.

    Args:
        model: the network.
        cameras: options on the cameras.
        min_score: minimum score of detections; None: SHOWN_SCORE.

    Raises:
        UserError: when there is a `min_score`, but the network does not detect objects.
    """

    model: PerspectiveModel
    flags = "--fov, --intrinsics or --min_score"
    forward = "the optical axis"

    def __init__(self, model: PerspectiveModel, cameras: CameraFlags, min_score: float | None = None):
        if min_score is not None and DETECTION not in model.settings.tasks:
            raise UserError(f"--min_score is for boxes, but {model.path} does not detect objects: drop it")
        self.model = model
        self._min_score = SHOWN_SCORE if min_score is None else min_score
        self.displays = perspective_displays(model.settings, self._min_score)
        self._cameras = cameras

    def read(self, path: Path) -> InputImage:
        image = read_image(path)
        camera = self._cameras.camera(image.rgb.shape[:2], image.focal_length, self.model.settings, path)
        return image._replace(camera=camera)

    def predict(self, images: list[InputImage]) -> list[PerspectivePrediction]:
        cameras = [image.camera for image in images]
        return self.model.predict_batch([image.rgb for image in images], cameras, self._min_score)

    def describe_options(self) -> dict:
        return {"camera_asked_for": str(self._cameras)}

    def describe_prediction(self, prediction: PerspectivePrediction) -> dict:
        boxes = {} if prediction.boxes is None else {"num_boxes": len(prediction.boxes)}
        return {"camera": prediction.camera.as_dict(), **boxes}

    def summary(self, descriptions: list[dict]) -> list[str]:
        """The number of boxes, the sources of the cameras, and a warning about images that look like panoramas."""
        lines = []
        if numbers := [one["num_boxes"] for one in descriptions if "num_boxes" in one]:
            in_images = f"in {sum(map(bool, numbers))} of {len(numbers)} images"
            lines.append(f"boxes: {sum(numbers)} {in_images}, with scores of {self._min_score:g} or more (--min_score)")
        sources = Counter(one["camera"]["source"] for one in descriptions)
        if sources and "depth" in self.model.settings.tasks:  # else there are no points
            lines.append(f"cameras: {', '.join(f'{source} ({number})' for source, number in sources.items())}")
        wide = [one["input"]["path"] for one in descriptions if one["input"]["width"] == 2 * one["input"]["height"]]
        if wide:
            lines.append(
                f"warning: {len(wide)} twice as wide as high, such as {wide[0]}: predict_elite360m.py is for panoramas"
            )
        return lines
