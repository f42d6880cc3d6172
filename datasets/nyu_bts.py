"""NYU v2 as prepared for BTS, with depth only, 24,231 training and 654 test images: --dataset NYU_BTS.

* **Files**: the lists ``nyudepthv2_{train,test}_files_with_gt.txt`` in the folder, or in its ``NYU``. Each line has the
  paths of RGB and depth, relative to ``sync`` (training) or ``official_splits/test``, and the focal length (unused).
* **Depth**: 16-bit millimeters along the optical axis, 0 = missing.
* **Validation images** ("val"): a tenth of the training images, in whole scenes (the first folder of their paths).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from datasets.classes import SemanticClasses
from datasets.held_out import indices_of_split
from datasets.perspective import PerspectiveDataset, PerspectiveImage, without_maps
from utils.errors import UserError
from utils.images import ImageFile

LIST_NAME = "nyudepthv2_{}_files_with_gt.txt"
FOLDERS = {"train": "sync", "test": "official_splits/test"}
_MILLIMETERS = np.float32(1000)


class NYUBTS(PerspectiveDataset):
    """See the top of this file, and `PerspectiveDataset` for the other arguments.

    Args:
        root: the folder.
        split: "train", "val" (part of the training images) or "test".
        hold_out_val: whether "train" excludes the images of "val".

    Attributes:
        files: paths of RGB and depth of each image, as in the list.

    Raises:
        UserError: when the list is missing or malformed, or the split is empty.
    """

    name = "NYU_BTS"
    classes = SemanticClasses((), ())
    labeled_tasks = ("depth",)

    def __init__(
        self,
        root: str | Path,
        split: str,
        height: int,
        width: int,
        augment: Callable[[PerspectiveImage, int, int], PerspectiveImage] | None = None,
        hold_out_val: bool = False,
        tasks: tuple[str, ...] = labeled_tasks,
    ):
        super().__init__(height, width, augment, tasks)
        root = Path(root)
        part = "test" if split == "test" else "train"
        self.split = split
        self.root = root if (root / LIST_NAME.format(part)).is_file() else root / "NYU"
        self.files = _read_list(self.root / LIST_NAME.format(part))
        self._folder = self.root / FOLDERS[part]
        names = self.sample_names()
        chosen = indices_of_split(split, names, [name.partition("/")[0] for name in names], hold_out_val)
        self.files = [self.files[index] for index in chosen]
        if not self.files:
            raise UserError(f"{self.root} has no image of the split {split}")

    def __len__(self) -> int:
        return len(self.files)

    def sample_names(self) -> list[str]:
        return [rgb for rgb, _ in self.files]

    def missing_files(self) -> list[str]:
        needed = 2 if "depth" in self.tasks else 1
        paths = (self._folder / path for files in self.files for path in files[:needed])
        return [str(path) for path in paths if not path.is_file()]

    def read(self, index: int) -> PerspectiveImage:
        """Read an image as stored.

        Raises:
            UserError: when one of its files is missing, damaged or in the wrong format.
        """
        rgb, depth = self.files[index]
        image = without_maps(ImageFile(self._folder / rgb).rgb(), str(Path(rgb).with_suffix("")))
        if "depth" in self.tasks:
            image.depth = ImageFile(self._folder / depth).single_channel("depth", bits=16) / _MILLIMETERS
            if image.depth.shape != image.rgb.shape[:2]:
                raise UserError(f"{self._folder / depth} differs in size from the image")
        return image


def _read_list(path: Path) -> list[tuple[str, str]]:
    """Read the paths of RGB and depth."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing: add the lists of the BTS preparation") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    if any(len(line) < 2 for line in lines):
        raise UserError(f"{path}: each line must have the paths of RGB and depth")
    return [(line[0].lstrip("/"), line[1].lstrip("/")) for line in lines]
