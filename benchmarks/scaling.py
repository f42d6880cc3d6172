"""Traffic between the processes of a training step, counted on loopback, and the scaling expected from it.

    python -m benchmarks.scaling [--processes 2 4] [--step_ms 100 300 1000]

Gloo processes take optimizer steps on small panoramas; the bytes sent over the loopback interface are compared with
those of a ring all-reduce of the gradients. They depend only on the number of parameters, not on the image or batch
size. The second table is computed from the size of the gradients: the efficiency of several machines, if gradients are
sent during the backward pass (assumed to take 2/3 of the step) at the full bandwidth of the network.
"""

import argparse
import os
from pathlib import Path
from statistics import median

import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from benchmarks.steps import stepper_and_batch
from options.elite360m import backbone
from options.parser import Parser, positive, rate
from utils.distributed import barrier, process_group

GIGABITS = (1, 10, 25, 100)  # bandwidths per second between machines
BACKWARD = 2 / 3  # fraction of a step in which gradients become ready


def count_bytes(name: str, num_steps: int) -> dict[str, float]:
    """Run in each process: bytes of the gradients, and bytes that all processes together send per step."""
    torch.set_num_threads(1)
    with process_group([0]) as device:
        size = ["--height", "32", "--width", "64", "--ico_level", "2", "--no_pretrained", "--dataset", "Synthetic"]
        stepper, batch = stepper_and_batch(["--backbone", name, *size], device)
        stepper.step([batch])  # DDP rebuilds its buckets in the first step
        sent = []
        for _ in range(num_steps):
            barrier()
            before = loopback_bytes()
            barrier()
            stepper.step([batch])
            barrier()
            sent.append(loopback_bytes() - before)
            barrier()
        parameters = [p for p in stepper.objective.parameters() if p.requires_grad]
        return {"gradients": sum(p.numel() * p.element_size() for p in parameters), "sent": median(sent)}


def loopback_bytes() -> int:
    """Bytes that the loopback interface has sent since the machine booted."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    [line] = [line for line in lines if line.strip().startswith("lo:")]
    return int(line.split(":")[1].split()[8])


def ring_bytes(gradients: float, num_processes: int) -> float:
    """Bytes that n processes together send in a ring all-reduce: each sends 2 (n - 1) / n of the gradients."""
    return 2 * (num_processes - 1) * gradients


def efficiency(step: float, gradients: float, gigabits: float, num_machines: int) -> float:
    """Images per second of n machines relative to n times those of one.

    Args:
        step: seconds per step on one machine.
        gradients: size of the gradients in bytes.
        gigabits: bandwidth between machines, in Gbit/s.
        num_machines: n.
    """
    exchange = ring_bytes(gradients, num_machines) / num_machines / (gigabits * 1e9 / 8)
    return step / (step + max(0, exchange - BACKWARD * step))


def main() -> None:
    """Print both tables."""
    parser = Parser(__doc__.partition("\n")[0])
    parser.add_argument("--backbone", type=backbone, default="Elite360M_Res18", metavar="NAME", help="backbone")
    parser.add_argument(
        "--processes", type=positive, nargs="+", default=[2, 4], metavar="N", help="numbers of processes to measure"
    )
    parser.add_argument("--steps", type=positive, default=5, metavar="N", help="measured steps; the median is reported")
    parser.add_argument(
        "--step_ms",
        type=rate,
        nargs="+",
        default=[100, 300, 1000],
        metavar="MS",
        help="times of a step on one machine, for the expected efficiency",
    )
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # only gloo uses the loopback interface
    gradients = print_traffic(options)
    print("\nexpected efficiency (images per second of n machines / n times those of one)")
    print("step (ms)  machines  " + "  ".join(f"{gigabits:>4} Gbit/s" for gigabits in GIGABITS))
    for step in options.step_ms:
        for num_machines in (2, 8):
            cells = (f"{efficiency(step / 1000, gradients, gigabits, num_machines):11.2f}" for gigabits in GIGABITS)
            print(f"{step:9.0f}  {num_machines:8}  " + "  ".join(cells))


def print_traffic(options: argparse.Namespace) -> float:
    """Print the traffic for each number of processes; returns the bytes of the gradients."""
    print("processes  gradients (MB)  sent per step (MB)  ring all-reduce (MB)  ratio")
    for num_processes in options.processes:
        config = LaunchConfig(1, 1, num_processes, run_id="scaling", rdzv_backend="c10d", rdzv_endpoint="localhost:0")
        config.max_restarts = 0
        result = elastic_launch(config, count_bytes)(options.backbone, options.steps)[0]
        gradients, sent = result["gradients"], result["sent"]
        expected = ring_bytes(gradients, num_processes)
        print(
            f"{num_processes:9}  {gradients / 1e6:14.1f}  {sent / 1e6:18.1f}  {expected / 1e6:20.1f}  "
            f"{sent / expected if expected else float('nan'):5.3f}"
        )
    return gradients


if __name__ == "__main__":
    main()
