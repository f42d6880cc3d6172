"""Synthetic furnished rooms, rendered on demand, without any files: --dataset Synthetic."""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from datasets import SPLITS
from datasets.classes import STANFORD2D3D
from datasets.panorama import Panorama, PanoramaDataset
from datasets.rooms.buildings import random_building
from datasets.rooms.layout import random_room
from datasets.rooms.render import RenderedRoom, render_room
from datasets.rooms.scene import Room
from utils.files import atomic_path
from utils.tasks import TASK_NAMES

ROOMS = {"furnished": random_room, "varied": random_building}  # values of --rooms
_STREAM = 360  # separates the random streams of this dataset from others with the same seed
_RENDERER_VERSION = 1  # increase when the rooms or their images change, to invalidate caches
_DAMAGED = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error)


class SyntheticRooms(PanoramaDataset):
    """Random rooms, one per index, different in each split and for each seed.

    Args:
        split: "train", "val" or "test".
        num_rooms: number of rooms; a room does not depend on it.
        height, width: H x W of the panoramas, W = 2H, also when rendered.
        augment: see `PanoramaDataset`.
        seed: 0 or more.
        cache_dir: folder for a cache of rendered rooms; None: no cache.
        tasks: see `PanoramaDataset`; rooms are always rendered with the ground truth of all tasks.
        rooms: a key of ROOMS.
    """

    classes = STANFORD2D3D

    def __init__(
        self,
        split: str,
        num_rooms: int,
        height: int,
        width: int,
        augment: Callable[[Panorama], Panorama] | None = None,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        tasks: tuple[str, ...] = TASK_NAMES,
        rooms: str = "furnished",
    ):
        super().__init__(height, width, augment, tasks)
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
        if width != 2 * height:
            raise ValueError(f"an ERP image is twice as wide as high, got {height} x {width}")
        self.split = split
        self.num_rooms = num_rooms
        self.seed = seed
        self.rooms = rooms
        self._prefix = "" if rooms == "furnished" else f"{rooms}/"  # in names of samples and cache folders
        self.cache_dir = None if cache_dir is None else Path(cache_dir)

    def __len__(self) -> int:
        return self.num_rooms

    def sample_names(self) -> list[str]:
        return [f"synthetic/{self._prefix}{self.split}/{self.seed}/{index:06d}" for index in range(self.num_rooms)]

    def room(self, index: int) -> Room:
        """The room of this index, not rendered.

        Raises:
            IndexError: when there is no such room.
        """
        self._check_index(index)
        return ROOMS[self.rooms](np.random.default_rng([_STREAM, self.seed, SPLITS.index(self.split), index]))

    def read(self, index: int) -> Panorama:
        """The panorama of a room with its ground truth, from the cache if an intact file exists.

        Raises:
            IndexError: when there is no such room.
        """
        self._check_index(index)
        path = self._cache_path(index)
        rendered = None if path is None else _load(path, self.height, self.width)
        if rendered is None:
            rendered = render_room(self.room(index), self.height, self.width)
            if path is not None:
                with atomic_path(path) as temporary:
                    np.savez_compressed(temporary, **asdict(rendered))
        labels = rendered.semantic.astype(np.int8)
        return Panorama(rendered.rgb, rendered.depth, rendered.normal, labels, id=f"synthetic/{self.split}/{index:06d}")

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.num_rooms:
            raise IndexError(f"no room {index} in a dataset of {self.num_rooms}")

    def _cache_path(self, index: int) -> Path | None:
        if self.cache_dir is None:
            return None
        kind = f"{self._prefix.replace('/', '-')}rooms-v{_RENDERER_VERSION}-seed{self.seed}-{self.height}x{self.width}"
        return self.cache_dir / kind / f"{self.split}-{index:06d}.npz"


def _load(path: Path, height: int, width: int) -> RenderedRoom | None:
    """A rendered room from the cache; None if it is missing or unusable."""
    try:
        with np.load(path) as file:
            rendered = RenderedRoom(file["rgb"], file["depth"], file["normal"], file["semantic"])
    except _DAMAGED:
        return None
    shapes = [array.shape for array in (rendered.rgb, rendered.depth, rendered.normal, rendered.semantic)]
    return rendered if shapes == [(height, width, 3), (height, width), (height, width, 3), (height, width)] else None
