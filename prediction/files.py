"""The files that keep a prediction."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from prediction.inputs import Job
from prediction.model import PanoramaModel
from prediction.pictures import TONE_MAPPING, Picture
from prediction.result import Prediction
from tasks import TASKS
from tasks.display import Encoding
from utils.checkpoint import ModelSettings
from utils.errors import UserError
from utils.files import atomic_path
from utils.run_folder import provenance, write_json
from utils.visualize import save_picture

_DESCRIPTION = ".json"
_AXES = "camera frame: x right, y down, z forward (the centre of the picture); in .glb files: x right, y up, z backward"

Writer = Callable[[Prediction, Path], None]


class ResultFiles:
    """Writes the predictions of a model, and knows which are there already.

    Args:
        model: whose predictions.
        kinds: values of --save; when None, all but glb that the model can give.
        tta: how many views are averaged.
        overwrite: whether to write again what is there.

    Raises:
        UserError: when the model cannot give a kind.
    """

    def __init__(self, model: PanoramaModel, kinds: list[str] | None, tta: int, overwrite: bool):
        settings = model.settings
        possible = _writers(settings)
        if impossible := [kind for kind in kinds or () if kind not in possible]:
            raise UserError(f"--save {impossible[0]}: {model.path} predicts {', '.join(settings.tasks)} alone")
        chosen = kinds or [kind for kind in possible if kind != "glb"]
        self._writers = {ending: writer for kind in chosen for ending, writer in possible[kind].items()}
        self._tta = tta
        self._overwrite = overwrite
        look = settings.look
        displays = [TASKS[task].display for task in settings.tasks]
        self._meanings = {display.map_name: display.meaning(look) for display in displays}
        self._model = {
            **{name: value for name, value in settings.as_dict().items() if not name.startswith("class_")},
            "checkpoint": str(model.path),
            "sha256": model.sha256,
            "epoch": model.epoch,
        }
        self._provenance = provenance()

    def are_there(self, job: Job) -> bool:
        """Whether all files of a picture are there and are not to be written again.

        Raises:
            UserError: when they are of another checkpoint, number of views or picture.
        """
        if self._overwrite or not job.result(_DESCRIPTION).exists():
            return False
        try:
            told = json.loads(job.result(_DESCRIPTION).read_text(encoding="utf-8"))
            origin = told["model"]["sha256"], told["tta"], told["input"]["bytes"]
        except (ValueError, KeyError, TypeError):  # another program's
            origin = None
        if origin != (self._model["sha256"], self._tta, job.picture.stat().st_size):
            raise UserError(
                f"{job.result(_DESCRIPTION)} is of another checkpoint, --tta or picture: "
                "say --overwrite, or choose another --out"
            )
        return all(job.result(ending).exists() for ending in self._writers)

    def write(self, job: Job, picture: Picture, prediction: Prediction) -> None:
        """Write the files of a prediction; the one that describes them comes last."""
        for ending, write in self._writers.items():
            write(prediction, job.result(ending))
        write_json(job.result(_DESCRIPTION), self._description(job, picture, prediction))

    def _description(self, job: Job, picture: Picture, prediction: Prediction) -> dict:
        height, width = picture.rgb.shape[:2]
        return {
            "input": {
                "path": str(job.picture),
                "bytes": job.picture.stat().st_size,
                "width": width,
                "height": height,
                "stretched": width != 2 * height,
                "tone_mapping": TONE_MAPPING if picture.tone_mapped else None,
            },
            "width": prediction.rgb.shape[1],
            "height": prediction.rgb.shape[0],
            "axes": _AXES,
            **self._meanings,
            "seam": prediction.seam,
            **({"seam_without_tta": prediction.plain_seam} if self._tta > 1 else {}),
            "tta": self._tta,
            "files": sorted(job.result(ending).name for ending in self._writers),
            "model": self._model,
            **self._provenance,
        }


def _writers(settings: ModelSettings) -> dict[str, dict[str, Writer]]:
    """For every value of --save that a network can give: endings of files' names, and what writes these files."""
    writers: dict[str, dict[str, Writer]] = {}
    for task in settings.tasks:
        display = TASKS[task].display
        writers[display.map_name] = {
            f"_{ending}": partial(_write_map, task, encode) for ending, encode in display.files.items()
        }
    writers["panel"] = {"_panel.png": lambda prediction, path: save_picture(path, prediction.panel())}
    if "depth" in settings.tasks:
        writers["ply"] = {"_points.ply": lambda prediction, path: prediction.point_cloud().save_ply(path)}
        writers["glb"] = {"_points.glb": lambda prediction, path: prediction.point_cloud().save_glb(path)}
    return writers


def _write_map(task: str, encode: Encoding, prediction: Prediction, path: Path) -> None:
    """Write the map of a task, encoded, as .npy or as a picture, as the suffix says, atomically."""
    values = encode(prediction.maps()[task], prediction.settings.look)
    if path.suffix != ".npy":
        save_picture(path, values)
        return
    with atomic_path(path) as temporary:
        np.save(temporary, values)
