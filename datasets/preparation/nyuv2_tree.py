"""Converts copies of NYU v2 that are slow to read: the owners' file to layout B, the hub's files to layout M.

The owners' images are cropped from 480x640 to the valid window of 425x560. Normals are written along our axes: x right,
y down, z forward, toward the camera. A note in the folder records the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from datasets.nyuv2 import NYUv2
from datasets.nyuv2_layouts import (
    NOTE,
    SCENES_FILE,
    HubLayout,
    MTINetLayout,
    NpyLayout,
    OwnersLayout,
    read_note,
    window_of,
)
from datasets.perspective import PerspectiveImage
from datasets.preparation.nyu_layouts import npy_arrays, save_npy, write_maps
from utils.errors import UserError
from utils.files import write_json, write_text
from utils.parallel import map_with_progress

_PARTS = ("train", "test")


@dataclass(frozen=True)
class Summary:
    """Result of a preparation.

    Attributes:
        counts: images of "train" and "test".
        written: images that were written in this run.
        note: source of the images, and how they were read.
        problems: errors of unusable images.
    """

    counts: dict[str, int]
    written: int
    note: dict
    problems: Sequence[str]


def prepare(
    raw: Path,
    out: Path,
    normals: str | None = None,
    normal_axes: str | None = None,
    raw_depth: bool = False,
    num_workers: int = 0,
) -> Summary:
    """Write the tree; images whose files all exist are skipped. The lists of ids are written last.

    Args:
        raw: folder of the owners' or the hub's files.
        normals, raw_depth: see `datasets.nyuv2_layouts.OwnersLayout`. Normals are estimated from the depth if
            `normals` is None and there are none beside the file.
        normal_axes: see `NYUv2`.

    Raises:
        UserError: when it is another copy, `out` has other content, or a file cannot be written.
    """
    source = open_source(raw, normals, normal_axes, raw_depth)
    layout = source["train"].layout
    note = {
        "source": f"{layout.letter}: {layout.title}",
        "normals": layout.normal_source,
        "stored_normal_axes": source["train"].axes,
    }
    if isinstance(layout, OwnersLayout):
        note["depth"] = "raw" if raw_depth else "filled"
    _claim(out, note)
    write = write_prepared if isinstance(layout, OwnersLayout) else write_npy_tree
    problems: list[str] = []
    written = 0
    for dataset in source.values():
        todo = [
            index
            for index in range(len(dataset))
            if not all(path.is_file() for path in target_files(dataset, index, out))
        ]
        for problem in map_with_progress(
            partial(write, dataset=dataset, out=out), todo, num_workers, f"preparing {dataset.split}"
        ):
            problems += [problem] if problem else []
            written += not problem
    if isinstance(layout, OwnersLayout) and not problems:
        _write_lists(out, source)
    return Summary({part: len(dataset) for part, dataset in source.items()}, written, note, problems)


def open_source(raw: Path, normals: str | None, normal_axes: str | None, raw_depth: bool) -> dict[str, NYUv2]:
    """Training and test images of the owners' or the hub's copy.

    Raises:
        UserError: when it is another copy.
    """
    build = partial(NYUv2, raw, height=1, width=1, raw_depth=raw_depth)
    layout = build(split="train", tasks=("depth", "segmentation"), normals=normals).layout  # normals may be missing
    if not isinstance(layout, OwnersLayout | HubLayout):
        raise UserError(f"--raw {raw} holds copy {layout.letter} ({layout.title}), which needs no preparation")
    if layout.normal_source == "none":
        normals = "depth"
    return {part: build(split=part, normals=normals, normal_axes=normal_axes) for part in _PARTS}


def target_files(dataset: NYUv2, index: int, out: Path) -> list[Path]:
    """The files of an image in the prepared tree."""
    target = MTINetLayout(out) if isinstance(dataset.layout, OwnersLayout) else NpyLayout(out)
    return target.files(dataset.ids[index], target.FOLDERS)


def write_prepared(index: int, dataset: NYUv2, out: Path) -> str | None:
    """Write an image of the owners' file in layout B; returns the error if it cannot be read."""
    try:
        image = dataset.read(index)
    except UserError as error:
        return str(error)
    window = image.cropped(*window_of(*image.size))
    write_maps(MTINetLayout(out), image.id, _contiguous(window))
    return None


def write_npy_tree(index: int, dataset: NYUv2, out: Path) -> str | None:
    """Write an image of the hub's files in layout M; returns the error if it cannot be read."""
    try:
        image = dataset.read(index)
    except UserError as error:
        return str(error)
    for kind, array in npy_arrays(image).items():
        save_npy(NpyLayout(out).path(image.id, kind), array)
    return None


def _claim(out: Path, note: dict) -> None:
    """Write the note to the folder.

    Raises:
        UserError: when the folder has other content.
    """
    if out.is_dir() and any(out.iterdir()) and read_note(out) != note:
        raise UserError(f"--out {out} holds something else, or was made with other options: choose an empty folder")
    write_json(out / NOTE, note)


def _write_lists(out: Path, source: dict[str, NYUv2]) -> None:
    """Write the ids of both parts, and the scenes of the images if they are known."""
    scenes = {image_id: dataset.layout.scene(image_id) for dataset in source.values() for image_id in dataset.ids}
    if all(scenes.values()):
        write_text(out / SCENES_FILE, "".join(f"{image_id} {scene}\n" for image_id, scene in scenes.items()))
    for part, dataset in source.items():
        name = NpyLayout.PART_FOLDERS[part]
        write_text(out / "gt_sets" / f"{name}.txt", "".join(f"{image_id}\n" for image_id in dataset.ids))


def _contiguous(image: PerspectiveImage) -> PerspectiveImage:
    return PerspectiveImage(
        **{name: np.ascontiguousarray(getattr(image, name)) for name in ("rgb", "depth", "normal", "semantic")},
        id=image.id,
    )
