"""Unofficial lists and masks of VOC, made from the official ones and those of SBD (Hariharan et al., ICCV 2011).

* **Training list** of a year: the images of ``trainval`` of detection and of segmentation, for 2012 also those of SBD,
  without the test images: ``test`` of 2007 and ``val`` of segmentation of 2012. VOC2012 also contains images of 2007,
  number 000032 as 2007_000032: a test image is excluded under both names.
* **Test list** of segmentation: its ``val`` of 2012.
* **Masks** of training images: the official one or, without one, SBD's.
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

DIFFERS = "exists already, but differs"


@dataclass(frozen=True)
class WrittenList:
    """Result for one list.

    Attributes:
        path: path of the file.
        count: number of images that it should contain.
        state: "written", "exists already", or `DIFFERS`.
    """

    path: Path
    count: int
    state: str


@dataclass(frozen=True)
class Summary:
    """Result of a preparation.

    Attributes:
        lists: results for all lists.
        masks: for each year, the number of training images with masks, and the number of masks written in this run.
    """

    lists: list[WrittenList]
    masks: dict[str, tuple[int, int]]


def prepare(root: Path, sbd: Path | None = None) -> Summary:
    """Write missing lists and masks; existing files are not changed, so that an interrupted run can be repeated.

    Args:
        root: see `datasets.voc.find_voc`.
        sbd: folder of SBD (see `find_sbd`); None: without its masks.

    Raises:
        UserError: when official lists are missing, `sbd` is not SBD, one of its masks is damaged, or scipy, which reads
            them, is missing.
    """
    root = find_voc(root)
    sbd_masks = find_sbd(sbd) if sbd else {}
    lists = {year: training_ids(root, year, list(sbd_masks) if year == "2012" else []) for year in YEARS}
    masks = {}
    for year, ids in lists.items():
        sources = {image_id: sbd_masks[image_id] for image_id in ids if year == "2012" and image_id in sbd_masks}
        for image_id in ids:
            official = root / f"VOC{year}" / "SegmentationClass" / f"{image_id}.png"
            sources |= {image_id: official} if official.is_file() else {}
        folder = root / f"VOC{year}" / "SegmentationClassAug"
        todo = [path for image_id, path in sources.items() if not (folder / f"{image_id}.png").exists()]
        for path in tqdm(todo, f"masks of {year}", unit="file", dynamic_ncols=True):
            write_mask(path, folder)
        masks[year] = sum((folder / f"{image_id}.png").exists() for image_id in ids), len(todo)
    written = [_write_list(root, year, TRAIN_LIST, ids) for year, ids in lists.items()]
    segmentation = read_ids(root, "2012", "val", "Segmentation")
    return Summary([*written, _write_list(root, "2012", SEGMENTATION_TEST_LIST, segmentation)], masks)


def training_ids(root: Path, year: str, sbd_ids: list[str]) -> list[str]:
    """The sorted training list of a year, see the top of this file."""
    test_images = {same_image("2007", image_id) for image_id in read_ids(root, "2007", "test")}
    test_images |= {same_image("2012", image_id) for image_id in read_ids(root, "2012", "val", "Segmentation")}
    ids = {*read_ids(root, year, "trainval"), *read_ids(root, year, "trainval", "Segmentation"), *sbd_ids}
    return sorted(image_id for image_id in ids if same_image(year, image_id) not in test_images)


def find_sbd(folder: Path) -> dict[str, Path]:
    """The files of SBD's class masks by image id; `folder` is the one of ``cls``, or one or two above.

    Raises:
        UserError: when there are none.
    """
    for place in (folder, folder / "dataset", folder / "benchmark_RELEASE" / "dataset"):
        if (place / "cls").is_dir():
            return {path.stem: path for path in sorted((place / "cls").glob("[!.]*.mat"))}
    raise UserError(f"--sbd {folder} does not contain SBD: expected cls/*.mat or dataset/cls/*.mat")


def write_mask(source: Path, folder: Path) -> None:
    """Write a mask, from an official .png or a .mat of SBD, to a folder."""
    target = folder / f"{source.stem}.png"
    if source.suffix == ".mat":
        save_image(target, read_sbd(source))
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def read_sbd(path: Path) -> np.ndarray:
    """The classes (H, W) uint8, 0 = background, in a file of SBD.

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
        state = "exists already" if set(read_ids(root, year, name)) == set(ids) else DIFFERS
    else:
        write_text(path, "".join(f"{image_id}\n" for image_id in ids))
    return WrittenList(path, len(ids), state)
