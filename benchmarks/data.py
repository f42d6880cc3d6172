"""Loading time per sample of one worker, relative to only decoding its four images.

    python -m benchmarks.data

Writes synthetic rooms in the formats of the datasets, and reads them at the stored size.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from datasets.loading import training_batches
from datasets.on_disk import PanoramaFiles
from datasets.panorama import unpack
from datasets.preparation.synthetic_layouts import LAYOUTS, write_dataset
from options.data import loading_settings, training_set
from options.elite360m import train_parser
from options.parser import Parser, positive

READS = 60  # samples per measurement
REPEATS = 5  # alternating measurements of each kind
NO_TURNS = ("--disable_yaw_rotation_augmentation", "--disable_LR_flip_augmentation")


def decode(root: Path, files: PanoramaFiles) -> list[np.ndarray]:
    """The baseline: only decode the four images with OpenCV."""
    flags = {
        files.rgb: cv2.IMREAD_COLOR,
        files.depth: cv2.IMREAD_UNCHANGED,
        files.semantic: cv2.IMREAD_UNCHANGED,
        files.normal: cv2.IMREAD_COLOR,
    }
    return [cv2.imdecode(np.fromfile(root / path, np.uint8), flag) for path, flag in flags.items()]


def decoding_time(options: argparse.Namespace) -> float:
    """Seconds per sample to decode the images in this process."""
    dataset = training_set(options)
    start = time.perf_counter()
    for i in range(READS):
        decode(dataset.root, dataset.files[i % len(dataset)])
    return (time.perf_counter() - start) / READS


def loading_time(options: argparse.Namespace) -> float:
    """Seconds per sample of one worker, from reading files to the arrival of packed batches in this process."""
    dataset = training_set(options)
    dataset.files = (dataset.files * (READS + 4 * options.batch_size))[: READS + 4 * options.batch_size]
    batches = training_batches(dataset, loading_settings(options), options.seed, torch.device("cpu")).packed()
    for _ in range(4):  # the worker starts and fills its queue
        next(batches)
    start = time.perf_counter()
    samples = sum(len(batch["rgb"]) for batch in batches)
    return (time.perf_counter() - start) / samples


def unpacking_time(options: argparse.Namespace) -> float:
    """Seconds per sample to unpack batches to float maps on the CPU, as the main process (or a GPU) does."""
    dataset = training_set(options)
    batch = next(training_batches(dataset, loading_settings(options), options.seed, torch.device("cpu")).packed())
    start = time.perf_counter()
    for _ in range(READS):
        unpack(batch)
    return (time.perf_counter() - start) / (READS * len(batch["rgb"]))


def measure(arguments: list[str]) -> dict[str, np.ndarray]:
    """Seconds per sample of each kind, alternating so that slow phases of the machine affect all."""
    jittered = train_parser().parse_args(arguments)
    turned = train_parser().parse_args([*arguments, "--disable_color_augmentation"])
    plain = train_parser().parse_args([*arguments, "--disable_color_augmentation", *NO_TURNS])
    times = [
        (decoding_time(plain), *map(loading_time, (plain, turned, jittered)), unpacking_time(plain))
        for _ in range(REPEATS)
    ]
    return dict(zip(("decoding", "plain", "turned", "jittered", "unpacking"), np.array(times).T, strict=True))


def main() -> None:
    """Print a table of milliseconds per sample, and ratios to decoding."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--height", type=positive, default=512, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--batch_size", type=positive, default=2, metavar="N", help="batch size")
    options = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    print("ms per sample (ratio to decoding only)")
    print("dataset  decoding  one worker    and turns     and colors   unpacking")
    for layout in LAYOUTS:
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(layout, num=4, out=Path(folder), height=options.height)
            size = ["--height", str(options.height), "--width", str(2 * options.height)]
            reading = ["--dataset_rootdir", folder, "--batch_size", str(options.batch_size), "--num_workers", "1"]
            times = measure(["--dataset", layout, *size, *reading])
        base = times.pop("decoding")
        cells = (f"{1e3 * np.median(seconds):.1f} ({np.median(seconds / base):.2f})" for seconds in times.values())
        print(f"{layout:8} {1e3 * np.median(base):8.1f}  " + "  ".join(f"{cell:12}" for cell in cells))


if __name__ == "__main__":
    main()
