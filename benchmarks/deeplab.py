"""Time, memory and size of a training step of train_achievement.py, and what a multi-task network saves.

    python -m benchmarks.deeplab

Steps of the files in cfg/, at their size and batch, on synthetic rooms: single-task trainings, and those of two and of
three tasks. Prints tables in Markdown, and writes all measurements to deeplab_<network>.json in --out. Float32 on a
CPU, else the precision of the files. "Of it computing" is the time that all threads of the process computed, which
depends less on other processes than that of the step.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median

# Does not import torch, see benchmarks/processes.py.
from benchmarks.processes import GB, ROOT, measure_in_process
from options.argument_file import SUFFIX
from options.parser import Parser, positive
from utils.errors import exit_on_user_error
from utils.files import write_json

CFG_FOLDERS = {
    "segmentation": "segmentation/NYU",
    "depth": "depth/NYU_MT",
    "normal": "normal/NYU_MT",
    "seg+depth": "seg+depth/NYU",
    "seg+depth+normal": "seg+depth+normal/NYU_MT",
}
SINGLE_TASKS = {  # that a multi-task network replaces
    "seg+depth": ("segmentation", "depth"),
    "seg+depth+normal": ("segmentation", "depth", "normal"),
}
NETWORKS = tuple(path.stem for path in sorted((ROOT / "cfg" / CFG_FOLDERS["segmentation"]).glob(f"*{SUFFIX}")))
HEAD = """\
| | parameters | multiply-adds per image | step | of it computing | images per second | memory of the process |
|---|---|---|---|---|---|---|"""
RATIO_HEAD = """\
| | parameters | multiply-adds | step | of it computing |
|---|---|---|---|---|"""


def main() -> None:
    """Measure each network with each set of tasks."""
    options = parse()
    machine = measure_in_process({"measure": "machine"})
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for network in options.networks:
        rows = {tasks: measure(network, tasks, options, machine["device"]) for tasks in CFG_FOLDERS}
        print(f"\n**{network}**\n\n{table(rows, options.batch_size)}\n\n{ratio_table(rows)}", flush=True)
        write_json(options.out / f"deeplab_{network}.json", {"machine": machine, "batch": options.batch_size, **rows})


def parse() -> argparse.Namespace:
    """The command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS, help="files of cfg/ to measure")
    parser.add_argument("--size", nargs=2, type=positive, default=(480, 640), metavar="N", help="height and width")
    parser.add_argument("--batch_size", type=positive, default=8, metavar="N", help="images per step")
    parser.add_argument("--steps", type=positive, default=2, metavar="N", help="timed steps, after one of warm-up")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    return parser.parse_args()


def measure(network: str, tasks: str, options: argparse.Namespace, device: str) -> dict:
    """A row of the table, as `workers.deeplab_training` measures it."""
    arguments = [
        f"cfg/{CFG_FOLDERS[tasks]}/{network}{SUFFIX}",
        *("--size", *map(str, options.size), "--batch_size", str(options.batch_size)),
        *(("--amp", "off") if device == "CPU" else ()),
    ]
    job = {"measure": "deeplab_training", "arguments": arguments, "warm_ups": 1, "calls": options.steps}
    return measure_in_process(job)


def table(rows: Mapping[str, dict], batch_size: int) -> str:
    """Of one network, by tasks."""
    lines = [HEAD]
    for tasks, row in rows.items():
        step, cpu = median(row["times"]), median(row["cpu_times"])
        size = f"{row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.1f} G"
        speed = f"{step:.2f} s | {cpu:.2f} s | {batch_size / step:.2f}"
        lines.append(f"| {tasks} | {size} | {speed} | {row['peak_bytes'] / GB:.2f} GB |")
    return "\n".join(lines)


def ratio_table(rows: Mapping[str, dict]) -> str:
    """Multi-task networks relative to the sum of the single-task networks that they replace."""
    lines = [RATIO_HEAD]
    for tasks, singles in SINGLE_TASKS.items():
        cells = []
        for value in (
            lambda row: row["parameters"],
            lambda row: row["multiply_adds"],
            lambda row: median(row["times"]),
            lambda row: median(row["cpu_times"]),
        ):
            cells.append(f"{value(rows[tasks]) / sum(value(rows[single]) for single in singles):.3f}")
        lines.append(f"| {tasks} / {' + '.join(singles)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
