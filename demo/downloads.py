"""Downloads of the last predictions, which are kept in memory, in the formats of predict_elite360m.py."""

import base64
import io
import secrets
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from prediction import PanoramaModel, PanoramaPrediction
from prediction.description import Describer
from prediction.panorama_files import PanoramaFilePredictor
from prediction.result_files import writers_of
from utils.errors import UserError
from utils.files import write_json
from utils.provenance import provenance

ALL = "all"  # every kind of file
_MAX_RESULTS = 8  # predictions that are kept
_LARGEST_TEXTURE = 4096  # pixels of width


class _Result(NamedTuple):
    name: str
    rgb: np.ndarray
    prediction: PanoramaPrediction


class Downloads:
    """Keeps the last predictions of a model in memory, and writes their files on demand."""

    def __init__(self, model: PanoramaModel):
        self._predictor = PanoramaFilePredictor(model)
        self._writers = writers_of(self._predictor.displays)
        self._results: OrderedDict[str, _Result] = OrderedDict()

    @property
    def kinds(self) -> list[tuple[str, str]]:
        """The kinds of files: the values of --save, and ALL, each with its name on the page."""
        maps = {display.map_name: display.title for display in self._predictor.displays.values()}
        names = {**maps, "ply": "points (.ply)", "glb": "points (.glb)", "mesh": "mesh (.glb)"}
        return [*((kind, names.get(kind, kind)) for kind in self._writers), (ALL, "everything (.zip)")]

    def add(self, title: str, rgb: np.ndarray, prediction: PanoramaPrediction) -> str:
        """Keep a prediction until enough others follow.

        Args:
            title: of the panorama.
            rgb: (H, W, 3) uint8, the panorama at any size.
            prediction: of the panorama.

        Returns:
            The key of its files, which cannot be guessed.
        """
        if rgb.shape[1] > _LARGEST_TEXTURE:
            rgb = cv2.resize(rgb, (_LARGEST_TEXTURE, _LARGEST_TEXTURE // 2), interpolation=cv2.INTER_AREA)
        key = secrets.token_urlsafe(16)
        self._results[key] = _Result(Path(title).stem, rgb, prediction)
        while len(self._results) > _MAX_RESULTS:
            self._results.popitem(last=False)
        return key

    def file(self, key: str, kind: str) -> dict[str, str]:
        """The file of a kind, or a .zip archive of several, for JavaScript.

        Returns:
            ``name`` and ``data``, the content in Base64; or ``error``, a line for the visitor.
        """
        result = self._results.get(key)
        if result is None:
            return {"error": "this result is no longer kept: predict the panorama again"}
        kinds = list(self._writers) if kind == ALL else [kind]
        try:
            with tempfile.TemporaryDirectory() as folder:
                files = self._write(result, kinds, Path(folder), with_description=kind == ALL)
                name, content = files[0].name, files[0].read_bytes()
                if len(files) > 1:
                    suffix = "" if kind == ALL else f"_{kind}"
                    name, content = f"{result.name}{suffix}.zip", _zipped(files)
        except UserError as error:
            return {"error": str(error)}
        return {"name": name, "data": base64.b64encode(content).decode("ascii")}

    def _write(self, result: _Result, kinds: list[str], folder: Path, with_description: bool) -> list[Path]:
        """Write files of these kinds, and on request the .json that describes them."""
        files = []
        for kind in kinds:
            for ending, write in self._writers[kind].items():
                files.append(folder / f"{result.name}{ending}")
                write(result.prediction, lambda: result.rgb, files[-1])
        if with_description:
            content = {
                **Describer(self._predictor).meaning,
                **self._predictor.describe_prediction(result.prediction),
                "files": sorted(path.name for path in files),
                **provenance(),
            }
            files.append(folder / f"{result.name}.json")
            write_json(files[-1], content)
        return files


def _zipped(files: list[Path]) -> bytes:
    """A .zip archive of files without their folders."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(path, path.name)
    return content.getvalue()
