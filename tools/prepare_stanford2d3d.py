"""Prepare Stanford2D3D for --dataset S2D3D: resize the published panoramas, and rotate normals to the camera frame.

    python -m tools.prepare_stanford2d3d --raw ./2D-3D-S --out ./data/S2D3D

* **Raw tree**: ``area_*/pano/{pose,rgb,depth,semantic,normal}/camera_*_domain_*``, and
  ``semantic_labels.json`` from ``assets/`` of the code repository alexsax/2D-3D-Semantics.
* **Prepared tree**: see `datasets.stanford2d3d`. Colors are averaged by area, maps are resized by nearest neighbor.
* **Labels**: a color is a 24-bit index into the list of labels. ``<UNK>``, indices beyond the list, and pixels that
  are black in the RGB image become 255.
* **Normals** are published in the frame of the building. According to the documentation, the transpose of the rotation
  in the pose's ``camera_rt_matrix`` maps them to the frame of the camera, but the axes of that camera are not
  documented, and no data was available to check it. So the frame is estimated for each panorama: among the transpose
  and the matrix itself, each with all 48 orders and signs of the axes, the candidate is chosen whose normals have the
  smallest mean angle to those computed from depth; ties go to the documented one. Panoramas are rejected if the median
  angle exceeds 20 degrees on horizontal or on vertical surfaces. (Both are needed: floor and ceiling cover most of a
  panorama, but fit for any heading.) The summary counts how often each candidate was chosen; it should be the same for
  all panoramas.

Panoramas whose four files exist are skipped, so an interrupted run can be resumed.
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets.classes import STANFORD2D3D
from datasets.panorama import resize_rgb
from datasets.preparation.axes import ALL_AXES, axes_in_words
from datasets.preparation.normal_codes import decode_normals, encode_normals
from datasets.preparation.normals_from_depth import normals_from_depth
from datasets.stanford2d3d import AREAS, DEPTH_UNITS, MISSING_DEPTH, UNKNOWN_ID, panorama_files
from options.parser import Parser, count, positive
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path
from utils.images import ImageFile
from utils.parallel import map_with_progress

LABEL_LIST = "semantic_labels.json"
UNKNOWN_CLASS = "<UNK>"
_MIDDLE_CODE = 127.5  # of normals: n = v / 127.5 - 1
MAX_ANGLE = 20.0  # degrees; above this median, normals are not in the camera frame
_TIE = 0.1  # degrees; candidates whose mean angles differ by less are equally good
_FIT_HEIGHT = 256  # pixels: fine enough for furniture, coarse enough for the quantization of depth
_MIN_PIXELS = 100  # to estimate the frame


@dataclass(frozen=True)
class CameraFrame:
    """The rotation from the building's frame to the camera's (x right, y down, z forward).

    Attributes:
        rotation: (3, 3), maps vectors of the building frame to the camera frame.
        convention: how it is derived from the pose, in words.
        angle: median angle in degrees between the rotated normals and those computed from depth.
    """

    rotation: np.ndarray
    convention: str
    angle: float


def find_panoramas(raw: Path) -> list[tuple[str, str]]:
    """Area and stem (``camera_..._domain``) of all panoramas with at least one file."""
    found = set()
    for area in (area for areas in AREAS.values() for area in areas):
        for pattern in (str(_pose_file(Path(), area, "*")), *astuple(panorama_files(f"{area}/pano", "*"))):
            suffix = pattern.rpartition("*")[2]
            paths = raw.glob(pattern.replace("*", "camera_*_domain"))
            found.update((area, path.name.removesuffix(suffix)) for path in paths)
    return sorted(found)


def prepare(raw: Path, out: Path, label_list: Path, height: int, num_workers: int) -> list[UserError]:
    """Prepare all panoramas that are not prepared yet, and print a summary.

    Returns:
        The errors of unusable panoramas.

    Raises:
        UserError: when there is no panorama, the list of labels is unusable, or a file cannot be written.
    """
    panoramas = find_panoramas(raw)
    if not panoramas:
        example = panorama_files("area_1/pano", "camera_*_domain").rgb
        raise UserError(f"--raw {raw} holds no published panoramas: expected files such as {example}")
    labels = read_label_table(label_list)
    todo = [panorama for panorama in panoramas if not all(path.is_file() for path in _files(out, *panorama).values())]
    work = partial(prepare_panorama, raw=raw, out=out, labels=labels, height=height)
    outcomes = list(map_with_progress(work, todo, num_workers, "preparing S2D3D"))
    frames = [outcome for outcome in outcomes if isinstance(outcome, CameraFrame)]
    problems = [outcome for outcome in outcomes if isinstance(outcome, UserError)]
    skipped = len(panoramas) - len(todo)
    print(f"{len(frames)} panoramas prepared, {skipped} skipped (exist already), {len(problems)} unusable")
    for line in describe_frames(frames):
        print(line)
    return problems


def describe_frames(frames: Sequence[CameraFrame]) -> list[str]:
    """Lines with the number of panoramas of each convention of the normals, most frequent first."""
    angles_of = defaultdict(list)
    for frame in frames:
        angles_of[frame.convention].append(frame.angle)
    return [
        f"normals: {len(angles)} panoramas with {convention}, median angle to the depth {np.median(angles):.1f} degrees"
        for convention, angles in sorted(angles_of.items(), key=lambda item: -len(item[1]))
    ]


def prepare_panorama(
    panorama: tuple[str, str], raw: Path, out: Path, labels: np.ndarray, height: int
) -> CameraFrame | UserError:
    """Prepare one panorama, (area, stem).

    Returns:
        The estimated frame of its normals, or the error if it is unusable; then nothing is written.
    """
    try:
        images, frame = convert(panorama, raw, labels, height)
    except UserError as problem:
        return problem
    files = _files(out, *panorama)
    for name in ("rgb", "semantic", "normal", "depth"):
        with atomic_path(files[name]) as temporary:
            Image.fromarray(images[name]).save(temporary)
    return frame


def convert(
    panorama: tuple[str, str], raw: Path, labels: np.ndarray, height: int
) -> tuple[dict[str, np.ndarray], CameraFrame]:
    """Convert a panorama, (area, stem), to its four prepared images; also returns the frame of its normals.

    Args:
        panorama: area and stem.
        raw: published data.
        labels: see `read_label_table`.
        height: height of the prepared images.

    Raises:
        UserError: when one of its files is missing, damaged or in the wrong format.
    """
    area, stem = panorama
    paths = _files(raw, f"{area}/pano", stem)
    rotation = read_rotation(_pose_file(raw, area, stem))
    maps = {name: ImageFile(paths[name]).three_channels() for name in ("semantic", "normal")}
    maps["rgb"] = ImageFile(paths["rgb"]).rgb()
    maps["depth"] = ImageFile(paths["depth"]).single_channel("depth", bits=16)
    for name, path in paths.items():
        _check_size(path, maps[name].shape, maps["rgb"].shape)
    try:
        frame = find_frame(maps["normal"], maps["depth"], rotation)
    except UserError as error:
        raise UserError(f"{paths['normal']}: {error}") from error
    resized = {name: _resize_nearest(array, height) for name, array in maps.items()}
    images = {
        "rgb": resize_rgb(maps["rgb"], height, 2 * height),
        "depth": resized["depth"],
        "semantic": label_ids(resized["semantic"], resized["rgb"], labels),
        "normal": encode_normals(decode_normals(resized["normal"], _MIDDLE_CODE) @ frame.rotation.T),
    }
    return images, frame


def find_frame(normal: np.ndarray, depth: np.ndarray, rotation: np.ndarray) -> CameraFrame:
    """Estimate the camera frame of a panorama, see the top of this file.

    Args:
        normal: (H, W, 3) uint8, as published.
        depth: (H, W) uint16, as published.
        rotation: (3, 3), from the pose.

    Raises:
        UserError: when no candidate fits, or there are too few pixels.
    """
    height = min(_FIT_HEIGHT, len(depth))
    depth = _resize_nearest(depth, height)
    meters = np.where(depth == MISSING_DEPTH, 0, depth / DEPTH_UNITS)
    implied = normals_from_depth(meters)[::2, ::2]
    stored = decode_normals(_resize_nearest(normal, height), _MIDDLE_CODE)[::2, ::2]
    known = implied.any(axis=-1) & stored.any(axis=-1)
    implied, stored = implied[known], stored[known]  # (N, 3)
    level = np.abs(implied[:, 1]) > np.cos(np.pi / 4)
    if min(level.sum(), (~level).sum()) < _MIN_PIXELS:
        raise UserError("too few pixels have both a normal and a depth: cannot determine the frame of the normals")

    rotations, conventions = _candidates(rotation)
    # implied . (R stored) is linear in R: one matrix product evaluates all candidates.
    products = (implied[:, :, None] * stored[:, None, :]).reshape(-1, 9).astype(np.float32)
    cosines = products @ rotations.reshape(-1, 9).T.astype(np.float32)  # (N, candidates)
    angles = np.degrees(np.arccos(cosines.clip(-1, 1)))
    means = angles.mean(axis=0)
    best = int(np.flatnonzero(means <= means.min() + _TIE)[0])
    angle = float(max(np.median(angles[level, best]), np.median(angles[~level, best])))
    if angle > MAX_ANGLE:
        raise UserError(f"the normals do not fit the depth in any frame: median angle {angle:.0f} degrees")
    return CameraFrame(rotations[best], conventions[best], angle)


def _candidates(rotation: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Candidate rotations (96, 3, 3) from the building to the camera, and their names, most likely first."""
    axes = sorted(ALL_AXES, key=lambda matrix: -np.linalg.det(matrix))  # mirrored ones last
    proper, mirrored = axes[:24], axes[24:]
    directions = (("the transpose of camera_rt_matrix", rotation.T), ("camera_rt_matrix itself", rotation))
    rotations, conventions = [], []
    for axes_matrices, (name, matrix) in product((proper, mirrored), directions):
        for axes_matrix in axes_matrices:
            rotations.append(axes_matrix @ matrix)
            conventions.append(f"{name} and axes {axes_in_words(axes_matrix)}")
    return np.stack(rotations), conventions


