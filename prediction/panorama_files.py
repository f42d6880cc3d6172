"""Prediction of panoramas in files."""

import os
from pathlib import Path

import numpy as np

from prediction.cubemap import cubemap_as_panorama, face_files, split_cubemap
from prediction.file_predictor import FilePredictor
from prediction.fisheye import refuse_fisheyes
from prediction.gpano import parse_gpano
from prediction.input_image import InputImage, is_panorama, read_image
from prediction.masks import MaskFiles, black_bars, read_mask
from prediction.model import PanoramaModel
from prediction.panorama_input import Height, panorama_input
from prediction.result import PanoramaPrediction
from prediction.sphere_flags import SphereFlags
from prediction.video import VideoReader
from tasks import DISPLAYS
from utils.errors import UserError
from utils.provenance import sha256, sha256_once
from utils.text import metrics_line

_SMALL_BAR = 0.02  # fraction of the height up to which black rows are not worth a note


class PanoramaFilePredictor(FilePredictor):
    """Predicts files of panoramas.

    Args:
        model: the network.
        tta: number of averaged views.
        sphere: options on the part of the sphere that the images show.
        height: of the maps, see `PanoramaModel.predict`.
        masks: of the images, if any.
        without_black_bars: whether black rows at the top and at the bottom are marked as not valid.
        cubemap: order of the faces in strips and grids, see `split_cubemap`; None: images are not cube maps.
    """

    model: PanoramaModel
    flags = "flags (such as --tta or --height)"
    forward = "the centre of the picture"

    def __init__(
        self,
        model: PanoramaModel,
        tta: int = 1,
        sphere: SphereFlags = SphereFlags(),  # noqa: B008 - frozen
        height: Height = None,
        masks: MaskFiles | None = None,
        without_black_bars: bool = False,
        cubemap: str | None = None,
    ):
        self.model = model
        self.displays = {task: DISPLAYS[task] for task in model.settings.tasks}
        self._tta = tta
        self._sphere = sphere
        self._height = height
        self._masks = masks
        self._without_black_bars = without_black_bars
        self._cubemap = cubemap
        self._video: VideoReader | None = None  # the last one

    def read(self, path: Path) -> InputImage:
        return self._prepare(path, self._read_cubemap(path) if self._cubemap else read_image(path))

    def read_frame(self, path: Path, frame: int) -> InputImage:
        if self._video is None or self._video.path != path:
            self._video = VideoReader(path)
        rgb = self._video.frame(frame)
        size = (rgb.shape[1], rgb.shape[0])
        if self._cubemap:
            rgb = cubemap_as_panorama(split_cubemap(rgb, self._cubemap, path))
        return self._prepare(path, InputImage(rgb, size, tone_mapped=False, sha256=sha256_once(path), full_rgb=rgb))

    def _prepare(self, path: Path, image: InputImage) -> InputImage:
        """Prepare an image, or a frame of a video, for `predict`."""
        size = image.rgb.shape[:2]
        try:
            gpano = parse_gpano(image.xmp)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        placement = self._sphere.placement(size, gpano, path)
        if not self._sphere.force:
            refuse_fisheyes(image.rgb, path, "--force")
        top, bottom = black_bars(image.rgb)
        entries = {**image.entries, **({"black_rows": [top, bottom]} if top or bottom else {})}
        mask = None
        if self._masks:
            mask_path = self._masks.path_for(path)
            mask, mask_image = read_mask(mask_path, size)
            entries["mask"] = {"path": os.path.abspath(mask_path), "sha256": mask_image.sha256}
        if self._without_black_bars and (top or bottom):
            mask = np.ones(size, bool) if mask is None else mask
            mask[:top] = mask[size[0] - bottom :] = False
        panorama = panorama_input(image.rgb, placement, self._height, self.model.settings.height, mask)
        panorama = panorama._replace(from_cube=self._cubemap is not None)
        return image._replace(rgb=panorama.rgb, panorama=panorama, entries=entries)

    def _read_cubemap(self, path: Path) -> InputImage:
        """Read a cube map as a panorama: one image of six faces, or six files, given the front."""
        image = read_image(path)
        files = face_files(path) if image.size[0] == image.size[1] else None
        if files is None:
            faces, entries = split_cubemap(image.rgb, self._cubemap, path), {}
        else:
            images = {name: read_image(file) for name, file in files.items()}
            faces = {name: face.rgb for name, face in images.items()}
            for name, face in images.items():
                if face.size != image.size:
                    width, height = face.size
                    raise UserError(
                        f"--cubemap: {files[name]} is {width}x{height}, unlike {path}: save faces of one size"
                    )
            entries = {"faces": {name: face.sha256 for name, face in images.items()}}
        return image._replace(rgb=cubemap_as_panorama(faces), xmp=None, entries=entries)

    def predict(self, images: list[InputImage]) -> list[PanoramaPrediction]:
        return self.model.predict_batch([image.panorama for image in images], self._tta)

    def describe_options(self) -> dict:
        settings = self.model.settings
        height = self._height or settings.height
        return {
            "width": height if height == "own" else 2 * height,
            "height": height,
            "tta": self._tta,
            "sphere": str(self._sphere),
            "masked": self._masks is not None,
            "without_black_bars": self._without_black_bars,
            "cubemap": self._cubemap,
        }

    def describe_image(self, image: InputImage) -> dict:
        (width, height), panorama = image.size, image.panorama
        stretched = width != 2 * height and not self._cubemap and (panorama is None or panorama.placement is None)
        return {"stretched": stretched, **image.entries}

    def describe_prediction(self, prediction: PanoramaPrediction) -> dict:
        plain = {"seam_without_tta": prediction.plain_seam} if prediction.tta > 1 else {}
        height, width = prediction.rgb.shape[:2]
        return {
            "maps": {"width": width, "height": height},
            "placement": None if prediction.placement is None else prediction.placement.as_dict(),
            "valid": 1.0 if prediction.valid is None else float(prediction.valid.mean()),
            "seam": prediction.seam,
            **plain,
        }

    def accepts(self, image: dict) -> bool:
        if image.get("stretched") and not (self._sphere.force or is_panorama(image["width"], image["height"])):
            return False
        if "faces" in image and image["faces"] != _hashes(face_files(Path(image["path"]))):
            return False
        if self._masks is None:
            return True
        return image.get("mask", {}).get("sha256") == sha256(self._masks.path_for(Path(image["path"])))

    def summary(self, descriptions: list[dict]) -> list[str]:
        """Notes on the images, and the mean seam scores."""
        lines = image_notes([one["input"] for one in descriptions], self._without_black_bars)
        if placed := [one["input"]["path"] for one in descriptions if one["placement"]]:
            lines.append(f"note: {len(placed)} placed on the sphere, such as {placed[0]} (see placement in its .json)")
        names = {"seam": "seam score", "seam_without_tta": "seam score without --tta"}
        scores = {label: [one[name] for one in descriptions if name in one] for name, label in names.items()}
        return [*lines, *(f"{label}: {_mean_scores(found)}" for label, found in scores.items() if found)]


