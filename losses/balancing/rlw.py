"""Random loss weighting."""

import numpy as np
import torch

from losses.balancing.base import WeightedLosses


class RandomWeights(WeightedLosses):
    """w = softmax of T standard normals, drawn in every step (Lin et al., TMLR 2022).

    Draws depend only on the seed and the number of the step: they are the same in all processes and in resumed
    trainings.

    Args:
        tasks: task names in the order of the network.
        geometric: use the weights as exponents of a geometric mean.
        seed: 0 or more.
        keep_exponents: see `WeightedLosses`.
    """

    def __init__(self, tasks: tuple[str, ...], geometric: bool, seed: int, keep_exponents: bool = False):
        super().__init__(tasks, geometric, keep_exponents)
        self._seed = seed
        self.register_buffer("_weights", torch.empty(len(tasks)))
        self.register_buffer("_step", torch.zeros((), dtype=torch.int64))
        self._num_steps = 0  # `_step` on the host: reading the buffer would wait for a GPU
        self.register_load_state_dict_post_hook(lambda *_: self._restore_num_steps())
        self._draw()

    def task_weights(self) -> torch.Tensor:
        return self._weights

    def end_step(self) -> None:
        self._step += 1
        self._num_steps += 1
        self._draw()

    def undo_step(self) -> None:
        self._num_steps -= 1

    def _restore_num_steps(self) -> None:
        self._num_steps = int(self._step)

    def _draw(self) -> None:
        normals = np.random.default_rng([self._seed, self._num_steps]).standard_normal(len(self.tasks))
        self._weights.copy_(torch.softmax(torch.from_numpy(normals), dim=0), non_blocking=True)