def label_ids(colors: np.ndarray, rgb: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Convert published label colors (H, W, 3) to ids (H, W) uint8; unknown where the RGB image is black."""
    red, green, blue = np.moveaxis(colors.astype(np.int64), -1, 0)
    ids = labels.take(red * 65536 + green * 256 + blue, mode="clip")  # indices beyond the list: the last entry
    ids[~rgb.any(axis=-1)] = UNKNOWN_ID
    return ids


def read_label_table(path: Path) -> np.ndarray:
    """The id, uint8, of each entry of the published list of labels, followed by that of unknown.

    Raises:
        UserError: when the list is missing or invalid.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        source = "it is in assets/ of the code repository alexsax/2D-3D-Semantics"
        raise UserError(f"the list of labels {path} is missing ({source}): pass it as --semantic_labels") from error
    except ValueError as error:
        raise UserError(f"the list of labels {path} is not a JSON file: {error}") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, str) for entry in entries):
        raise UserError(f"{path} is not the published list of labels: expected a list of strings")
    ids = {name: label for label, name in enumerate(STANFORD2D3D.names)} | {UNKNOWN_CLASS: UNKNOWN_ID}
    for entry in entries:
        if entry.partition("_")[0] not in ids:
            raise UserError(f"{path} is not the published list of labels: {entry!r} does not begin with a known class")
    return np.array([ids[entry.partition("_")[0]] for entry in entries] + [UNKNOWN_ID], np.uint8)


