"""Time, memory and size of training steps of train_achievement.py, and the savings of multi-task networks.

    python -m benchmarks.achievement

DeepLab: training steps with the files in cfg/, at their image and batch size, on synthetic rooms, for one, two and
three tasks. VMM: parameters and multiply-adds only. Prints tables in Markdown, and writes all measurements to
achievement_<network>.json in --out. The precision is float32 on a CPU, and that of the files on a GPU. "CPU time" sums
all threads of the process; it depends less on other processes than the time of the step.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import median

# Must not import torch, see benchmarks/processes.py.
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
VMM = "VMM_efficientnet_v2_s"
VMM_TASKS = {
    "detection": ("detection",),
    "segmentation": ("segmentation",),
    "depth": ("depth",),
    "seg+det+depth": ("detection", "segmentation", "depth"),
}
SINGLE_TASKS = {  # replaced by each multi-task network
    "seg+depth": ("segmentation", "depth"),
    "seg+depth+normal": ("segmentation", "depth", "normal"),
    "seg+det+depth": ("segmentation", "detection", "depth"),
}
_DEEPLABS = (ROOT / "cfg" / CFG_FOLDERS["segmentation"]).glob(f"DeepLab*{SUFFIX}")
NETWORKS = (*(path.stem for path in sorted(_DEEPLABS)), VMM)
HEAD = """\
| | parameters | multiply-adds per image | step | CPU time | images per second | memory of the process |
|---|---|---|---|---|---|---|"""
SIZE_HEAD = """\
| | parameters | multiply-adds per image |
|---|---|---|"""


def main() -> None:
    """Measure each network with each set of tasks."""
    options = parse()
    machine = measure_in_process({"measure": "machine"})
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    for network in options.networks:
        if network == VMM:
            rows = {tasks: vmm_size(names, options.size or (640, 640)) for tasks, names in VMM_TASKS.items()}
            markdown, facts = size_table(rows), {}
        else:
            rows = {tasks: measure(network, tasks, options, machine["device"]) for tasks in CFG_FOLDERS}
            markdown, facts = table(rows, options.batch_size), {"machine": machine, "batch": options.batch_size}
        print(f"\n**{network}**\n\n{markdown}\n\n{ratio_table(rows)}", flush=True)
        write_json(options.out / f"achievement_{network}.json", facts | rows)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS, help="networks to measure")
    parser.add_argument(
        "--size", nargs=2, type=positive, metavar="N", help="height and width (default: 480 640; VMM: 640 640)"
    )
    parser.add_argument("--batch_size", type=positive, default=8, metavar="N", help="images per step")
    parser.add_argument("--steps", type=positive, default=2, metavar="N", help="timed steps, after a warm-up step")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder to write to")
    return parser.parse_args()


def measure(network: str, tasks: str, options: argparse.Namespace, device: str) -> dict:
    """Measurements of `workers.achievement_training`."""
    arguments = [
        f"cfg/{CFG_FOLDERS[tasks]}/{network}{SUFFIX}",
        *("--size", *map(str, options.size or (480, 640)), "--batch_size", str(options.batch_size)),
        *(("--amp", "off") if device == "CPU" else ()),
    ]
    job = {"measure": "achievement_training", "arguments": arguments, "warm_ups": 1, "calls": options.steps}
    return measure_in_process(job)


def vmm_size(tasks: tuple[str, ...], size: tuple[int, int]) -> dict:
    """Measurements of `workers.vmm_size`."""
    return measure_in_process({"measure": "vmm_size", "tasks": tasks, "height": size[0], "width": size[1]})


def table(rows: Mapping[str, dict], batch_size: int) -> str:
    """Measurements of a network for each set of tasks, in Markdown."""
    lines = [HEAD]
    for tasks, row in rows.items():
        step, cpu = median(row["times"]), median(row["cpu_times"])
        size = f"{row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.1f} G"
        speed = f"{step:.2f} s | {cpu:.2f} s | {batch_size / step:.2f}"
        lines.append(f"| {tasks} | {size} | {speed} | {row['peak_bytes'] / GB:.2f} GB |")
    return "\n".join(lines)


def size_table(rows: Mapping[str, dict]) -> str:
    """As `table`, without time and memory."""
    lines = [SIZE_HEAD]
    for tasks, row in rows.items():
        lines.append(f"| {tasks} | {row['parameters'] / 1e6:.2f} M | {row['multiply_adds'] / 1e9:.2f} G |")
    return "\n".join(lines)


def ratio_table(rows: Mapping[str, dict]) -> str:
    """Multi-task networks relative to the sum of the single-task networks that they replace, in Markdown."""
    columns = {"parameters": lambda row: row["parameters"], "multiply-adds": lambda row: row["multiply_adds"]}
    if all("times" in row for row in rows.values()):
        columns["step"] = lambda row: median(row["times"])
        columns["CPU time"] = lambda row: median(row["cpu_times"])
    lines = [f"| | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    for tasks, singles in SINGLE_TASKS.items():
        if tasks in rows:
            cells = [f"{value(rows[tasks]) / sum(value(rows[s]) for s in singles):.3f}" for value in columns.values()]
            lines.append(f"| {tasks} / {' + '.join(singles)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
