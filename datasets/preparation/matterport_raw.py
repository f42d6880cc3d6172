"""Matterport3D as published: files of a scan, in folders or in zip archives, and the cameras.

The downloaded folder (or ``v1/scans`` or ``scans`` in it) contains a folder per scan. There, each kind of files (see
`KINDS`) is a folder, or an archive ``<kind>.zip``, or a folder ``<scan>/<kind>`` if the archive was unpacked in place.
"""

import re
import zipfile
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from datasets.preparation.archives import DAMAGED, open_archive
from utils.errors import UserError
from utils.images import ImageFile
from utils.pinhole import Pinhole

KINDS = {
    "skybox": "matterport_skybox_images",
    "color": "undistorted_color_images",
    "depth": "undistorted_depth_images",
    "normal": "undistorted_normal_images",
    "cameras": "undistorted_camera_parameters",
    "mesh": "house_segmentations",
}
VIEWS_OF_VIEWPOINT = 18
DEPTH_UNITS = 4000  # per meter
_VIEW_NAME = re.compile(r"(?P<viewpoint>[^_]+)_d(?P<camera>[0-2])_(?P<yaw>[0-5])\.png")
_FROM_OPENGL = np.diag([1.0, -1.0, -1.0])  # x right, y up, z back to x right, y down, z forward


@dataclass(frozen=True)
class RawView:
    """One of the 18 perspective views of a viewpoint.

    Attributes:
        camera: 0 looks up, 1 is level, 2 looks down.
        yaw: 0 to 5, in steps of 60 degrees to the right.
        depth_name, color_name: file names.
        pinhole: intrinsics; its image size is 0, as the camera file does not contain it.
        rotation: (3, 3) from camera axes (x right, y down, z forward) to those of the world (z up).
        center: (3,) in meters, world.
    """

    camera: int
    yaw: int
    depth_name: str
    color_name: str
    pinhole: Pinhole
    rotation: np.ndarray
    center: np.ndarray

    def normal_names(self) -> list[str]:
        """Names of the files with the three components of the normals."""
        return [self.depth_name.replace(".png", f"_n{axis}.png") for axis in "xyz"]

    def sized(self, height: int, width: int) -> Pinhole:
        """The intrinsics with this image size."""
        return replace(self.pinhole, height=height, width=width)


class RawScan:
    """The files of a scan in its folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.name = folder.name
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._files: dict[str, dict[str, str]] = {}

    def names(self, kind: str) -> set[str]:
        """Names, without folders, of all files of a kind, a key of `KINDS`.

        Raises:
            UserError: when the archive is damaged.
        """
        return set(self._locations(kind))

    def read(self, kind: str, name: str) -> bytes:
        """The content of a file.

        Raises:
            UserError: when it is missing or damaged.
        """
        path = self.path(kind, name)
        location = self._locations(kind).get(name)
        if location is None:
            raise UserError(f"{path} is missing")
        try:
            if kind in self._archives:
                return self._archives[kind].read(location)  # verifies the checksum
            return Path(location).read_bytes()
        except DAMAGED as error:
            raise UserError(f"{path} cannot be read: {error}") from error

    def image(self, kind: str, name: str) -> ImageFile:
        """An image file, see `read`."""
        return ImageFile(self.path(kind, name), self.read(kind, name))

    def path(self, kind: str, name: str) -> Path:
        """The path of a file, whether it exists or not, for messages."""
        archive = self._archive_path(kind)
        return (archive if archive.is_file() and not self._folder(kind) else self.folder / KINDS[kind]) / name

    @cached_property
    def cameras(self) -> dict[str, list[RawView]]:
        """The views of each viewpoint.

        Raises:
            UserError: when the camera file is missing or damaged.
        """
        name = f"{self.name}.conf"
        return parse_cameras(self.read("cameras", name).decode("utf-8", "replace"), str(self.path("cameras", name)))

    def _locations(self, kind: str) -> dict[str, str]:
        """Path, or name in the archive, of each file of a kind."""
        if kind not in self._files:
            folder, archive = self._folder(kind), self._archive_path(kind)
            found: dict[str, str] = {}
            if folder:
                found = {path.name: str(path) for path in folder.iterdir() if not path.name.startswith(".")}
            elif archive.is_file():
                self._archives[kind] = open_archive(archive)
                members = self._archives[kind].namelist()
                found = {member.rpartition("/")[2]: member for member in members if not member.endswith("/")}
            self._files[kind] = found
        return self._files[kind]

    def _folder(self, kind: str) -> Path | None:
        places = (self.folder / KINDS[kind], self.folder / self.name / KINDS[kind])
        return next((place for place in places if place.is_dir()), None)

    def _archive_path(self, kind: str) -> Path:
        return self.folder / f"{KINDS[kind]}.zip"


def find_scans(raw: Path) -> dict[str, Path]:
    """Folders of the scans by name.

    Raises:
        UserError: when there is no scan.
    """
    for root in (raw / "v1" / "scans", raw / "scans", raw):
        folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        wanted = {KINDS["cameras"], f"{KINDS['cameras']}.zip"}
        found = {
            path.name: path
            for path in folders
            if any((path / name).exists() for name in wanted) or (path / path.name / KINDS["cameras"]).is_dir()
        }
        if found:
            return found
    raise UserError(
        f"--raw {raw} contains no scan as published: expected files such as 17DRP5sb8fy/{KINDS['cameras']}.zip, "
        "packed or unpacked"
    )


def parse_cameras(text: str, path: str) -> dict[str, list[RawView]]:
    """The views of each viewpoint in a ``.conf`` file.

    ``intrinsics_matrix`` is followed by 3x3 numbers, which apply to the ``scan`` lines below it; ``scan`` by the names
    of the depth and the color image and the 4x4 matrix from the camera (x right, y up, z back) to the world.

    Raises:
        UserError: when a line is incomplete.
    """
    found = defaultdict(list)
    pinhole = None
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if words[:1] not in (["intrinsics_matrix"], ["scan"]):
            continue
        try:
            if words[0] == "intrinsics_matrix":
                fx, _, cx, _, fy, cy, *_ = map(float, words[1:10])
                pinhole = Pinhole(fx, fy, cx, cy, 0, 0)
                continue
            _, depth_name, color_name, *numbers = words
            matrix = np.array(numbers, float).reshape(4, 4)
            name = _VIEW_NAME.fullmatch(depth_name)
            view = RawView(
                *(int(name["camera"]), int(name["yaw"]), depth_name, color_name, pinhole),
                *(matrix[:3, :3] @ _FROM_OPENGL, matrix[:3, 3]),
            )
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}, line {number} is damaged: expected {words[0]} as published") from error
        if pinhole is None:
            raise UserError(f"{path}, line {number}: expected an intrinsics_matrix before this scan")
        found[name["viewpoint"]].append(view)
    return dict(found)
