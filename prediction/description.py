"""The .json file that describes the results of an image: their meaning and origin."""

import json
import os
from pathlib import Path
from typing import NamedTuple

from prediction.file_predictor import FilePredictor
from prediction.input_image import TONE_MAPPING, InputImage
from prediction.naming import Job
from prediction.point_cloud import PLY_AXES
from prediction.result import Prediction
from utils.provenance import provenance
from visual.displays import DisplaySettings

_AXES = "camera frame: x right, y down, z forward ({forward}); in .glb files: x right, y up, z backward"


class Description(NamedTuple):
    """The part of a .json file that decides whether results can be reused.

    Attributes:
        origin: model, precision, options and meaning of the values, as plain data; None if the file is from another
            program or an earlier version.
        path: absolute path of the image.
        sha256: of the image.
        image: all entries about the image.
        tone_mapping: method, for images of radiance; None for others.
        names: of the result files.
    """

    origin: dict | None
    path: str = ""
    sha256: str = ""
    image: dict = {}  # noqa: RUF012 - never changed
    tone_mapping: str | None = None
    names: frozenset[str] = frozenset()


class Describer:
    """Writes and reads the descriptions of predictions.

    Attributes:
        meaning: entries that do not depend on the image: axes, units, classes, options, precision and model.
        origin: the part of `meaning` that must be the same for results to be reused.

    Args:
        predictor: of the described predictions.
        up: see `PointCloud.save_ply`.
    """

    def __init__(self, predictor: FilePredictor, up: str = "-y"):
        self._predictor = predictor
        model = predictor.model
        settings = model.settings
        in_ply = "" if up == "-y" else f"; in .ply files: {PLY_AXES[up][1]}"
        self.meaning = {
            "axes": _AXES.format(forward=predictor.forward) + in_ply,
            **{
                display.map_name: display.meaning(DisplaySettings.of(settings))
                for display in predictor.displays.values()
            },
            **predictor.describe_options(),
            "precision": model.precision,
            "model": {
                **{name: value for name, value in settings.as_dict().items() if not name.startswith("class_")},
                "checkpoint": str(model.path),
                "sha256": model.sha256,
                "epoch": model.epoch,
            },
        }
        self.origin = self._origin(json.loads(json.dumps(self.meaning)))
        self._provenance = provenance()

    def describe(self, job: Job, image: InputImage, prediction: Prediction, names: frozenset[str]) -> dict:
        """The content of the .json file, given the names of the result files."""
        width, height = image.size
        return {
            "input": {
                "path": os.path.abspath(job.image),
                "bytes": job.image.stat().st_size,
                "sha256": image.sha256,
                "width": width,
                "height": height,
                **({} if job.frame is None else {"frame": job.frame}),
                **self._predictor.describe_image(image),
                "tone_mapping": TONE_MAPPING if image.tone_mapped else None,
            },
            **self.meaning,
            **self._predictor.describe_prediction(prediction),
            "files": sorted(names),
            **self._provenance,
        }

    def read(self, path: Path) -> Description | None:
        """Read a .json file; None if it does not exist.

        Raises:
            OSError: when it cannot be read.
        """
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        try:
            content = json.loads(text)
            image = content["input"]
            return Description(
                self._origin(content),
                image["path"],
                image["sha256"],
                image,
                image["tone_mapping"],
                frozenset(content["files"]),
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            return Description(origin=None)

    def _origin(self, content: dict) -> dict:
        origin = {key: content[key] for key in self.meaning}
        model = {key: value for key, value in origin["model"].items() if key != "checkpoint"}  # which may be moved
        return {**origin, "model": model}
