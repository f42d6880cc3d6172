"""The result files of a prediction."""

import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from prediction.description import Describer, Description
from prediction.file_predictor import FilePredictor
from prediction.input_image import TONE_MAPPING, InputImage, read_image
from prediction.naming import Job
from prediction.result import Prediction
from tasks import DISPLAYS
from utils.errors import UserError
from utils.files import atomic_path, write_json
from utils.provenance import sha256, sha256_once
from utils.tasks import DETECTION
from visual.boxes import DetectionDisplay
from visual.displays import Display, DisplaySettings, Encoding
from visual.drawing import save_image

_DESCRIPTION = ".json"

Texture = Callable[[], np.ndarray]  # the image of a prediction, (any, any, 3) uint8, at its full size
Writer = Callable[[Prediction, Texture, Path], None]
_GLB = ("glb", "mesh")  # kinds that need trimesh and are written only on request


class ResultFiles:
    """Writes the result files of predictions, and finds existing ones.

    The files of an image are one set: the .json file that lists them is written last, and files that it does not list
    are not trusted.

    Args:
        predictor: of the program.
        kinds: values of --save; None: all that the model can produce, except glb and mesh.
        overwrite: whether to replace existing results.
        up: axis that points up in .ply files, see `PointCloud.save_ply`.

    Raises:
        UserError: when the model cannot produce a kind, or a package is missing.
    """

    def __init__(self, predictor: FilePredictor, kinds: list[str] | None, overwrite: bool, up: str = "-y"):
        model = predictor.model
        possible = writers_of(predictor.displays, up)
        if impossible := [kind for kind in kinds or () if kind not in possible]:
            raise UserError(f"--save {impossible[0]}: {model.path} predicts only {', '.join(model.settings.tasks)}")
        chosen = kinds or [kind for kind in possible if kind not in _GLB]
        if up != "-y" and "ply" not in chosen:
            raise UserError("--up turns .ply files, but none are written: add ply to --save, or drop --up")
        if (needed := [kind for kind in chosen if kind in _GLB]) and find_spec("trimesh") is None:
            raise UserError(f"--save {needed[0]} needs trimesh: pip install trimesh")
        self._writers = {ending: writer for kind in chosen for ending, writer in possible[kind].items()}
        self._predictor = predictor
        self._overwrite = overwrite
        self._describer = Describer(predictor, up)

    def check(self, jobs: list[Job]) -> None:
        """Make sure that existing results of these images are from the same model and settings.

        Raises:
            UserError: when some are from another checkpoint, options, precision or version of the program.
        """
        for job in jobs if not self._overwrite else ():
            with suppress(OSError):  # concerns only this image and is reported with it
                self._require_same_origin(job, self._describer.read(job.result(_DESCRIPTION)))

    def are_current(self, job: Job) -> bool:
        """Whether all results of the current version of an image exist and need not be written.

        Raises:
            UserError: when they are from another checkpoint, options, precision, version or image.
            OSError: when a file cannot be read.
        """
        if self._overwrite or (existing := self._describer.read(job.result(_DESCRIPTION))) is None:
            return False
        self._require_same_origin(job, existing)
        if existing.sha256 != (sha256(job.image) if job.frame is None else sha256_once(job.image)):
            if existing.path == os.path.abspath(job.image):  # the image has changed
                return False
            raise UserError(
                f"{job.result(_DESCRIPTION)} belongs to another image than {job.image}: "
                "pass --overwrite, or choose another --out"
            )
        if not self._predictor.accepts(existing.image) or existing.tone_mapping not in (None, TONE_MAPPING):
            return False
        needed = {path.name for path in map(job.result, self._writers)}
        extra = existing.names.intersection(path.name for path in map(job.result, _EXTRA))
        return needed <= existing.names and all(job.stem.with_name(name).is_file() for name in needed | extra)

    def require_names(self, job: Job) -> None:
        """Make sure that the file names of the results of an image can be used.

        Raises:
            UserError: when a name is too long, or a folder has it.
            OSError: when the folder of the results is inaccessible.
        """
        for path in map(job.result, (*self._writers, _DESCRIPTION)):
            try:
                is_folder = stat.S_ISDIR(path.stat().st_mode)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                raise UserError(f"{job.image}: the names of its results would be too long: rename it") from error
            if is_folder:
                raise UserError(f"{path} is a folder, but a result of {job.image} has this name")

    def write(self, job: Job, image: InputImage, prediction: Prediction) -> dict:
        """Write the files of a prediction. Earlier files are replaced when all new ones are complete.

        Other result files are kept if they have the same image and origin, and removed otherwise.

        Returns:
            The content of the .json file.

        Raises:
            UserError: when they cannot be written.
        """
        folder = job.stem.parent
        extra = {ending: write for ending, (is_needed, write) in _EXTRA.items() if is_needed(prediction)}
        writers = {**self._writers, **extra}

        def texture() -> np.ndarray:
            return read_image(job.image).rgb if image.full_rgb is None else image.full_rgb

        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".prediction-") as temporary:
                # Short names, as the names of the results may have the maximum length
                complete = {ending: Path(temporary, f"result{ending}") for ending in (*writers, _DESCRIPTION)}
                for ending, write in writers.items():
                    write(prediction, texture, complete[ending])
                stale, kept = self._other_files(job, image, {*writers, _DESCRIPTION})
                names = frozenset(path.name for path in (*map(job.result, writers), *kept))
                description = self._describer.describe(job, image, prediction, names)
                write_json(complete[_DESCRIPTION], description)
                for path in (job.result(_DESCRIPTION), *stale):  # first, as the next lines may be interrupted
                    path.unlink(missing_ok=True)
                for ending, path in complete.items():
                    os.replace(path, job.result(ending))
            return description
        except (OSError, UserError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            reason = getattr(cause, "strerror", None) or error
            raise UserError(f"the results of {job.image} cannot be written to {folder}: {reason}") from cause

    def _other_files(self, job: Job, image: InputImage, written: set[str]) -> tuple[list[Path], list[Path]]:
        """Files of an earlier prediction whose endings are not written now: stale ones, and ones to keep."""
        existing = self._describer.read(job.result(_DESCRIPTION)) or Description(origin=None)
        files = [job.result(ending) for ending in ENDINGS if ending not in written]
        files = [path for path in files if path.name in existing.names and path.is_file()]
        is_same = (existing.origin, existing.sha256) == (self._describer.origin, image.sha256)
        return ([], files) if is_same else (files, [])

    def _require_same_origin(self, job: Job, existing: Description | None) -> None:
        if existing and existing.origin != self._describer.origin:
            raise UserError(
                f"{job.result(_DESCRIPTION)} was made with another checkpoint, {self._predictor.flags}, precision or "
                "version of this program: pass --overwrite, or choose another --out"
            )


def writers_of(displays: Mapping[str, Display | type[Display]], up: str = "-y") -> dict[str, dict[str, Writer]]:
    """The values of --save that a network with these displays supports, with the ending and the writer of each file."""
    writers: dict[str, dict[str, Writer]] = {}
    for task, display in displays.items():
        writers[display.map_name] = {
            f"_{ending}": partial(_write_map, task, encode) for ending, encode in display.files.items()
        }
    writers["panel"] = {"_panel.png": lambda prediction, _, path: save_image(path, prediction.panel())}
    if "depth" in writers:
        writers["ply"] = {"_points.ply": lambda prediction, _, path: prediction.point_cloud().save_ply(path, up)}
        writers["glb"] = {"_points.glb": lambda prediction, _, path: prediction.point_cloud().save_glb(path)}
        writers["mesh"] = {"_mesh.glb": _write_mesh}
    return writers


def _write_mesh(prediction: Prediction, texture: Texture, path: Path) -> None:
    """Write the mesh, with the image as its texture if the image shows the whole sphere."""
    prediction.mesh(None if prediction.is_resampled else texture()).save_glb(path)


def _write_map(task: str, encode: Encoding, prediction: Prediction, texture: Texture, path: Path) -> None:
    """Write the encoded map of a task as .npy, .json or an image, depending on the suffix, atomically."""
    values = encode(prediction.maps()[task], DisplaySettings.of(prediction.settings), prediction.rgb)
    if path.suffix == ".json":
        write_json(path, values)
        return
    if path.suffix != ".npy":
        save_image(path, values)
        return
    # Via memory: NumPy's errors do not say why a file cannot be written.
    content = io.BytesIO()
    np.save(content, values)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getbuffer())


# Files that are written regardless of --save if the others cannot be used without them: ending -> (condition, writer).
_EXTRA: dict[str, tuple[Callable[[Prediction], bool], Writer]] = {
    "_valid.png": (
        lambda prediction: prediction.valid is not None,
        lambda prediction, _, path: save_image(path, prediction.valid.astype(np.uint8) * 255),
    ),
    "_rgb.png": (
        lambda prediction: prediction.is_resampled,
        lambda prediction, _, path: save_image(path, prediction.rgb),
    ),
}
_ALL_WRITERS = writers_of({**DISPLAYS, DETECTION: DetectionDisplay})
# The endings of all possible result files
ENDINGS = (_DESCRIPTION, *_EXTRA, *(ending for endings in _ALL_WRITERS.values() for ending in endings))
