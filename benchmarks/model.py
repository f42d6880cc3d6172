"""Time and memory of the network, relative to the plain formulas and to the machine's limit.

    python -m benchmarks.model

Compares networks/ with benchmarks/plain.py, which has the same weights and computes the same function. Runs on the GPU
if there is one.
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path

# Must not import torch: on Linux, the peak memory of a process includes its parent's memory at the start.
import numpy as np
from tqdm import tqdm

from benchmarks.plot import log_log_chart
from benchmarks.processes import GB, ROOT, measure_in_process
from networks.backbones import BACKBONES
from options.parser import Parser, positive
from utils.errors import UserError, exit_on_user_error
from utils.files import write_text
from visual.drawing import save_image

# Warm-up and timed calls per process; fewer for slow calls.
EFFORT = {
    ("inference", "plain"): {"warm_ups": 1, "calls": 3},
    ("inference", "ours"): {"warm_ups": 2, "calls": 10},
    ("training", "plain"): {"warm_ups": 1, "calls": 1},
    ("training", "ours"): {"warm_ups": 1, "calls": 3},
}
NUM_EVALUATED = 12  # panoramas
SCALING_EFFORT = {"warm_ups": 1, "calls": 3}
# (multiple of --height, batch size), smallest first.
SCALING = {
    ("inference", "size"): [(0.5, 1), (1, 1), (2, 1), (4, 1)],
    ("inference", "batch"): [(1, 1), (1, 2), (1, 4)],
    ("training", "size"): [(0.5, 1), (1, 1), (2, 1)],
    ("training", "batch"): [(0.5, 1), (0.5, 2), (0.5, 4)],
}


class Benchmark:
    """Runs workers, and prints and stores their measurements.

    Args:
        backbones: backbones to measure; start-up, evaluation and scaling use only the first.
        height: height of the panoramas in pixels, a multiple of 64.
        rounds: number of alternations of plain and ours.
        out: folder for scaling.png and model.json.
    """

    def __init__(self, backbones: list[str], height: int, rounds: int, out: Path):
        self.backbones = backbones
        self.height = height
        self.rounds = rounds
        self.out = out
        self.measurements: list[dict] = []

    def machine(self) -> None:
        """Print the machine and the versions."""
        machine = self._measure("machine")
        print(", ".join(f"{name} {value}" for name, value in machine.items()))

    def inference(self) -> None:
        """Compare inference on one panorama."""
        self._compare("inference", batch_size=1)

    def training(self) -> None:
        """Compare an optimizer step on two panoramas."""
        self._compare("training", batch_size=2)

    def startup(self) -> None:
        """Time predict_elite360m.py on one panorama, split into imports, first prediction and the rest."""
        backbone, rows = self.backbones[0], []
        with tempfile.TemporaryDirectory() as folder:
            self._measure("checkpoint", folder=folder, backbone=backbone, height=self.height)
            arguments = ["--checkpoint", f"{folder}/model.pth", "--input", f"{folder}/image.png"]
            for _ in self._progress(range(self.rounds), "startup"):
                first = self._measure("inference", **self._network("ours", backbone, 1), warm_ups=0, calls=1)["first"]
                row = {
                    "predict_elite360m.py": wall_clock(["predict_elite360m.py", *arguments, "--out", f"{folder}/out"]),
                    "importing torch and timm": wall_clock(["-c", "import torch, timm"]),
                    "the first prediction": first,
                }
                self.measurements.append({"measure": "startup", **row})
                rows.append(row)
        total, *parts = (np.median([row[name] for row in rows]) for name in rows[0])
        print(f"\nstart-up, {backbone}, 1 x {self.height} x {2 * self.height}")
        for name, seconds in zip(rows[0], (total, *parts), strict=True):
            print(f"{name:27} {seconds:8.2f} s")
        print(f"{'the rest':27} {total - sum(parts):8.2f} s")

    def evaluation(self) -> None:
        """Time an evaluation, split into reading, prediction and the rest."""
        backbone = self.backbones[0]
        with tempfile.TemporaryDirectory() as folder:
            rooms = ["--layout", "MP3D", "--num", str(NUM_EVALUATED), "--height", str(self.height)]
            wall_clock(["-m", "tools.make_synthetic_dataset", *rooms, "--out", folder])
            job = {"folder": folder, "backbone": backbone, "height": self.height}
            rows = [self._measure("evaluation", **job) for _ in self._progress(range(self.rounds), "evaluation")]
        total, reading, predicting = (
            np.median([row[key] for row in rows]) for key in ("whole", "reading", "predicting")
        )
        ratio = np.median([row["whole"] / (row["reading"] + row["predicting"]) for row in rows])
        print(f"\nevaluation, {backbone}, {NUM_EVALUATED} x {self.height} x {2 * self.height}, without workers")
        print(
            f"total {total:.2f} s, only reading {reading:.2f} s, only predicting {predicting:.2f} s; "
            f"total / (reading + predicting) {ratio:.2f}"
        )

    def floor(self) -> None:
        """Time the parts of the network, and compare with their multiply-adds at the peak rate of the machine."""
        for backbone in self.backbones:
            measured = self._measure("floor", backbone=backbone, height=self.height, **EFFORT["inference", "ours"])
            rate, parts = measured["multiply_adds_per_second"], measured["parts"]
            total = {key: sum(part[key] for part in parts.values()) for key in ("seconds", "multiply_adds")}
            print(f"\nparts, {backbone}, 1 x {self.height} x {2 * self.height}; rate: a large 3x3 convolution's")
            print(f"{'':20}  time (ms)  multiply-adds (G)  at {rate / 1e9:.0f} G/s (ms)  ratio")
            for name, part in {**parts, "all": total}.items():
                ideal = part["multiply_adds"] / rate
                ratio = f"{part['seconds'] / ideal:6.2f}" if ideal else "     -"
                cells = f"{1e3 * part['seconds']:9.1f}  {part['multiply_adds'] / 1e9:17.2f}  {1e3 * ideal:16.1f}"
                print(f"{name:20}  {cells}  {ratio}")
            self._training_floor(backbone, batch_size=2, multiply_adds=total["multiply_adds"])

    def _training_floor(self, backbone: str, batch_size: int, multiply_adds: float) -> None:
        """Time an optimizer step, compare with the multiply-adds of three inferences per panorama, and print memory."""
        measured = self._measure(
            "training", **self._network("ours", backbone, batch_size), **EFFORT["training", "ours"]
        )
        seconds, rate = np.median(measured["times"]), measured["multiply_adds_per_second"]
        ideal = 3 * batch_size * multiply_adds / rate
        peak, own = measured["peak_bytes"] / GB, (measured["peak_bytes"] - measured["built_bytes"]) / GB
        print(f"training step, {batch_size} x {self.height} x {2 * self.height}: {1e3 * seconds:.0f} ms, ", end="")
        print(f"three passes at {rate / 1e9:.0f} G/s {1e3 * ideal:.0f} ms, ratio {seconds / ideal:.2f}; ", end="")
        print(f"peak memory {peak:.2f} GB, of which the step's own {own:.2f} GB")

    def bf16(self) -> None:
        """Compare inference under bf16 autocast with float32: time, and differences of the predictions."""
        print(f"\nbf16 autocast, 1 x {self.height} x {2 * self.height}")
        print("                   float32 (ms)  bf16 (ms)  float32 / bf16  depth (relative)  normals (deg)  same label")
        for backbone in self.backbones:
            measured = self._measure("bf16", backbone=backbone, height=self.height, **EFFORT["inference", "ours"])
            exact, coarse = (np.array(measured[name]) for name in ("float32", "bf16"))
            times = f"{1e3 * np.median(exact):12.0f}  {1e3 * np.median(coarse):9.0f}  {np.median(exact / coarse):14.2f}"
            errors = f"{measured['depth']:16.4f}  {measured['normal']:13.2f}  {measured['segmentation']:10.4f}"
            print(f"{backbone:17}  {times}  {errors}")

    def scaling(self) -> None:
        """Measure time and memory of the network by number of pixels; writes scaling.png."""
        backbone = self.backbones[0]
        print(f"\nscaling, {backbone}")
        print("           height  batch  time (ms)  per megapixel  peak memory (GB)  of which the step's own")
        seconds, own_memory = {}, {}
        for (measure, growing), sizes in self._progress(SCALING.items(), "scaling"):
            series = f"{measure}, growing {growing}"
            seconds[series], own_memory[series] = [], []
            for multiple, batch_size in sizes:
                height = int(multiple * self.height)
                network = {"network": "ours", "backbone": backbone, "height": height, "batch_size": batch_size}
                measured = self._measure(measure, **network, **SCALING_EFFORT)
                megapixels = 2 * height**2 * batch_size / 1e6
                time_ms, own = 1e3 * np.median(measured["times"]), measured["peak_bytes"] - measured["built_bytes"]
                cells = f"{height:6}  {batch_size:5}  {time_ms:9.0f}  {time_ms / megapixels:13.0f}"
                print(f"{measure:10} {cells}  {measured['peak_bytes'] / GB:16.2f}  {own / GB:23.2f}")
                seconds[series].append((megapixels, time_ms / 1e3))
                own_memory[series].append((megapixels, own / GB))
        charts = [
            log_log_chart("time (s)", "megapixels", seconds),
            log_log_chart("memory beyond the network's own (GB)", "megapixels", own_memory),
        ]
        save_image(self.out / "scaling.png", np.hstack(charts))

    def save(self) -> None:
        """Write the measurements so far to model.json."""
        write_text(self.out / "model.json", json.dumps(self.measurements, indent=1))

    def _compare(self, measure: str, batch_size: int) -> None:
        """Print a table of plain and ours, which alternate so that slow phases of the machine affect both."""
        size = f"{batch_size} x {self.height} x {2 * self.height}"
        print(f"\n{measure + ', ' + size:42}     plain      ours  plain / ours")
        for backbone in self.backbones:
            rows = {"plain": [], "ours": []}
            turns = list(product(range(self.rounds), rows))
            for _, network in self._progress(turns, f"{measure} {backbone}"):
                job = self._network(network, backbone, batch_size) | EFFORT[measure, network]
                rows[network].append(summary(self._measure(measure, **job)))
            for name in rows["plain"][0]:
                plain, ours = (np.array([row[name] for row in rows[network]]) for network in rows)
                cells = f"{np.median(plain):9.3f} {np.median(ours):9.3f}  {np.median(plain / ours):12.2f}"
                print(f"{backbone:17} {name:24} {cells}")

    def _network(self, network: str, backbone: str, batch_size: int) -> dict:
        return {"network": network, "backbone": backbone, "height": self.height, "batch_size": batch_size}

    def _measure(self, measure: str, **arguments) -> dict:
        """Run and record a measurement of a worker."""
        job = {"measure": measure, **arguments}
        measured = measure_in_process(job)
        self.measurements.append({**job, **measured})
        return measured

    @staticmethod
    def _progress(steps, name: str) -> tqdm:
        return tqdm(steps, desc=name, leave=False, dynamic_ncols=True)


def summary(measured: dict) -> dict[str, float]:
    """Lines of the table, from the results of `workers.timed`."""
    return {
        "time (s)": np.median(measured["times"]),
        "first call (s)": measured["first"],
        "peak memory (GB)": measured["peak_bytes"] / GB,
        "beyond before (GB)": (measured["peak_bytes"] - measured["built_bytes"]) / GB,
    }


def wall_clock(arguments: list[str]) -> float:
    """Wall-clock time in seconds of a Python process with these arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


PARTS = ("inference", "training", "startup", "evaluation", "floor", "bf16", "scaling")


def main() -> None:
    """Run the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--backbones", nargs="+", default=["Elite360M_Res18", "Elite360M_Res50"], choices=BACKBONES)
    parser.add_argument("--height", type=positive, default=512, metavar="PIXELS", help="height of the panoramas")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N", help="alternations of plain and ours")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="parts of the benchmark to run")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    options = parser.parse_args()
    if options.height % 64:
        raise UserError(f"--height {options.height}: pass a multiple of 64, as half of it is measured too")
    benchmark = Benchmark(options.backbones, options.height, options.rounds, options.out)
    benchmark.machine()
    for part in PARTS:
        if part in options.parts:
            getattr(benchmark, part)()
            benchmark.save()


if __name__ == "__main__":
    with exit_on_user_error():
        main()
