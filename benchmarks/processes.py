"""Runs each measurement of benchmarks/workers.py in a separate process.

Must not import torch: on Linux, the peak memory of a process includes its parent's memory at the start.
"""

import json
import subprocess
import sys
from pathlib import Path

from utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
WORKERS = ("-m", "benchmarks.workers")
GB = 1e9


def measure_in_process(job: dict) -> dict:
    """Run a measurement in a worker process and return its results.

    Args:
        job: ``measure``, the name of a measurement, and its arguments.

    Raises:
        UserError: when it fails, or memory is exhausted.
    """
    done = subprocess.run([sys.executable, *WORKERS, json.dumps(job)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"{job} failed with exit code {done.returncode} (-9: out of memory)")
    return json.loads(done.stdout.splitlines()[-1])
