"""Writes synthetic rooms in the layouts of the copies of NYU v2 (see `datasets.nyuv2_layouts`)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.nyuv2_layouts import (
    ASTMTLayout,
    ATRCLayout,
    ListLayout,
    MTINetLayout,
    NpyLayout,
    stored_camera,
    window_of,
)
from datasets.nyuv2_owners import MAPPING, SPLITS, OwnersFile
from datasets.perspective import PerspectiveImage
from datasets.preparation.pinhole_normals import NORMAL_AXES
from datasets.preparation.synthetic_layouts import claim
from datasets.synthetic_nyu import SyntheticNYU
from utils.extras import import_extra
from utils.files import atomic_path, write_text
from utils.parallel import map_with_progress

STORED_AXES = "left-up-back"  # not our own axes, to test that they are detected
JPEG_QUALITY = 95
_ROWS_PER_GROUP = 2  # of a parquet file
_ROWS_PER_FILE = 4
_NUM_OWNERS_LABELS = 894


class NYUWriter(ABC):
    """Writes images in one of the layouts.

    Attributes:
        is_window, num_classes: see `datasets.nyuv2_layouts.Layout`.
        libraries: required modules.
    """

    is_window: bool = True
    num_classes: int = 40
    libraries: tuple[str, ...] = ()

    def size(self, height: int) -> tuple[int, int]:
        """Size H x W of the stored images, if the camera's images have `height` rows."""
        return window_of(height, height * 4 // 3)[2:]

    @abstractmethod
    def write(self, out: Path, train: Sequence[PerspectiveImage], test: Sequence[PerspectiveImage]) -> None:
        """Write all images to a folder; their normals must be along the stored axes."""


class NpyWriter(NYUWriter):
    """Layout M."""

    num_classes = 13

    def size(self, height: int) -> tuple[int, int]:
        return round(height * 0.6), round(height * 0.8)

    def write(self, out: Path, train: Sequence[PerspectiveImage], test: Sequence[PerspectiveImage]) -> None:
        layout = NpyLayout(out)
        for folder, images in (("train", train), ("val", test)):
            for number, image in enumerate(images):
                for kind, array in npy_arrays(image).items():
                    save_npy(layout.path(f"{folder}/{number}", kind), array)


class HubWriter(NpyWriter):
    """Layout H."""

    libraries = ("pyarrow", "pyarrow.parquet")

    def write(self, out: Path, train: Sequence[PerspectiveImage], test: Sequence[PerspectiveImage]) -> None:
        pyarrow, parquet = (import_extra(name, "--layout NYUv2-H") for name in self.libraries)
        for folder, images in (("train", train), ("val", test)):
            files = -(-len(images) // _ROWS_PER_FILE)
            for number in range(files):
                rows = [_hub_row(image) for image in images[number * _ROWS_PER_FILE :][:_ROWS_PER_FILE]]
                nested = pyarrow.list_(pyarrow.list_(pyarrow.float32()))
                columns = {
                    "image": pyarrow.list_(nested),
                    "segmentation": pyarrow.list_(pyarrow.list_(pyarrow.int64())),
                    **dict.fromkeys(("depth", "normal", "noise"), pyarrow.list_(nested)),
                }
                table = pyarrow.table(
                    {name: pyarrow.array([row[name].tolist() for row in rows], kind) for name, kind in columns.items()}
                )
                with atomic_path(out / "data" / f"{folder}-{number:05d}-of-{files:05d}.parquet") as temporary:
                    parquet.write_table(table, temporary, row_group_size=_ROWS_PER_GROUP)


class ListWriter(NYUWriter):
    """Layout A, B or C."""

    def __init__(self, layout: type[ListLayout]):
        self._layout = layout
        self.libraries = ("scipy.io",) if ".mat" in layout.suffixes.values() else ()

    def write(self, out: Path, train: Sequence[PerspectiveImage], test: Sequence[PerspectiveImage]) -> None:
        layout = self._layout(out)
        numbers = iter(range(1, len(train) + len(test) + 1))
        for part, images in (("train", train), ("val", test)):
            ids = [f"{number:04d}" for _, number in zip(images, numbers, strict=False)]
            for image_id, image in zip(ids, images, strict=True):
                write_maps(layout, image_id, image)
            write_text(out / "gt_sets" / f"{part}.txt", "".join(f"{image_id}\n" for image_id in ids))


class OwnersWriter(NYUWriter):
    """Layout O, with normals in Eigen's format."""

    is_window = False
    libraries = ("h5py", "scipy.io")

    def size(self, height: int) -> tuple[int, int]:
        return height, height * 4 // 3

    def write(self, out: Path, train: Sequence[PerspectiveImage], test: Sequence[PerspectiveImage]) -> None:
        h5py, scipy = (import_extra(name, "--layout NYUv2-O") for name in self.libraries)
        images = [image for pair in zip(test, train, strict=True) for image in pair]  # test 1, 3, ...; train 2, 4, ...
        numbers = np.arange(1, len(images) + 1, dtype=np.uint16)[:, None]
        framed = [_with_frame(image) for image in images]
        with atomic_path(out / OwnersFile.NAME) as temporary, h5py.File(temporary, "w", userblock_size=512) as file:
            file["images"] = np.stack([image.rgb.T for image in framed])
            file["labels"] = np.stack([(image.semantic.T + 1).astype(np.uint16) for image in framed])
            file["rawDepths"] = np.stack([image.depth.T for image in framed])
            file["depths"] = np.stack([_filled(image.depth).T for image in images])
            names = [file.create_dataset(f"#refs#/{n}", data=_characters(f"room_{n:04d}")) for n in range(len(images))]
            file["scenes"] = np.array([[name.ref for name in names]], dtype=h5py.ref_dtype)
        mapping = np.minimum(np.arange(1, _NUM_OWNERS_LABELS + 1), 40).astype(np.float64)[None]
        with atomic_path(out / SPLITS) as temporary:
            scipy.savemat(temporary, {"trainNdxs": numbers[1::2], "testNdxs": numbers[::2]})
        with atomic_path(out / MAPPING) as temporary:
            scipy.savemat(temporary, {"mapClass": mapping})
        for number, image in enumerate(framed):
            normal = np.rint(image.normal * 127 + 127).astype(np.uint8)
            save_image(out / "normals_gt" / "normals" / f"{number:04d}.png", normal)
            mask = image.normal.any(axis=-1) * np.uint8(255)
            save_image(out / "normals_gt" / "masks" / f"{number:04d}.png", mask)


NYU_WRITERS: dict[str, NYUWriter] = {
    "NYUv2-M": NpyWriter(),
    "NYUv2-H": HubWriter(),
    "NYUv2-A": ListWriter(ASTMTLayout),
    "NYUv2-B": ListWriter(MTINetLayout),
    "NYUv2-C": ListWriter(ATRCLayout),
    "NYUv2-O": OwnersWriter(),
}


def write_nyu_dataset(
    layout_name: str, num: int, out: Path, height: int = 480, first_seed: int = 0, num_workers: int | None = 0
) -> None:
    """Write `num` images for training and `num` for testing.

    Args:
        layout_name: a key of `NYU_WRITERS`.
        height: rows of the camera's images; most layouts store a window of them, or smaller images.

    Raises:
        UserError: when the folder has other content, or a library is missing.
    """
    for library in NYU_WRITERS[layout_name].libraries:
        import_extra(library, f"--layout {layout_name}")
    counts = {"train": num, "test": num}
    claim(out, {"layout": layout_name, "counts": counts, "height": height, "seed": first_seed})
    images = {}
    for part in counts:
        work = partial(render_stored, layout_name=layout_name, part=part, height=height, first_seed=first_seed)
        progress = f"rendering {layout_name} {part}"
        images[part] = list(map_with_progress(work, range(num), num_workers, progress))
    NYU_WRITERS[layout_name].write(out, images["train"], images["test"])


def render_stored(index: int, layout_name: str, part: str, height: int, first_seed: int = 0) -> PerspectiveImage:
    """The image with this index in the size of a layout, with normals along `STORED_AXES`."""
    writer = NYU_WRITERS[layout_name]
    camera = stored_camera(writer.is_window, *writer.size(height))
    rooms = SyntheticNYU(part, index + 1, camera.height, camera.width, seed=first_seed, num_classes=writer.num_classes)
    image = rooms.seen_by(camera, index)
    image.normal = image.normal * NORMAL_AXES[STORED_AXES]
    return image


def write_maps(layout: ListLayout, image_id: str, image: PerspectiveImage) -> None:
    """Write the four files of an image in layout A, B or C; its normals must be along the stored axes."""
    paths = {kind: layout.path(image_id, kind) for kind in layout.FOLDERS}
    save_image(paths["rgb"], image.rgb)
    ids = (image.semantic + 1).astype(np.uint8)
    for kind, key, array in (("depth", "depth", image.depth), ("semantic", "segmentation", ids)):
        if paths[kind].suffix == ".mat":
            scipy = import_extra("scipy.io", "--layout NYUv2-A")
            with atomic_path(paths[kind]) as temporary:
                scipy.savemat(temporary, {key: array}, do_compression=True)
        elif kind == "depth":
            save_npy(paths[kind], array)
        else:
            save_image(paths[kind], array)
    if paths["normal"].suffix == ".npy":
        save_npy(paths["normal"], image.normal)
    else:
        save_image(paths["normal"], np.rint((image.normal + 1) * 127.5).astype(np.uint8))


def npy_arrays(image: PerspectiveImage) -> dict[str, np.ndarray]:
    """The arrays of layout M by kind, for an image with labels of the 13 classes."""
    return {
        "rgb": image.rgb.astype(np.float32) / 255,
        "depth": image.depth[..., None],
        "normal": image.normal,
        "semantic": image.semantic.astype(np.float32),
    }


def save_npy(path: Path, array: np.ndarray) -> None:
    """Write an array atomically."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)


def save_image(path: Path, image: np.ndarray) -> None:
    """Write an image atomically, with high quality if it is a JPEG file."""
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if path.suffix == ".jpg" else {}
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, **options)


def _hub_row(image: PerspectiveImage) -> dict[str, np.ndarray]:
    """The columns of a row of layout H, with channels first."""
    arrays = npy_arrays(image)
    noise = np.random.default_rng(0).random((1, *image.size), np.float32)
    return {
        "image": arrays["rgb"].transpose(2, 0, 1),
        "segmentation": arrays["semantic"].astype(np.int64),
        "depth": arrays["depth"].transpose(2, 0, 1),
        "normal": arrays["normal"].transpose(2, 0, 1),
        "noise": noise,
    }


def _with_frame(image: PerspectiveImage) -> PerspectiveImage:
    """The image with the owners' white frame, which has no ground truth."""
    top, left, height, width = window_of(*image.size)
    inner = image.cropped(top, left, height, width).padded(*image.size, top, left)
    inside = np.zeros(image.size, bool)
    inside[top : top + height, left : left + width] = True
    inner.rgb[~inside] = 255
    return inner


def _filled(depth: np.ndarray) -> np.ndarray:
    """Depth with holes filled by the median of the valid depth."""
    return np.where(depth > 0, depth, np.median(depth[depth > 0])).astype(np.float32)


def _characters(text: str) -> np.ndarray:
    """A text (N, 1) uint16 as MATLAB stores it."""
    return np.frombuffer(text.encode("utf-16-le"), np.uint16)[:, None]
