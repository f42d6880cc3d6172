"""The tree that --dataset Struc3D reads, taken out of the owners' archives without unpacking all of them."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from datasets.structured3d import INVALID_SCENES, SCENES, room_files
from utils.errors import UserError
from utils.files import atomic_path
from utils.parallel import map_with_progress
from utils.tasks import MAP_OF_TASK, TASK_NAMES

_ROOM = re.compile(r"(?:.*/)?(?P<folder>scene_(?P<scene>\d{5})/2D_rendering/\w+/panorama/full)/(?P<file>\w+\.png)")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError)


@dataclass
class Room:
    """A furnished room in the archives.

    Attributes:
        folder: of its images in the tree.
        members: archive and name there of each image, by its path in the tree.
        problem: why it was left out; empty: it was not.
    """

    folder: str
    members: dict[str, tuple[Path, str]] = field(default_factory=dict)
    problem: str = ""

    @property
    def scene(self) -> int:
        return int(self.folder[6:11])


@dataclass
class Summary:
    """Of a run.

    Attributes:
        written, skipped: numbers of rooms, and of those that were there already.
        left_out: with the reasons.
        invalid: number of rooms in scenes that are officially invalid.
        bad_archives: and what is wrong with them.
        counts: rooms of each split in the tree.
    """

    written: int
    skipped: int
    left_out: list[Room]
    invalid: int
    bad_archives: list[str]
    counts: dict[str, int]


def prepare(raw: Path, out: Path, tasks: tuple[str, ...] = TASK_NAMES, num_workers: int = 0) -> Summary:
    """Take RGB and the maps of these tasks of all rooms out of the archives in a folder, unless they are there.

    A room is written completely or, if one of its images is missing or damaged, not at all.

    Raises:
        UserError: when there is no room in any archive, or a file cannot be written.
    """
    open_archive.cache_clear()  # files may have changed since an earlier call
    kinds = ("rgb", *(MAP_OF_TASK[task] for task in tasks))
    rooms, bad_archives = find_rooms(raw, kinds)
    valid = [room for room in rooms if room.scene not in INVALID_SCENES]
    todo = [room for room in valid if not all((out / path).is_file() for path in image_paths(room.folder, kinds))]
    work = partial(take_out, out=out, kinds=kinds)
    done = list(map_with_progress(work, todo, num_workers, "preparing Struc3D"))
    left_out = [room for room in done if room.problem]
    missing = {room.folder for room in left_out}
    counts = {
        split: sum(room.scene in scenes and room.folder not in missing for room in valid)
        for split, scenes in SCENES.items()
    }
    invalid = len(rooms) - len(valid)
    return Summary(len(done) - len(left_out), len(valid) - len(todo), left_out, invalid, bad_archives, counts)


def image_paths(folder: str, kinds: Sequence[str]) -> list[str]:
    """Paths in the tree of the images of a room."""
    files = asdict(room_files(folder))
    return [files[kind] for kind in kinds]


def find_rooms(raw: Path, kinds: Sequence[str]) -> tuple[list[Room], list[str]]:
    """Rooms with an image of these kinds in any archive, in the order of archives, and damaged archives.

    Raises:
        UserError: when there is none.
    """
    rooms: dict[str, Room] = {}
    bad = []
    for path in sorted(raw.glob("*.zip")):
        try:
            members = open_archive(path).namelist()
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
        raise UserError(f"--raw {raw} holds no archive with panoramas as published, such as {example}{damaged}")
    return list(rooms.values()), bad


def take_out(room: Room, out: Path, kinds: Sequence[str]) -> Room:
    """Write the images of a room; the room, with its problem if it has one."""
    content = {}
    for path in image_paths(room.folder, kinds):
        if path not in room.members:
            room.problem = f"{path} is in no archive"
            return room
        archive, member = room.members[path]
        try:
            content[path] = open_archive(archive).read(member)  # compares the checksum
        except _DAMAGED as error:
            room.problem = f"{path} in {archive.name} is damaged: {error}"
            return room
    for path, data in content.items():
        with atomic_path(out / path) as temporary:
            temporary.write_bytes(data)
    return room


@lru_cache(maxsize=32)  # there are 18; the lists of their members are long
def open_archive(path: Path) -> zipfile.ZipFile:
    """An archive for reading.

    Raises:
        UserError: when it is damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except _DAMAGED as error:
        raise UserError(f"{path} is damaged, or is no zip archive: download it again") from error
