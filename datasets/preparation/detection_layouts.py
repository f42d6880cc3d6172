"""Writes synthetic images in the layouts of VOC, COCO (colored shapes) and NYU v2 for BTS (rooms).

See `datasets.voc`, `datasets.coco` and `datasets.nyu_bts`.
"""

import json
from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.coco_labels import COCO_CLASSES, ID_OF_LABEL
from datasets.nyu_bts import FOLDERS, LIST_NAME
from datasets.nyuv2_layouts import NYU_CAMERA
from datasets.perspective import PerspectiveImage
from datasets.preparation.drawn_shapes import DrawnImage, Shape, draw_image
from datasets.preparation.nyu_layouts import save_image
from datasets.preparation.synthetic_layouts import claim
from datasets.synthetic_nyu import SyntheticNYU
from datasets.voc import VOC_CLASSES
from utils.extras import import_extra
from utils.files import atomic_path, write_text
from utils.parallel import map_with_progress

_BORDER = 255
_SKY = 157  # category of stuff, used as background
_MILLIMETERS = 1000  # per meter
_IMAGES_PER_SCENE = 2


class DetectionWriter(ABC):
    """Writes images in the layout of one dataset.

    Attributes:
        libraries: required modules.
        is_slow: whether it is worth making images in several processes, which take seconds to start.
    """

    libraries: tuple[str, ...] = ()
    is_slow: bool = False

    @abstractmethod
    def make(self, index: int, part: str, height: int, seed: int) -> DrawnImage | PerspectiveImage:
        """The image with this index in "train" or "test", with an aspect ratio of 4:3."""

    @abstractmethod
    def write(self, out: Path, part: str, images: list) -> None:
        """Write all images of a part to a folder."""


