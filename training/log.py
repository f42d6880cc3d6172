"""Progress bar, TensorBoard, metrics.jsonl and result.txt of a training run."""

import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from losses.balancing.base import Balancing
from training.run_folder import RunFolder
from training.step import StepResult
from utils.distributed import all_sum, is_main, world_size
from utils.files import to_json, write_text
from utils.text import metrics_line

Step = TypeVar("Step")
_LONG_WAIT = 0.1  # fraction of the time above which a hint is printed
_FIRST_STEPS = 20  # without a hint
_POSTFIX_EVERY = 10  # steps: reading a loss makes the host wait for the GPU


class MetricsFile:
    """metrics.jsonl: one JSON object per line, appended. A killed process may leave an incomplete last line.

    Args:
        path: the file.
        keep: bytes of an existing file to keep; the rest is dropped.
    """

    def __init__(self, path: Path, keep: int = 0):
        path.parent.mkdir(parents=True, exist_ok=True)
        size = path.stat().st_size if path.exists() else 0
        if size < keep:
            print(f"{path} is shorter than when the state was saved: earlier metrics are missing", file=sys.stderr)
        self._file = open(path, "ab")  # noqa: SIM115 - see `close`
        self._file.truncate(min(size, keep))

    def append(self, entry: dict) -> None:
        """Write one line."""
        self._file.write((to_json(entry) + "\n").encode("utf-8", "backslashreplace"))
        self._file.flush()

    def sync(self) -> int:
        """Flush everything to disk. Returns: the size in bytes."""
        os.fsync(self._file.fileno())
        return self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TrainingLog:
    """Collects the results of all steps and writes their means every `log_frequency` steps and after each epoch.

    Only the main process writes. Losses in TensorBoard are those of all processes; the progress bar shows those of
    the main process.

    Args:
        run: where to write.
        log_frequency: steps over which losses are averaged.
        balancing: method whose task weights are logged.
        optimizer: its learning rate is logged.
        resumed: whether `load_state_dict` will be called; nothing is written before that.
    """

    def __init__(
        self,
        run: RunFolder,
        log_frequency: int,
        balancing: Balancing,
        optimizer: torch.optim.Optimizer,
        resumed: bool = False,
    ):
        self._run = run
        self._log_frequency = log_frequency
        self._balancing = balancing
        self._optimizer = optimizer
        self._writer: SummaryWriter | None = None
        self._metrics: MetricsFile | None = None
        self._step = 0
        self._results: dict[str, list[str]] = {}
        self._warned = False
        self._start_window()
        if not resumed:
            self._open()

    def _open(self, metrics_size: int = 0) -> None:
        """Open the files, keeping the entries up to the current step (`metrics_size` bytes of metrics.jsonl)."""
        if is_main():
            self._writer = SummaryWriter(self._run.tensorboard, purge_step=self._step + 1 if self._step else 0)
            self._metrics = MetricsFile(self._run.metrics, keep=metrics_size)

    def state_dict(self) -> dict:
        """Everything needed to resume the log."""
        return {"step": self._step, "results": self._results, "metrics_size": self._metrics.sync()}

    def load_state_dict(self, state: dict) -> None:
        """Continue after the last entry of that state; later entries are dropped."""
        self._step, self._results = state["step"], state["results"]
        self._open(state["metrics_size"])

    def watch(self, steps: Iterable[Step], epoch: int, first: int = 0, total: int | None = None) -> Iterator[Step]:
        """Iterate over the steps of an epoch with a progress bar, measuring the time spent waiting for each.

        Args:
            steps: the inputs of each step.
            epoch: number of the epoch, from 1.
            first: number of steps that were already done in this epoch.
            total: number of steps in the epoch.
        """
        self._progress = tqdm(
            steps,
            desc=f"epoch {epoch}",
            unit="step",
            initial=first,
            total=total,
            disable=not is_main(),
            dynamic_ncols=True,
        )
        self._start_window()  # validation and saving do not count toward the training speed
        self._never_trained: frozenset[str] | None = None
        waiting_since = time.perf_counter()
        for step in self._progress:
            self._waited += time.perf_counter() - waiting_since
            yield step
            waiting_since = time.perf_counter()
        self._write_window()
        if is_main() and self._never_trained and first == 0:  # without the steps before a resumption it is unknown
            tasks = ", ".join(sorted(self._never_trained))
            tqdm.write(f"epoch {epoch}: no sample has ground truth for {tasks}: not trained", file=sys.stderr)

    def writes(self, steps_ahead: int) -> bool:
        """Whether metrics will be written after the step that comes `steps_ahead` steps after the last logged one."""
        return (self._step + steps_ahead) % self._log_frequency == 0

    def grad_norms(self, norms: dict[str, float]) -> None:
        """Log each task's gradient norm for the next step."""
        if is_main():
            self._write({f"grad_norm/{task}": norm for task, norm in norms.items()}, self._step + 1)

    def step(self, result: StepResult) -> None:
        """Log one optimizer step, or why it was skipped."""
        self._step += 1
        if result.problem:
            self._bad_step(result.problem)
            return
        seen = result.without_pixels if self._never_trained is None else self._never_trained & result.without_pixels
        self._never_trained = seen
        self._num_steps += 1
        self._num_images += result.num_images * world_size()
        self._num_overflows += result.overflowed
        for name, loss in result.losses.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0) + loss.detach()
        if self._step % _POSTFIX_EVERY == 0:
            rate = self._num_images / (time.perf_counter() - self._window_start)
            loss = result.losses["total"].item()
            self._progress.set_postfix_str(f"loss {loss:.2f}, {rate:.1f} images/s, {self._wait()}")
        if self._step % self._log_frequency == 0:
            self._write_window()

    def _bad_step(self, problem: str) -> None:
        """Log the non-finite losses and their samples."""
        if is_main():
            tqdm.write(f"step {self._step} skipped, not finite: {problem}", file=sys.stderr)
            self._write({"bad_step": problem}, self._step)

    def validation(self, epoch: int, results: dict[str, dict[str, float]], accuracies: dict[str, float | None]) -> None:
        """Write the metrics of a validation, and the accuracy of each task in [0, 1]; None if unavailable."""
        if not is_main():
            return
        for task, metrics in results.items():
            line = f"epoch {epoch}  {metrics_line(metrics)}"
            tqdm.write(f"{task}: {line}")
            self._results.setdefault(task, []).append(line + "\n")
            write_text(self._run.result(task), "".join(self._results[task]))
            written = {f"validation_{task}/{name}": value for name, value in metrics.items()}
            if accuracies.get(task) is not None:
                written[f"accuracy/{task}"] = accuracies[task]
            self._write(written, epoch, axis="epoch")
        self._writer.flush()

    def image(self, name: str, image: np.ndarray, epoch: int) -> None:
        """Show an image (H, W, 3) uint8 in TensorBoard."""
        self._writer.add_image(name, image, epoch, dataformats="HWC")

    def text(self, name: str, text: str) -> None:
        """Show a text in TensorBoard."""
        if self._writer:
            self._writer.add_text(name, text)

    def close(self) -> None:
        """Close the files."""
        if self._writer:
            self._writer.close()
            self._metrics.close()

    def _start_window(self) -> None:
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        self._window_start = time.perf_counter()
        self._waited = 0.0
        self._num_steps = self._num_images = self._num_overflows = 0
        self._loss_sums: dict[str, torch.Tensor] = {}

    def _wait(self) -> str:
        return f"{self._waited / (time.perf_counter() - self._window_start):.0%} waiting for data"

    def _write_window(self) -> None:
        """Write means over the steps since the last window. Called by all processes; the main one writes."""
        if not self._num_steps:
            return
        elapsed = time.perf_counter() - self._window_start
        # Each process has its part of the global loss times the number of processes, so the mean is the global loss.
        scale = self._num_steps * world_size()
        means = all_sum(torch.stack([*self._loss_sums.values()])) / scale
        losses = dict(zip(self._loss_sums, means.tolist(), strict=True))
        if is_main():
            metrics = {f"loss/{name}": loss for name, loss in losses.items()}
            metrics |= {f"weight/{task}": weight for task, weight in self._balancing.weights().items()}
            metrics["run/learning_rate"] = self._optimizer.param_groups[0]["lr"]
            metrics["run/images_per_second"] = self._num_images / elapsed
            metrics["run/data_wait_share"] = self._waited / elapsed
            metrics |= _peak_memory()
            if self._num_overflows:  # with --amp fp16
                metrics["run/overflows"] = self._num_overflows
            self._write(metrics, self._step)
            self._warn_if_waiting(self._waited / elapsed)
        self._start_window()

    def _warn_if_waiting(self, wait_fraction: float) -> None:
        """Report once that data loading is the bottleneck. The first steps always wait for the workers to start."""
        if wait_fraction > _LONG_WAIT and self._step >= _FIRST_STEPS and not self._warned:
            self._warned = True
            tqdm.write(f"{wait_fraction:.0%} of the time is spent waiting for data: try more --num_workers")

    def _write(self, metrics: dict[str, float | str], at: int, axis: str = "step") -> None:
        """Write metrics of a step or an epoch to TensorBoard and metrics.jsonl."""
        for name, value in metrics.items():
            if isinstance(value, str):
                self._writer.add_text(name, value, at)
            else:
                self._writer.add_scalar(name, value, at)
        self._metrics.append({axis: at, **metrics})


def _peak_memory() -> dict[str, float]:
    """Peak memory in units of 2^30 bytes. On a GPU: of tensors, and reserved by torch, since the last window; on a CPU:
    of this process since its start."""
    if torch.cuda.is_initialized():
        in_bytes = {
            "run/memory_gb": torch.cuda.max_memory_allocated(),
            "run/memory_reserved_gb": torch.cuda.max_memory_reserved(),
        }
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        in_bytes = {"run/memory_gb": peak if sys.platform == "darwin" else 1024 * peak}
    return {name: size / 2**30 for name, size in in_bytes.items()}
