"""Prediction of panoramas in files."""

from pathlib import Path

from prediction.file_predictor import FilePredictor
from prediction.input_image import InputImage, is_panorama, read_image, require_panorama
from prediction.model import PanoramaModel
from prediction.result import PanoramaPrediction
from tasks import DISPLAYS
from utils.text import metrics_line


class PanoramaFilePredictor(FilePredictor):
    """Predicts files of panoramas.

    Args:
        model: the network.
        tta: number of averaged views.
        force: whether images that are not 2:1 are stretched.
    """

    model: PanoramaModel
    flags = "--tta"
    forward = "the centre of the picture"

    def __init__(self, model: PanoramaModel, tta: int = 1, force: bool = False):
        self.model = model
        self.displays = {task: DISPLAYS[task] for task in model.settings.tasks}
        self._tta = tta
        self._force = force

    def read(self, path: Path) -> InputImage:
        image = read_image(path)
        if not self._force:
            require_panorama(image.rgb, path, "--force")
        return image._replace(rgb=self.model.resize(image.rgb))

    def predict(self, images: list[InputImage]) -> list[PanoramaPrediction]:
        return self.model.predict_batch([image.rgb for image in images], self._tta)

    def describe_options(self) -> dict:
        return {"width": self.model.settings.width, "height": self.model.settings.height, "tta": self._tta}

    def describe_image(self, image: InputImage) -> dict:
        width, height = image.size
        return {"stretched": width != 2 * height}

    def describe_prediction(self, prediction: PanoramaPrediction) -> dict:
        plain = {"seam_without_tta": prediction.plain_seam} if prediction.tta > 1 else {}
        return {"seam": prediction.seam, **plain}

    def accepts(self, image: dict) -> bool:
        return self._force or is_panorama(image.get("width", 1), image.get("height", 1))

    def summary(self, descriptions: list[dict]) -> list[str]:
        """Images that were taken for panoramas though they are not exactly 2:1, and the mean seam scores."""
        inputs = [one["input"] for one in descriptions]
        resized = [one for one in inputs if one["stretched"] and is_panorama(one["width"], one["height"])]
        lines = []
        if resized:
            example = f"{resized[0]['path']} is {resized[0]['width']}x{resized[0]['height']}"
            lines.append(f"note: {len(resized)} a pixel or two off 2:1 and resized, such as {example}")
        names = {"seam": "seam score", "seam_without_tta": "seam score without --tta"}
        found = {words: [one[name] for one in descriptions if name in one] for name, words in names.items()}
        return [*lines, *(f"{words}: {_mean_scores(scores)}" for words, scores in found.items() if scores)]


def _mean_scores(scores: list[dict[str, float]]) -> str:
    """Means over images of a score per task, as text."""
    means = {task: sum(score[task] for score in scores) / len(scores) for task in scores[0]}
    return metrics_line(means)
