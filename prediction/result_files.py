"""The files that keep a prediction."""

import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from prediction.description import Describer, Description
from prediction.input_image import TONE_MAPPING, InputImage
from prediction.model import PanoramaModel
from prediction.naming import Job
from prediction.result import Prediction
from tasks import TASKS
from utils.errors import UserError
from utils.files import atomic_path, write_json
from utils.provenance import sha256
from visual.displays import DisplaySettings, Encoding
from visual.drawing import save_image

_DESCRIPTION = ".json"

Writer = Callable[[Prediction, Path], None]


class ResultFiles:
    """Writes the predictions of a model, and knows which are there already.

    The files of an image are one set: the .json that names them is written last, and no file that it does not name is
    trusted.

    Args:
        model: whose predictions.
        kinds: values of --save; when None, all but glb that the model can give.
        tta: how many views are averaged.
        force: whether images of another shape are stretched.
        overwrite: whether to write again what is there.

    Raises:
        UserError: when the model cannot give a kind, or a package that a kind needs is missing.
    """

    def __init__(self, model: PanoramaModel, kinds: list[str] | None, tta: int, force: bool, overwrite: bool):
        possible = _writers(model.settings.tasks)
        if impossible := [kind for kind in kinds or () if kind not in possible]:
            raise UserError(f"--save {impossible[0]}: {model.path} predicts only {', '.join(model.settings.tasks)}")
        chosen = kinds or [kind for kind in possible if kind != "glb"]
        if "glb" in chosen and find_spec("trimesh") is None:
            raise UserError("--save glb needs trimesh: pip install trimesh")
        self._writers = {ending: writer for kind in chosen for ending, writer in possible[kind].items()}
        self._force = force
        self._overwrite = overwrite
        self._describer = Describer(model, tta)

    def check(self, jobs: list[Job]) -> None:
        """Make sure that no results of something else have the names of these images' results.

        Raises:
            UserError: when some are of another checkpoint, number of views or version of the program.
        """
        for job in jobs if not self._overwrite else ():
            with suppress(OSError):  # concerns this image alone, and is reported with it
                self._require_same_origin(job, self._describer.read(job.result(_DESCRIPTION)))

    def are_there(self, job: Job) -> bool:
        """Whether all files of an image, as it is now, are there and are not to be written again.

        Raises:
            UserError: when they are of another checkpoint, number of views, version, or of an image elsewhere.
            OSError: when a file cannot be read.
        """
        if self._overwrite or (there := self._describer.read(job.result(_DESCRIPTION))) is None:
            return False
        self._require_same_origin(job, there)
        if there.sha256 != sha256(job.image):
            if there.path == os.path.abspath(job.image):  # changed since
                return False
            raise UserError(
                f"{job.result(_DESCRIPTION)} is of another image than {job.image}: "
                "pass --overwrite, or choose another --out"
            )
        if (there.stretched and not self._force) or there.tone_mapping not in (None, TONE_MAPPING):
            return False
        return all(path.name in there.names and path.is_file() for path in map(job.result, self._writers))

    def require_names(self, job: Job) -> None:
        """Make sure that the results of an image can have their names.

        Raises:
            UserError: when one is too long or that of a folder.
            OSError: when the folder of the results cannot be used.
        """
        for path in map(job.result, (*self._writers, _DESCRIPTION)):
            try:
                is_folder = stat.S_ISDIR(path.stat().st_mode)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                raise UserError(f"{job.image}: the names of its results are too long: shorten its own") from error
            if is_folder:
                raise UserError(f"{path} is a folder, but a result of {job.image} has this name")

    def write(self, job: Job, image: InputImage, prediction: Prediction) -> None:
        """Write the files of a prediction; earlier ones stay until all of it is complete.

        Files of the same image that are not asked for now stay as well; those of another image or checkpoint go.

        Raises:
            UserError: when they cannot be written.
        """
        folder = job.stem.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".elite360m-") as temporary:
                # Short names: those of the results may be as long as names can be.
                complete = {ending: Path(temporary, f"result{ending}") for ending in (*self._writers, _DESCRIPTION)}
                for ending, write in self._writers.items():
                    write(prediction, complete[ending])
                stale, kept = self._other_files(job, image)
                names = frozenset(path.name for path in (*map(job.result, self._writers), *kept))
                write_json(complete[_DESCRIPTION], self._describer.describe(job, image, prediction, names))
                for path in (job.result(_DESCRIPTION), *stale):  # first, as what follows may be interrupted
                    path.unlink(missing_ok=True)
                for ending, path in complete.items():
                    os.replace(path, job.result(ending))
        except (OSError, UserError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            reason = getattr(cause, "strerror", None) or error
            raise UserError(f"the results of {job.image} cannot be written to {folder}: {reason}") from cause

    def _other_files(self, job: Job, image: InputImage) -> tuple[list[Path], list[Path]]:
        """Files of an earlier prediction that are not asked for now: those of something else, those of the same."""
        there = self._describer.read(job.result(_DESCRIPTION)) or Description(origin=None)
        files = [job.result(ending) for ending in ENDINGS if ending not in (*self._writers, _DESCRIPTION)]
        files = [path for path in files if path.name in there.names and path.is_file()]
        is_same = (there.origin, there.sha256) == (self._describer.origin, image.sha256)
        return ([], files) if is_same else (files, [])

    def _require_same_origin(self, job: Job, there: Description | None) -> None:
        if there and there.origin != self._describer.origin:
            raise UserError(
                f"{job.result(_DESCRIPTION)} is of another checkpoint, --tta or version of this program: "
                "pass --overwrite, or choose another --out"
            )


def _writers(tasks: Iterable[str]) -> dict[str, dict[str, Writer]]:
    """For every value of --save that a network of these tasks can give: endings of files, and what writes them."""
    writers: dict[str, dict[str, Writer]] = {}
    for task in tasks:
        display = TASKS[task].display
        writers[display.map_name] = {
            f"_{ending}": partial(_write_map, task, encode) for ending, encode in display.files.items()
        }
    writers["panel"] = {"_panel.png": lambda prediction, path: save_image(path, prediction.panel())}
    if "depth" in writers:
        writers["ply"] = {"_points.ply": lambda prediction, path: prediction.point_cloud().save_ply(path)}
        writers["glb"] = {"_points.glb": lambda prediction, path: prediction.point_cloud().save_glb(path)}
    return writers


def _write_map(task: str, encode: Encoding, prediction: Prediction, path: Path) -> None:
    """Write the map of a task, encoded, as .npy or as an image, as the suffix says, atomically."""
    values = encode(prediction.maps()[task], DisplaySettings.of(prediction.settings))
    if path.suffix != ".npy":
        save_image(path, values)
        return
    # By way of memory: NumPy's errors do not say why a file cannot be written.
    content = io.BytesIO()
    np.save(content, values)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


ENDINGS = (_DESCRIPTION, *(ending for endings in _writers(TASKS).values() for ending in endings))  # of all results
