"""A tiny multi-task network with losses and batches, for tests of the training engine."""

import copy
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from losses.balancing import build_balancing
from losses.reduction import LossSum
from training.objective import LossTerm, TrainingObjective
from training.optimizers import OptimizationSettings
from training.step import Stepper
from utils.distributed import distribute

CPU = torch.device("cpu")
TASKS = ("height", "slope", "kind")
CHANNELS = {"height": 1, "slope": 2, "kind": 4}
WIDTH = 8
NO_KIND = -1  # label of pixels without ground truth
BALANCING_OPTIONS = {
    "loss_weights": {"height": 1.0, "slope": 2.0, "kind": 2.0},
    "potential": {"height": 0.8, "slope": 0.6, "kind": 0.5},
    "margin": 0.05,
    "focusing_factor": 2.0,
    "seed": 7,
}
# One balancing method of each kind: a sum with learned weights, a fixed sum, a product, weights from accuracies, from
# losses and from gradient norms, and combined gradients.
KINDS = ["uncertainty", "fixed", "geometric", "achievement", "dwa", "gradnorm", "upgrad"]


class TinyMultiTask(nn.Module):
    """Two shared convolutions, and one for each task; see `training.objective.MultiTaskNetwork`.

    Args:
        tasks: some of TASKS.
        intermediate: whether there are intermediate predictions, at half the size.
        dropout: probability; dropout draws random numbers in training.
    """

    def __init__(self, tasks: tuple[str, ...] = TASKS, intermediate: bool = True, dropout: float = 0.0):
        super().__init__()
        self.tasks = tasks
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({task: nn.Conv2d(WIDTH, CHANNELS[task], 1) for task in tasks})
        small = tasks if intermediate else ()
        self.intermediate_heads = nn.ModuleDict({task: nn.Conv2d(WIDTH, CHANNELS[task], 1) for task in small})
        self.register_buffer("order", torch.arange(WIDTH).roll(3))  # an integer buffer that the forward pass needs

    @property
    def last_shared_weight(self) -> nn.Parameter:
        return self.body[0].weight

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        heads = [heads[task] for heads in (self.heads, self.intermediate_heads) if task in heads]
        return [parameter for head in heads for parameter in head.parameters()]

    def shared_parameters(self) -> list[nn.Parameter]:
        return [*self.stem.parameters(), *self.body.parameters()]

    def forward(self, rgb: torch.Tensor) -> dict:
        features = self.dropout(self.body(self.stem(rgb)[:, self.order]))
        predictions = {task: head(features) for task, head in self.heads.items()}
        if self.training and self.intermediate_heads:
            small = F.avg_pool2d(features, 2)
            predictions["intermediate"] = {task: head(small) for task, head in self.intermediate_heads.items()}
        return predictions


def valid_mask(task: str, batch: dict) -> torch.Tensor:
    """Where there is ground truth, (B, H, W) bool."""
    return batch["kind"] != NO_KIND if task == "kind" else batch[f"{task}_mask"]


def tiny_loss(task: str, prediction: torch.Tensor, batch: dict) -> LossSum:
    """Cross-entropy for ``kind``, absolute differences for the others, summed over the valid pixels."""
    if task == "kind":
        errors = F.cross_entropy(prediction, batch["kind"], ignore_index=NO_KIND, reduction="none")
    else:
        errors = (prediction - batch[task]).abs().mean(dim=1)
    mask = valid_mask(task, batch)
    return LossSum((errors * mask).sum(), mask.sum())


def loss_term(task: str) -> LossTerm:
    return LossTerm(
        loss=lambda prediction, batch: tiny_loss(task, prediction, batch),
        valid_mask=lambda batch: valid_mask(task, batch),
    )