class VOCWriter(DetectionWriter):
    """VOC and SBD, without the lists that `tools.prepare_voc` writes.

    Images belong to 2007 and 2012 alternately. Special shapes are difficult objects. Half of the images have an
    official mask; the other training images of 2012 have one of SBD.
    """

    libraries = ("scipy.io",)

    def make(self, index: int, part: str, height: int, seed: int) -> DrawnImage:
        return draw_image(index, part, height, height * 4 // 3, len(VOC_CLASSES) - 1, seed)

    def write(self, out: Path, part: str, images: list[DrawnImage]) -> None:
        lists: dict[str, list[str]] = {}
        first = 1 if part == "train" else 5001
        for number, image in enumerate(images):
            year = ("2007", "2012")[number % 2]
            image_id = f"{first + number:06d}" if year == "2007" else f"2008_{first + number:06d}"
            folder = out / f"VOC{year}"
            save_image(folder / "JPEGImages" / f"{image_id}.jpg", image.rgb)
            write_text(folder / "Annotations" / f"{image_id}.xml", _voc_xml(image_id, image))
            if number % 4 < 2:
                save_voc_mask(folder / "SegmentationClass" / f"{image_id}.png", image.labels(_BORDER))
            elif (year, part) == ("2012", "train"):
                _save_sbd(out / "benchmark_RELEASE" / "dataset" / "cls" / f"{image_id}.mat", image.labels(0))
            lists.setdefault(f"{year}/all", []).append(image_id)
            lists.setdefault(f"{year}/masked", []).extend([image_id] * (number % 4 < 2))
        names = (
            {"2007/all": ["Main/trainval"], "2012/all": ["Main/trainval"]}
            | {"2007/masked": ["Segmentation/trainval"], "2012/masked": ["Segmentation/trainval"]}
            if part == "train"
            else {"2007/all": ["Main/test"], "2012/masked": ["Segmentation/val"]}
        )
        for key, files in names.items():
            for name in files:
                path = out / f"VOC{key[:4]}" / "ImageSets" / f"{name}.txt"
                write_text(path, "".join(f"{image_id}\n" for image_id in lists.get(key, [])))


class COCOWriter(DetectionWriter):
    """COCO 2017 with the label maps of COCO-Stuff, which store category ids minus 1. Special shapes are crowds."""

    def make(self, index: int, part: str, height: int, seed: int) -> DrawnImage:
        return draw_image(index, part, height, height * 4 // 3, len(COCO_CLASSES) - 1, seed)

    def write(self, out: Path, part: str, images: list[DrawnImage]) -> None:
        folder = "train2017" if part == "train" else "val2017"
        content: dict[str, list] = {"images": [], "annotations": []}
        content["categories"] = [{"id": id_, "name": COCO_CLASSES.names[label]} for label, id_ in ID_OF_LABEL.items()]
        table = np.array([_SKY, *ID_OF_LABEL.values()], np.uint8) - 1
        for number, image in enumerate(images, start=1 if part == "train" else 500_001):
            height, width = image.rgb.shape[:2]
            name = f"{number:012d}"
            save_image(out / "images" / folder / f"{name}.jpg", image.rgb)
            labels = image.labels(_BORDER)
            stuff = np.where(labels == _BORDER, np.uint8(_BORDER), table[np.where(labels == _BORDER, 0, labels)])
            save_image(out / "stuff" / folder / f"{name}.png", stuff)
            content["images"].append({"id": number, "file_name": f"{name}.jpg", "height": height, "width": width})
            for shape in image.shapes:
                content["annotations"].append(
                    _coco_annotation(shape) | {"id": len(content["annotations"]) + 1, "image_id": number}
                )
        write_text(out / "annotations" / f"instances_{folder}.json", json.dumps(content))


class NYUBTSWriter(DetectionWriter):
    """NYU v2 for BTS: rooms, two images per scene."""

    is_slow = True

    def make(self, index: int, part: str, height: int, seed: int) -> PerspectiveImage:
        camera = NYU_CAMERA.scaled(height, height * 4 // 3)
        return SyntheticNYU(part, index + 1, camera.height, camera.width, seed=seed).read(index)

    def write(self, out: Path, part: str, images: list[PerspectiveImage]) -> None:
        lines = []
        for number, image in enumerate(images):
            scene = f"room_{number // _IMAGES_PER_SCENE:04d}"
            rgb, depth = f"{scene}/rgb_{number:05d}.jpg", f"{scene}/sync_depth_{number:05d}.png"
            save_image(out / FOLDERS[part] / rgb, image.rgb)
            save_image(out / FOLDERS[part] / depth, np.rint(image.depth * _MILLIMETERS).astype(np.uint16))
            lines.append(f"/{rgb} /{depth} {NYU_CAMERA.fx}\n")
        write_text(out / LIST_NAME.format(part), "".join(lines))


DETECTION_WRITERS: dict[str, DetectionWriter] = {"VOC": VOCWriter(), "COCO": COCOWriter(), "NYU_BTS": NYUBTSWriter()}


def write_detection_dataset(
    layout_name: str, num: int, out: Path, height: int = 375, first_seed: int = 0, num_workers: int | None = 0
) -> None:
    """Write `num` images for training and `num` for testing.

    Args:
        layout_name: a key of `DETECTION_WRITERS`.
        height: rows of the images.

    Raises:
        UserError: when the folder has other content, or a library is missing.
    """
    writer = DETECTION_WRITERS[layout_name]
    for library in writer.libraries:
        import_extra(library, f"--layout {layout_name}")
    counts = {"train": num, "test": num}
    claim(out, {"layout": layout_name, "counts": counts, "height": height, "seed": first_seed})
    for part in counts:
        work = partial(writer.make, part=part, height=height, seed=first_seed)
        processes = num_workers if writer.is_slow else 0
        images = map_with_progress(work, range(num), processes, f"drawing {layout_name} {part}")
        writer.write(out, part, list(images))


def save_voc_mask(path: Path, labels: np.ndarray) -> None:
    """Write a mask (H, W) uint8 like the official ones: a palette image whose indices are the classes."""
    image = Image.fromarray(labels)
    image.putpalette(np.ravel(VOC_CLASSES.colors + ((255, 255, 255),) * (256 - len(VOC_CLASSES))).tolist())
    with atomic_path(path) as temporary:
        image.save(temporary)


def _voc_xml(image_id: str, image: DrawnImage) -> str:
    """Content of an annotation file, with pixels counted from 1."""
    height, width = image.rgb.shape[:2]
    objects = ""
    for shape in image.shapes:
        corners = zip(("xmin", "ymin", "xmax", "ymax"), shape.bounds(), strict=True)
        box = "".join(f"<{name}>{pixel + 1}</{name}>" for name, pixel in corners)
        objects += (
            f"<object><name>{VOC_CLASSES.names[shape.label]}</name><difficult>{int(shape.is_special)}</difficult>"
            f"<bndbox>{box}</bndbox></object>\n"
        )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{image_id}.jpg</filename>{size}\n{objects}</annotation>\n"


def _save_sbd(path: Path, labels: np.ndarray) -> None:
    scipy = import_extra("scipy.io", "--layout VOC")
    with atomic_path(path) as temporary:
        scipy.savemat(temporary, {"GTcls": {"Segmentation": labels}}, do_compression=True)


def _coco_annotation(shape: Shape) -> dict:
    """Annotation of a shape without its ids, with a polygon, or run lengths for a crowd."""
    x1, y1, x2, y2 = shape.bounds()
    outline: list | dict = [shape.outline.ravel().tolist()]
    if shape.is_special:
        pixels = np.concatenate([[False], shape.mask.ravel(order="F"), [False]])  # the first run is outside
        ends = np.flatnonzero(np.diff(pixels.astype(np.int8)))
        runs = np.diff(np.concatenate([[0], ends, [shape.mask.size]]))
        outline = {"size": list(shape.mask.shape), "counts": runs.tolist()}
    return {
        "category_id": ID_OF_LABEL[shape.label],
        "iscrowd": int(shape.is_special),
        "bbox": [x1, y1, x2 - x1 + 1, y2 - y1 + 1],
        "area": int(shape.mask.sum()),
        "segmentation": outline,
    }
