"""Predict depth, surface normals and semantics of panoramas with a trained checkpoint.

    python predict_elite360m.py --checkpoint RUN_OR_FILE --input FILE_OR_FOLDER --out DIR

Writes for each picture, at the size that the network was trained on:

    NAME_panel.png    the picture and the predictions, with a scale in metres and the names of the classes
    NAME_depth.npy    (H, W) float32, metres along the ray
    NAME_normal.npy   (H, W, 3) float32, unit vectors in the camera frame (x right, y down, z forward), to the camera
    NAME_labels.png   (H, W) 8-bit class labels; the panel's legend names them in order
"""

from utils.options import predict_parser

if __name__ == "__main__":
    OPTIONS = predict_parser().parse_args()  # before torch is imported: --help and wrong flags are answered at once

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from datasets.panorama import resize_rgb
from networks.elite360m import Elite360M
from tasks import TASKS
from utils.checkpoint import ModelSettings, find_checkpoint, load_checkpoint
from utils.distributed import process_group
from utils.errors import UserError, exit_on_user_error
from utils.files import atomic_path
from utils.images import list_images, read_panorama
from utils.memory import keep_freed_memory
from utils.pictures import maps_panel
from utils.visualize import legend, save_picture


def main(options: argparse.Namespace) -> None:
    """Predict as the command line says."""
    images = list_images(Path(options.input))
    check_names(images, Path(options.out))
    keep_freed_memory()
    with process_group(options.gpu_devices) as device:
        checkpoint = load_checkpoint(find_checkpoint(options.checkpoint))
        network = checkpoint.build_network().to(device).eval()
        for path in tqdm(images, unit="image", dynamic_ncols=True):
            rgb = resize_rgb(read_panorama(path), checkpoint.settings.height, checkpoint.settings.width)
            maps = predict(network, rgb, device)
            write(Path(options.out) / path.stem, rgb, maps, checkpoint.settings)
    print(f"{len(images)} written to {options.out}")


def check_names(images: list[Path], out: Path) -> None:
    """Make sure that no result will overwrite another, or be taken for a panorama the next time.

    Raises:
        UserError: when two pictures differ in their suffix alone, or results would lie among the pictures.
    """
    by_stem = {path.stem: path for path in images}
    for path in images:
        if by_stem[path.stem] != path:
            raise UserError(f"{path} and {by_stem[path.stem].name} would be written to the same names: rename one")
    if out.resolve() == images[0].parent.resolve():
        raise UserError(f"--out {out} is where the pictures are: choose another folder")


@torch.no_grad()
def predict(network: Elite360M, rgb: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Predictions of one panorama (H, W, 3) uint8: a map per task, see `tasks.display`."""
    batch = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
    return {task: TASKS[task].display.as_map(prediction[0]) for task, prediction in network(batch).items()}


def write(stem: Path, rgb: np.ndarray, maps: dict[str, np.ndarray], settings: ModelSettings) -> None:
    """Write the maps of one panorama, and a panel that shows them, as STEM_*."""
    for task, values in maps.items():
        if task == "segmentation":
            save_picture(stem.with_name(f"{stem.name}_labels.png"), values)
        else:
            save_array(stem.with_name(f"{stem.name}_{task}.npy"), values)
    picture = maps_panel(rgb, maps, settings.look)
    if "segmentation" in maps:
        picture = np.vstack([picture, legend(settings.class_names, settings.class_colours, picture.shape[1])])
    save_picture(stem.with_name(f"{stem.name}_panel.png"), picture)


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy, atomically."""
    with atomic_path(path) as temporary:
        np.save(temporary, array)


if __name__ == "__main__":
    with exit_on_user_error():
        main(OPTIONS)