def resize_targets(batch: dict, size: tuple[int, int]) -> dict:
    """Ground truth at half the size: every second pixel. The fraction of valid pixels stays (see `tiny_image`)."""
    assert size == (batch["rgb"].shape[-2] // 2, batch["rgb"].shape[-1] // 2)
    return {name: maps[..., ::2, ::2] for name, maps in batch.items() if name not in ("rgb", "id")}


def tiny_image(number: int, height: int = 4, width: int = 8) -> dict:
    """An image with ground truth computed from it. Valid pixels form 2 x 2 blocks; their number differs by image."""
    generator = torch.Generator().manual_seed(number)
    rgb = torch.rand(3, height, width, generator=generator)
    image = {
        "id": f"image/{number}",
        "rgb": rgb,
        "height": 2 * rgb.mean(dim=0, keepdim=True) + 1,
        "slope": torch.stack([rgb[0] - rgb[1], rgb[2] - rgb[1]]),
        "kind": (4 * rgb[0]).long().clamp_max(CHANNELS["kind"] - 1),
    }
    for task in TASKS:
        num_blocks = height * width // 4
        num_valid = 1 + int(torch.randint(num_blocks, (), generator=generator))
        blocks = torch.randperm(num_blocks, generator=generator) < num_valid
        mask = blocks.view(height // 2, width // 2).repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
        if task == "kind":
            image["kind"] = image["kind"].masked_fill(~mask, NO_KIND)
        else:
            image[f"{task}_mask"] = mask
    return image


def tiny_batch(numbers: Iterable[int]) -> dict:
    """A batch of the images with these numbers."""
    return torch.utils.data.default_collate([tiny_image(number) for number in numbers])


def without_labels(batch: dict, task: str) -> dict:
    """The batch with no ground truth for a task."""
    if task == "kind":
        return batch | {"kind": torch.full_like(batch["kind"], NO_KIND)}
    return batch | {f"{task}_mask": torch.zeros_like(batch[f"{task}_mask"])}


def with_nan_input(batch: dict) -> dict:
    """The batch with an input that makes every loss NaN."""
    return batch | {"rgb": batch["rgb"] * torch.nan}


def tiny_network(**settings) -> TinyMultiTask:
    """A network with the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TinyMultiTask(**settings)


def freeze_norms(module: nn.Module) -> None:
    """Let BatchNorm use its running statistics, so that a batch can be split without changing the results."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.eval()


def tiny_objective(
    balancing: str = "uncertainty",
    network: TinyMultiTask | None = None,
    amp_type: torch.dtype | None = None,
    options: Mapping[str, object] = MappingProxyType({}),
) -> TrainingObjective:
    """An objective in training mode, with a copy of the network; `options`: arguments of the balancing method."""
    network = tiny_network() if network is None else copy.deepcopy(network)
    terms = {task: loss_term(task) for task in network.tasks}
    method = build_balancing(balancing, network.tasks, **BALANCING_OPTIONS, **options)
    return TrainingObjective(network, terms, method, resize_targets, amp_type).train()


def tiny_stepper(
    balancing: str = "uncertainty",
    network: TinyMultiTask | None = None,
    frozen: bool = False,
    amp_type: torch.dtype | None = None,
    device: torch.device = CPU,
    options: Mapping[str, object] = MappingProxyType({}),
    late: bool | None = None,
    **settings,
) -> Stepper:
    """A new stepper.

    Args:
        balancing, network, amp_type, options: see `tiny_objective`.
        frozen: whether BatchNorm uses its running statistics.
        device, late: see `Stepper`.
        settings: fields of `OptimizationSettings`.
    """
    objective = tiny_objective(balancing, network, amp_type, options)
    if frozen:
        freeze_norms(objective)
    settings = OptimizationSettings(**{"num_steps": 20, "learning_rate": 1e-3, **settings})
    return Stepper(objective, distribute(objective, device), settings, device, late)


def parameters(stepper: Stepper) -> dict[str, torch.Tensor]:
    """Copies of all parameters, by name."""
    return {name: value.detach().clone() for name, value in stepper.objective.named_parameters()}


def step_gradients(stepper: Stepper, batches: list[dict]) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Take a step. Returns: its losses, and the gradients that the optimizer got, for the parameters that have one."""
    gradients = {}

    def record(*_) -> None:
        named = stepper.objective.named_parameters()
        gradients.update({name: p.grad.clone() for name, p in named if p.grad is not None})

    hook = stepper.optimizer.register_step_pre_hook(record)
    losses = stepper.step(batches).losses
    hook.remove()
    return {name: loss.item() for name, loss in losses.items()}, gradients


def assert_same_gradients(ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert any(gradient.any() for gradient in theirs.values())
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}")


def assert_identical(ours: object, theirs: object, where: str = "") -> None:
    """Assert that nested containers of tensors and numbers are the same to the last bit; NaN equals NaN."""
    assert type(ours) is type(theirs), where
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype == theirs.dtype, where
        assert ours.shape == theirs.shape, where
        assert torch.equal(ours.nan_to_num(nan=-7e7), theirs.nan_to_num(nan=-7e7)), where
    elif isinstance(theirs, Mapping):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_identical(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), where
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_identical(mine, other, f"{where}/{number}")
    else:
        assert ours == theirs, where
