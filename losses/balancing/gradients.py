"""Methods of the torchjd library, which combine the gradients of the tasks instead of their losses."""

from importlib import import_module

import numpy as np
import torch

from losses.balancing.base import WeightedLosses
from utils.errors import UserError


class GradientBalancing(WeightedLosses):
    """The gradient of the shared parameters is sum_t w_t dL_t, with weights that torchjd computes from the gradients.

    Parameters of a single task get the gradient of its L_t. Tasks without labels in the batch are excluded from the
    aggregation. The methods:

    ============ ========================================================================
    UPGrad       Quinton & Rey, arXiv 2406.16232
    PCGrad       Yu et al., NeurIPS 2020; the sum of the projected gradients
    CAGrad       Liu et al., NeurIPS 2021, c = 0.5
    MGDA         Sener & Koltun, NeurIPS 2018 (Désidéri, 2012)
    IMTLG        Liu et al., ICLR 2021, the gradient part
    AlignedMTL   Senushkin et al., CVPR 2023
    NashMTL      Navon et al., ICML 2022; the combined gradient has a norm of at most 1
    ============ ========================================================================

    Args:
        tasks: task names in the order of the network.
        aggregator: name of the torchjd class.
        seed: seed of PCGrad's random task order.
        arguments: arguments of the torchjd class.

    Raises:
        UserError: when torchjd, or a solver that this method needs, is not installed.
    """

    gradient_scope = "shared"

    def __init__(self, tasks: tuple[str, ...], aggregator: str, seed: int, **arguments: object):
        super().__init__(tasks, geometric=False)
        self._name, self._seed, self._arguments = aggregator, seed, arguments
        self._aggregators: dict[int, object] = {}  # by the number of tasks with labels
        self._aggregator(len(tasks))  # fail early if a solver is missing
        self.register_buffer("_weights", torch.ones(len(tasks)))
        self.register_buffer("_nash", torch.ones(len(tasks), dtype=torch.float64))  # NashMTL's starting point
        self.register_buffer("_step", torch.zeros((), dtype=torch.int64))

    def task_weights(self) -> torch.Tensor:
        return torch.ones_like(self._weights)  # of the losses; `weights` are those of the gradients

    def weights(self) -> dict[str, float]:
        """The weights w_t of the gradients in the last step."""
        return dict(zip(self.tasks, self._weights.tolist(), strict=True))

    def update_from_gramian(self, gramian: torch.Tensor) -> torch.Tensor:
        """Weights (T,) of the task gradients, from their inner products (T, T)."""
        gramian = gramian.cpu()  # torchjd reads its entries one by one
        present = self._present.nonzero().squeeze(1).cpu()
        gramian = gramian[present][:, present]
        weights = torch.zeros(len(self.tasks))
        # With a single task, or gradients that are all zero, there is nothing to combine and some solvers fail.
        weights[present] = self._solve(gramian, present) if len(present) > 1 and gramian.any() else 1.0
        self._weights.copy_(weights)
        return self._weights.clone()

    def end_step(self) -> None:
        self._step += 1

    def _solve(self, gramian: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """torchjd's weights (P,) of the gradients of the P tasks `present`, from their inner products (P, P)."""
        aggregator = self._aggregator(len(present))
        if self._name == "NashMTL":
            # NashMTL takes gradients; any with these inner products will do. It starts from its previous solution,
            # which torchjd stores in an undocumented attribute (see `_aggregator`); resumed trainings restore it.
            weighting = aggregator.weighting
            start = self._nash.cpu()
            weighting.prvs_alpha = start[present].numpy()
            weights = weighting(_square_root(gramian))
            start[present] = torch.as_tensor(weighting.prvs_alpha, dtype=start.dtype)
            self._nash.copy_(start)
            return weights
        # The seed makes PCGrad's random order the same in all processes and in resumed trainings. Scaling the gradients
        # to about unit length, for which torchjd's thresholds are made, does not change the methods otherwise.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self._seed_of_step())
            return aggregator.gramian_weighting(gramian / gramian.diagonal().mean())

    def _seed_of_step(self) -> int:
        return int(np.random.SeedSequence([self._seed, int(self._step)]).generate_state(1)[0])

    def _aggregator(self, num_tasks: int) -> object:
        if num_tasks not in self._aggregators:
            arguments = {"n_tasks": num_tasks} if self._name == "NashMTL" else {}
            try:
                aggregation = import_module("torchjd.aggregation")
                aggregator = getattr(aggregation, self._name)(**arguments, **self._arguments)
            except ImportError as error:
                raise UserError(
                    f"--balancing: {self._name} needs torchjd and its solvers: pip install -r requirements-extra.txt"
                ) from error
            if self._name == "NashMTL" and not hasattr(aggregator.weighting, "prvs_alpha"):
                raise UserError(
                    "--balancing nash-mtl: this version of torchjd is not supported: pip install torchjd==0.18.0"
                )
            self._aggregators[num_tasks] = aggregator
        return self._aggregators[num_tasks]


def _square_root(gramian: torch.Tensor) -> torch.Tensor:
    """A symmetric S (T, T) with S S^T = gramian."""
    values, vectors = torch.linalg.eigh(gramian)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T
