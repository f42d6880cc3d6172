"""Extracts the tree that --dataset Struc3D reads from the published archives."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from datasets.preparation.archives import DAMAGED, open_archive
from datasets.structured3d import INVALID_SCENES, SCENES, room_files
from utils.errors import UserError
from utils.files import atomic_path
from utils.parallel import map_with_progress
from utils.tasks import MAP_OF_TASK, TASK_NAMES

_ROOM = re.compile(r"(?:.*/)?(?P<folder>scene_(?P<scene>\d{5})/2D_rendering/\w+/panorama/full)/(?P<file>\w+\.png)")
_opened = lru_cache(maxsize=32)(open_archive)  # there are 18 archives, with long lists of members


@dataclass
class Room:
    """A furnished room in the archives.

    Attributes:
        folder: folder of its images in the tree.
        members: archive and member name of each image, by its path in the tree.
        problem: why it was left out; empty if it was not.
    """

    folder: str
    members: dict[str, tuple[Path, str]] = field(default_factory=dict)
    problem: str = ""

    @property
    def scene(self) -> int:
        """Number of the scene."""
        return int(self.folder[6:11])


@dataclass
class Summary:
    """Result of a run.

    Attributes:
        written: number of rooms written in this run.
        skipped: number of rooms that existed.
        left_out: rooms with a missing or damaged image.
        invalid: number of rooms in officially invalid scenes.
        bad_archives: errors of unusable archives.
        counts: rooms of each split in the tree.
    """

    written: int
    skipped: int
    left_out: list[Room]
    invalid: int
    bad_archives: list[str]
    counts: dict[str, int]


def prepare(raw: Path, out: Path, tasks: tuple[str, ...] = TASK_NAMES, num_workers: int = 0) -> Summary:
    """Extract RGB and the maps of these tasks of all rooms from the archives in a folder; existing ones are skipped.

    A room with a missing or damaged image is left out completely.

    Raises:
        UserError: when no archive contains a room, or a file cannot be written.
    """
    _opened.cache_clear()  # files may have changed since an earlier call
    kinds = ("rgb", *(MAP_OF_TASK[task] for task in tasks))
    rooms, bad_archives = find_rooms(raw, kinds)
    valid = [room for room in rooms if room.scene not in INVALID_SCENES]
    todo = [room for room in valid if not all((out / path).is_file() for path in image_paths(room.folder, kinds))]
    work = partial(extract, out=out, kinds=kinds)
    done = list(map_with_progress(work, todo, num_workers, "preparing Struc3D"))
    left_out = [room for room in done if room.problem]
    left_out_folders = {room.folder for room in left_out}
    counts = {
        split: sum(room.scene in scenes and room.folder not in left_out_folders for room in valid)
        for split, scenes in SCENES.items()
    }
    invalid = len(rooms) - len(valid)
    return Summary(len(done) - len(left_out), len(valid) - len(todo), left_out, invalid, bad_archives, counts)


def image_paths(folder: str, kinds: Sequence[str]) -> list[str]:
    """Paths in the tree of the images of a room."""
    files = asdict(room_files(folder))
    return [files[kind] for kind in kinds]


def find_rooms(raw: Path, kinds: Sequence[str]) -> tuple[list[Room], list[str]]:
    """Rooms with an image of these kinds in any archive, in the order of the archives, and errors of damaged archives.

    Raises:
        UserError: when there is no room.
    """
    rooms: dict[str, Room] = {}
    bad = []
    for path in sorted(raw.glob("*.zip")):
        try:
            members = _opened(path).namelist()
        except UserError as error:
            bad.append(str(error))
            continue
        for member in members:
            match = _ROOM.fullmatch(member)
            if match is None:
                continue
            folder = match["folder"]
            if f"{folder}/{match['file']}" in image_paths(folder, kinds):
                room = rooms.setdefault(folder, Room(folder))
                room.members.setdefault(f"{folder}/{match['file']}", (path, member))
    if not rooms:
        example = "Structured3D_panorama_00.zip with scene_00000/2D_rendering/*/panorama/full/rgb_rawlight.png"
        damaged = f" ({bad[0]})" if bad else ""
        raise UserError(f"--raw {raw} contains no archive with panoramas as published, such as {example}{damaged}")
    return list(rooms.values()), bad


def extract(room: Room, out: Path, kinds: Sequence[str]) -> Room:
    """Write the images of a room; returns the room, with `problem` set if it was left out."""
    content = {}
    for path in image_paths(room.folder, kinds):
        if path not in room.members:
            room.problem = f"{path} is in no archive"
            return room
        archive, member = room.members[path]
        try:
            content[path] = _opened(archive).read(member)  # verifies the checksum
        except DAMAGED as error:
            room.problem = f"{path} in {archive.name} is damaged: {error}"
            return room
    for path, data in content.items():
        with atomic_path(out / path) as temporary:
            temporary.write_bytes(data)
    return room
