"""The lists and masks of VOC that are not official, made from the official ones and those of SBD.

* **Training list** of a year: the images of detection's and segmentation's ``trainval``, and of 2012 those of SBD
  (Hariharan et al., ICCV 2011), without the test images: ``test`` of 2007 and the validation images of segmentation of
  2012. VOC2012 holds images of 2007, number 000032 as 2007_000032: a test image is left out under both names.
* **Test list** of segmentation: its validation list of 2012.
* **Masks** of training: the official one where there is one, else SBD's.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from datasets.nyuv2_decoding import read_mat
from datasets.preparation.nyu_layouts import save_image
from datasets.voc import SEGMENTATION_TEST_LIST, TRAIN_LIST, YEARS, find_voc, read_ids, same_image
from utils.errors import UserError
from utils.files import atomic_path, write_text


@dataclass(frozen=True)
class WrittenList:
    """A list.

    Attributes:
        path: of the file.
        count: images that it should hold.
        state: "written", "there already", or "there already, but different".
    """

    path: Path
    count: int
    state: str


@dataclass(frozen=True)
class Summary:
    """What was done.

    Attributes:
        lists: one after the other.
        masks: of each year how many masks its training images have, and how many of them were written now.
    """

    lists: list[WrittenList]
    masks: dict[str, tuple[int, int]]


def prepare(root: Path, sbd: Path | None = None) -> Summary:
    """Write what is missing. What is there is left as it is; a stopped run continues where it was.

    Args:
        root: see `datasets.voc.find_voc`.
        sbd: folder of SBD, with ``cls/<id>.mat``, or one above it; None: without its masks.

    Raises:
        UserError: when official lists are missing, there is no SBD, a mask of it is damaged, or scipy, which reads it,
            is missing.
    """
    root = find_voc(root)
    outlines = find_sbd(sbd) if sbd else {}
    lists = {year: training_ids(root, year, list(outlines) if year == "2012" else []) for year in YEARS}
    masks = {}
    for year, ids in lists.items():
        sources = {one: outlines[one] for one in ids if year == "2012" and one in outlines}
        for one in ids:
            official = root / f"VOC{year}" / "SegmentationClass" / f"{one}.png"
            sources |= {one: official} if official.is_file() else {}
        folder = root / f"VOC{year}" / "SegmentationClassAug"
        todo = [path for one, path in sources.items() if not (folder / f"{one}.png").exists()]
        for path in tqdm(todo, f"masks of {year}", unit="file", dynamic_ncols=True):
            write_mask(path, folder)
        there = sum((folder / f"{one}.png").exists() for one in ids)
        masks[year] = there, len(todo)
    written = [_write_list(root, year, TRAIN_LIST, ids) for year, ids in lists.items()]
    segmentation = read_ids(root, "2012", "val", "Segmentation")
    return Summary([*written, _write_list(root, "2012", SEGMENTATION_TEST_LIST, segmentation)], masks)


def training_ids(root: Path, year: str, more: list[str]) -> list[str]:
    """The training list of a year, see the top of this file, sorted; `more` are the images of SBD."""
    held_back = {same_image("2007", one) for one in read_ids(root, "2007", "test")}
    held_back |= {same_image("2012", one) for one in read_ids(root, "2012", "val", "Segmentation")}
    ids = {*read_ids(root, year, "trainval"), *read_ids(root, year, "trainval", "Segmentation"), *more}
    return sorted(one for one in ids if same_image(year, one) not in held_back)


def find_sbd(folder: Path) -> dict[str, Path]:
    """The files of SBD's class masks by image id.

    Raises:
        UserError: when there are none.
    """
    for place in (folder, folder / "dataset", folder / "benchmark_RELEASE" / "dataset"):
        if (place / "cls").is_dir():
            return {path.stem: path for path in sorted((place / "cls").glob("[!.]*.mat"))}
    raise UserError(f"--sbd {folder} holds no SBD: expected cls/*.mat, or dataset/cls/*.mat")


def write_mask(source: Path, folder: Path) -> None:
    """Write a mask, an official .png or SBD's .mat, to a folder."""
    target = folder / f"{source.stem}.png"
    if source.suffix == ".mat":
        save_image(target, read_sbd(source))
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def read_sbd(path: Path) -> np.ndarray:
    """The classes (H, W) uint8, 0 = background, of a file of SBD.

    Raises:
        UserError: when it is damaged or another file.
    """
    try:
        return np.asarray(read_mat(path, "GTcls")["Segmentation"][0, 0], np.uint8)
    except (ValueError, IndexError, TypeError) as error:
        raise UserError(f"{path} is not a class mask of SBD") from error


def _write_list(root: Path, year: str, name: str, ids: list[str]) -> WrittenList:
    path = root / f"VOC{year}" / "ImageSets" / "Main" / f"{name}.txt"
    state = "written"
    if path.is_file():
        state = "there already" if set(read_ids(root, year, name)) == set(ids) else "there already, but different"
    else:
        write_text(path, "".join(f"{one}\n" for one in ids))
    return WrittenList(path, len(ids), state)
