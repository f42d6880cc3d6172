"""What a training run tells: the progress bar, TensorBoard, result.txt per task."""

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from losses.multitask import UncertaintyWeighting
from utils.distributed import all_sum, is_main, world_size
from utils.files import write_text
from utils.run_folder import RunFolder, figures_line

_POSTFIX_EVERY = 10  # batches: reading a loss makes a GPU wait, so not every time


class TrainingLog:
    """Collects what happens in every step and writes it every `log_frequency` steps and after each epoch.

    Only the main process writes. Losses in TensorBoard are those of the global batch; the progress bar shows the main
    process's share.
    """

    def __init__(
        self,
        run: RunFolder,
        log_frequency: int,
        weighting: UncertaintyWeighting,
        optimizer: torch.optim.Optimizer,
    ):
        self._run = run
        self._log_frequency = log_frequency
        self._weighting = weighting
        self._optimizer = optimizer
        self._writer = SummaryWriter(run.tensorboard) if is_main() else None
        self._step = 0
        self._results: dict[str, list[str]] = {}
        self._start_window()

    def watch(self, batches: Iterable[dict], epoch: int) -> Iterator[dict]:
        """Iterate over the batches of an epoch with a progress bar, measuring how long each was waited for."""
        self._progress = tqdm(batches, desc=f"epoch {epoch}", unit="batch", disable=not is_main(), dynamic_ncols=True)
        self._start_window()  # validation and saving since the last epoch are no part of the training's speed
        waiting_since = time.perf_counter()
        for batch in self._progress:
            self._waited += time.perf_counter() - waiting_since
            yield batch
            waiting_since = time.perf_counter()
        self._write_window()

    def step(self, losses: dict[str, torch.Tensor], num_images: int) -> None:
        """Take note of one optimiser step over `num_images` images of this process."""
        self._step += 1
        self._num_steps += 1
        self._num_images += num_images * world_size()
        for name, loss in losses.items():
            self._loss_sums[name] = self._loss_sums.get(name, 0) + loss.detach()
        if self._step % _POSTFIX_EVERY == 0:
            rate = self._num_images / (time.perf_counter() - self._window_start)
            self._progress.set_postfix_str(f"loss {losses['total'].item():.2f}, {rate:.1f} images/s, {self._wait()}")
        if self._step % self._log_frequency == 0:
            self._write_window()

    def validation(self, epoch: int, results: dict[str, dict[str, float]]) -> None:
        """Write the figures of a validation."""
        if not is_main():
            return
        for task, figures in results.items():
            line = f"epoch {epoch}  {figures_line(figures)}"
            tqdm.write(f"{task}: {line}")
            self._results.setdefault(task, []).append(line + "\n")
            write_text(self._run.result(task), "".join(self._results[task]))
            for name, value in figures.items():
                self._writer.add_scalar(f"validation_{task}/{name}", value, epoch)
        self._writer.flush()

    def picture(self, name: str, picture: np.ndarray, epoch: int) -> None:
        """Show a picture (H, W, 3) in TensorBoard."""
        self._writer.add_image(name, picture, epoch, dataformats="HWC")

    def text(self, name: str, text: str) -> None:
        """Show a text in TensorBoard."""
        if self._writer:
            self._writer.add_text(name, text)

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _start_window(self) -> None:
        self._window_start = time.perf_counter()
        self._waited = 0.0
        self._num_steps = self._num_images = 0
        self._loss_sums: dict[str, torch.Tensor] = {}

    def _wait(self) -> str:
        return f"{self._waited / (time.perf_counter() - self._window_start):.0%} waiting for data"

    def _write_window(self) -> None:
        """Means over the steps since the last time; all processes take part, the main one writes."""
        if not self._num_steps:
            return
        elapsed = time.perf_counter() - self._window_start
        # Each process's loss is its share times the number of processes: their mean is the global loss.
        scale = self._num_steps * world_size()
        losses = {name: (all_sum(total) / scale).item() for name, total in self._loss_sums.items()}
        if self._writer:
            for name, loss in losses.items():
                self._writer.add_scalar(f"loss/{name}", loss, self._step)
            for task, weight in self._weighting.weights().items():
                self._writer.add_scalar(f"weight/{task}", weight, self._step)
            self._writer.add_scalar("run/learning_rate", self._optimizer.param_groups[0]["lr"], self._step)
            self._writer.add_scalar("run/images_per_second", self._num_images / elapsed, self._step)
            self._writer.add_scalar("run/data_wait_share", self._waited / elapsed, self._step)
        self._start_window()