def _hashes(files: dict[str, Path] | None) -> dict[str, str]:
    return {name: sha256(path) for name, path in (files or {}).items()}


def image_notes(inputs: list[dict], without_black_bars: bool) -> list[str]:
    """Lines on images that are not exactly 2:1 but were accepted as panoramas, and on images with black bars.

    Args:
        inputs: entries of the .json files about the images.
        without_black_bars: whether black bars were marked as not valid, which needs no note.
    """
    lines = []
    resized = [one for one in inputs if one["stretched"] and is_panorama(one["width"], one["height"])]
    if resized:
        example = f"{resized[0]['path']} ({resized[0]['width']}x{resized[0]['height']})"
        lines.append(f"note: {len(resized)} resized, as they are a pixel or two off 2:1, such as {example}")
    barred = [one for one in inputs if max(one.get("black_rows", [0])) > _SMALL_BAR * one["height"]]
    if barred and not without_black_bars:
        top, bottom = barred[0]["black_rows"]
        example = f"{barred[0]['path']} ({top} rows at the top, {bottom} at the bottom)"
        lines.append(f"note: {len(barred)} with black bars, such as {example}: --black_bars marks them as not valid")
    return lines


def _mean_scores(scores: list[dict[str, float]]) -> str:
    """The mean over images of each task's score, as text."""
    means = {task: sum(score[task] for score in scores) / len(scores) for task in scores[0]}
    return metrics_line(means)