def read_rotation(path: Path) -> np.ndarray:
    """Read the rotation (3, 3) of a pose file: the left part of its ``camera_rt_matrix``.

    Raises:
        UserError: when the file is missing or holds no rotation.
    """
    try:
        matrix = np.array(json.loads(path.read_text(encoding="utf-8"))["camera_rt_matrix"], dtype=np.float64)
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} holds no camera_rt_matrix, or is damaged") from error
    if matrix.shape not in ((3, 4), (4, 4)):
        raise UserError(f"{path}: camera_rt_matrix is not a 3x4 or 4x4 matrix")
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise UserError(f"{path}: the left part of camera_rt_matrix is not a rotation")
    return rotation


def _files(root: Path, folder: str, stem: str) -> dict[str, Path]:
    """The four images of a panorama by name: rgb, depth, semantic, normal."""
    return {name: root / path for name, path in asdict(panorama_files(folder, stem)).items()}


def _pose_file(raw: Path, area: str, stem: str) -> Path:
    return raw / area / "pano" / "pose" / f"{stem}_pose.json"


def _check_size(path: Path, shape: tuple[int, ...], shape_of_rgb: tuple[int, ...]) -> None:
    height, width = shape[:2]
    if width != 2 * height:
        raise UserError(f"{path} is {width}x{height}: an ERP image is twice as wide as high")
    if height != shape_of_rgb[0]:
        raise UserError(f"{path} is {width}x{height}, but its RGB image is {shape_of_rgb[1]}x{shape_of_rgb[0]}")


def _resize_nearest(array: np.ndarray, height: int) -> np.ndarray:
    """Resize an ERP map (H, W, ...) by nearest neighbor."""
    return cv2.resize(array, (2 * height, height), interpolation=cv2.INTER_NEAREST_EXACT)


def main() -> None:
    """Run the command line; the exit code is 1 if panoramas could not be used."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--raw", required=True, type=Path, metavar="DIR", help="published data, with area_1, ...")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--semantic_labels", type=Path, metavar="FILE", help=f"published list of labels (default: RAW/{LABEL_LIST})"
    )
    parser.add_argument("--height", type=positive, default=512, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--num_workers", type=count, default=os.cpu_count(), metavar="N", help="worker processes")
    options: argparse.Namespace = parser.parse_args()
    label_list = options.semantic_labels or options.raw / LABEL_LIST
    with exit_on_user_error():
        problems = prepare(options.raw, options.out, label_list, options.height, options.num_workers)
    for problem in problems:
        print(f"not used: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
