"""Elite360M against the authors' released code: outputs, losses, gradients and metrics for the same weights and inputs.

Every ``.npz`` in tests/golden, or in the folder in the environment variable ELITE360M_GOLDEN, holds arrays measured on
the released code. tests/golden/README.md describes how to generate weights and inputs.
"""

import copy
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metrics.task_metric import SOLID_ANGLE
from networks.elite360m import Elite360M
from networks.point_hierarchy import PointHierarchy
from networks.released_weights import LOG_VARIANCES_KEY, convert_released_weights, released_architecture, released_key
from tasks import TASKS
from tasks.build import build_objective
from training.objective import TrainingObjective
from utils.colors import IMAGENET_MEAN, IMAGENET_STD

pytestmark = pytest.mark.usefixtures("cpu_kernels")

GOLDEN = Path(os.environ.get("ELITE360M_GOLDEN") or Path(__file__).parents[1] / "golden")
FILES = sorted(GOLDEN.glob("*.npz"))
BACKBONES = {"res18": "Elite360M_Res18", "res34": "Elite360M_Res34", "res50": "Elite360M_Res50"}
THEIR_NAMES = {"depth": "depth", "normal": "normal", "segmentation": "seg"}  # of the intermediate predictions


def test_golden_files_exist():
    assert FILES, f"no .npz in {GOLDEN}"


def golden_array(key: str, shape: tuple[int, ...], salt: str) -> np.ndarray:
    """The value of one entry of the released state dict."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    generator = np.random.default_rng(zlib.crc32((salt + key).encode()))
    x = generator.standard_normal(shape).astype(np.float32)
    if key.endswith("running_var"):
        return 0.75 + 0.25 * np.abs(x)
    if key.endswith("running_mean") or key == LOG_VARIANCES_KEY:
        return 0.1 * x
    if len(shape) == 1 and key.endswith("weight"):
        return 0.75 + 0.1 * x
    if key.endswith("bias"):
        return 0.05 * x
    return x * 1.2 / np.sqrt(np.prod(shape[1:]))


def released_state(objective: TrainingObjective, salt: str) -> dict[str, torch.Tensor]:
    """A state dict as the released code would have saved it, filled with the golden weights."""
    shapes = {released_key(key): tuple(value.shape) for key, value in objective.network.state_dict().items()}
    shapes[LOG_VARIANCES_KEY] = (3,)
    # Sums of zero-dimensional arrays and Python floats are float64: convert back to float32.
    return {
        key: torch.tensor(golden_array(key, shape, salt)).to(torch.int64 if "num_batches" in key else torch.float32)
        for key, shape in shapes.items()
    }


def golden_batch(meta: SimpleNamespace, num_points: int) -> tuple[dict, torch.Tensor, torch.Tensor]:
    """Inputs and targets: a batch, the normalized panoramas (B, 3, H, W) in it, and the ICOSAP colors (B, P, 3)."""
    g = np.random.default_rng(meta.seed)
    size = (meta.batch, 3, meta.height, meta.width)
    one = (meta.batch, 1, meta.height, meta.width)
    erp = g.standard_normal(size).astype(np.float32)
    colors = g.standard_normal((meta.batch, num_points, 3)).astype(np.float32)
    depth = (11 * g.random(one)).astype(np.float32)
    normal = g.standard_normal(size)
    normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True)).astype(np.float32)
    normal_mask = g.random(one) > 0.1
    semantic = g.integers(-1, meta.num_classes, (meta.batch, meta.height, meta.width))
    mean, std = (np.array(x)[:, None, None] for x in (IMAGENET_MEAN, IMAGENET_STD))
    batch = {
        "rgb": (erp * std + mean).astype(np.float32),  # the released network takes the normalized image
        "depth": depth,
        "depth_mask": (depth > 0) & (depth <= 10),
        "normal": normal,
        "normal_mask": normal_mask,
        "semantic": semantic,
    }
    batch = {key: torch.from_numpy(value) for key, value in batch.items()}
    return batch, torch.from_numpy(erp), torch.from_numpy(colors)


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request) -> SimpleNamespace:
    """The arrays of one golden file, and our network and batch with the same weights and inputs."""
    with np.load(request.param) as file:
        arrays = dict(file)
    meta = SimpleNamespace(**json.loads(str(arrays["meta"])))
    tables = {
        name: tuple(arrays[f"{theirs}{i}"].astype(np.int64) for i in range(count))
        for name, theirs, count in (("neighbors", "knn", 4), ("kept", "fps", 3), ("groups", "group", 3))
    }
    hierarchy = PointHierarchy(coordinates=arrays["ico_coord"], **tables)
    backbone = BACKBONES[meta.backbone]
    objective = build_objective(Elite360M(backbone, meta.num_classes, pretrained=False, hierarchy=hierarchy))
    state = released_state(objective, meta.salt)
    assert released_architecture(state) == (backbone, meta.num_classes)
    own_state, log_variances = convert_released_weights(state, objective.network.state_dict())
    batch, erp, colors = golden_batch(meta, len(arrays["ico_coord"]))

    def reset():
        """Load the golden weights again: a pass in training mode changes BatchNorm statistics."""
        objective.network.load_state_dict(own_state)
        objective.balancing.load_state_dict({"log_variances": log_variances})
        objective.zero_grad()

    return SimpleNamespace(
        arrays=arrays,
        meta=meta,
        hierarchy=hierarchy,
        objective=objective,
        batch=batch,
        erp=erp,
        colors=colors,
        reset=reset,
        passes={},
    )


def once(golden: SimpleNamespace, request: pytest.FixtureRequest, compute: Callable) -> object:
    """The result of a pass, cached for all tests; separately with and without `cpu_kernels`."""
    key = compute, request.node.callspec.params.get("cpu_kernels")
    if key not in golden.passes:
        golden.passes[key] = compute(golden)
    return golden.passes[key]


@pytest.fixture
def eval_pass(golden, request) -> dict:
    return once(golden, request, eval_predictions)


@pytest.fixture
def training_pass(golden, request) -> tuple[dict, dict]:
    return once(golden, request, losses_and_gradients)


def eval_predictions(golden: SimpleNamespace) -> dict:
    """Predictions in eval mode, including the intermediate ones."""
    golden.reset()
    network = golden.objective.network.eval()
    network.training = True  # for intermediate predictions; the layers stay in eval mode
    with torch.no_grad():
        return network(golden.batch["rgb"], golden.colors)


def test_outputs(golden, eval_pass):
    stride = golden.meta.stride
    for task in golden.objective.network.tasks:
        pairs = {
            f"pred_{task}": eval_pass[task][..., ::stride, ::stride],
            f"inter_pred_{THEIR_NAMES[task]}": eval_pass["intermediate"][task],
        }
        for name, ours in pairs.items():
            theirs = torch.from_numpy(golden.arrays[f"eval_{name}"])
            assert ours.shape == theirs.shape
            error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
            print(f"{name}: {error:.1e} of its scale")  # shown with pytest -rP
            assert error < 1e-5, f"{name}: off by {error:.1e} of its scale"


def test_metrics(golden, eval_pass):
    """The released code pools the pixels of a batch, which is one image of twice the height here."""
    not_released = {"delta_1.05", "delta_1.10", "rms_ln", "si_log", "irmse"}
    for task in ("depth", "normal"):
        prediction, target, mask = (
            x.movedim(0, 1).flatten(1, 2)[None]
            for x in (eval_pass[task], golden.batch[task], golden.batch[f"{task}_mask"])
        )
        metric = TASKS[task].metric(num_classes=1)
        [values] = metric.batch_metrics(prediction, {task: target, f"{task}_mask": mask}).values.tolist()
        named = zip(metric.image_metric_names, values, strict=True)
        ours = {name: value for name, value in named if not name.endswith(SOLID_ANGLE)}
        ours = {name: value for name, value in ours.items() if name not in not_released}
        if task == "depth":  # the released code has two names for these
            ours |= {"mre": ours["sq_rel"], "mae": ours["abs_rel"]}
        theirs = {k.split("_", 2)[2]: float(v) for k, v in golden.arrays.items() if k.startswith(f"metric_{task}_")}
        fractions = {name for name in theirs if name in ("a1", "a2", "a3", "a4", "a5")}  # of pixels; for normals, in %
        two_pixels = 2 / mask.sum().item() * (100 if task == "normal" else 1)
        assert fractions
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            tolerance = {"abs": 1.01 * two_pixels} if name in fractions else {"rel": 1e-4}
            assert ours[name] == pytest.approx(value, **tolerance), name


def losses_and_gradients(golden: SimpleNamespace) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Losses by name, and `gradient_norms`."""
    losses = training_losses(golden)
    losses["total"].backward()
    return losses, gradient_norms(golden.objective)


def training_losses(golden: SimpleNamespace) -> dict[str, torch.Tensor]:
    golden.reset()
    objective = golden.objective.train()
    return objective.losses_of(objective.network(golden.batch["rgb"], golden.colors), golden.batch)


def gradient_norms(objective: TrainingObjective) -> dict[str, float]:
    """L2 norms of the gradients of all parameters, by released names."""
    norms = {released_key(key): p.grad.norm().item() for key, p in objective.network.named_parameters()}
    return norms | {LOG_VARIANCES_KEY: objective.balancing.log_variances.grad.norm().item()}


def test_losses(golden, training_pass):
    losses, _ = training_pass
    theirs = {
        key.removeprefix("loss_"): float(value)
        for key, value in golden.arrays.items()
        if key.startswith("loss_") and not key.endswith("_float64")
    }
    assert theirs.pop("uncertainty_total")  # the total without the intermediate losses
    names = {key: key.replace("inter_", "intermediate_") for key in theirs}
    for key, name in names.items():
        error = abs(losses[name].item() - theirs[key]) / abs(theirs[key])
        print(f"{name}: {error:.1e}")
        assert error < 1e-5, f"{name}: {losses[name].item()} instead of {theirs[key]}"
    assert len(names) == len(losses)


def compare_gradients(ours: dict[str, float], golden: SimpleNamespace, tolerance: float) -> None:
    """Compare `gradient_norms` with those of the released network in float64."""
    if "grad_norms_float64" not in golden.arrays:
        pytest.skip("no values in float64")
    theirs = dict(zip(golden.arrays["grad_keys"].tolist(), golden.arrays["grad_norms_float64"].tolist(), strict=True))
    assert ours.keys() == theirs.keys()
    worst = 0.0
    for key, norm in theirs.items():
        if norm > 1e-4:
            error = abs(ours[key] - norm) / norm
            worst = max(worst, error)
            assert error < tolerance, f"{key}: gradient norm {ours[key]} instead of {norm}"
        else:  # rounding errors of an exact zero, for example the bias before a BatchNorm
            assert ours[key] < 1e-4, key
    print(f"worst gradient norm: {worst:.1e}")


def test_gradients(golden, training_pass):
    """Rounding in float32 changes them by up to 1 % between processors."""
    compare_gradients(training_pass[1], golden, tolerance=3e-2)


@pytest.mark.slow
@pytest.mark.parametrize("cpu_kernels", ["cpu_kernels", "plain"], indirect=True)
def test_float64(golden):
    """Network, losses and gradients in float64, with tighter tolerances."""
    golden.reset()
    objective = copy.deepcopy(golden.objective).double().train()
    network = objective.network
    batch = {key: x.double() if x.is_floating_point() else x for key, x in golden.batch.items()}
    batch["rgb"] = golden.erp.double() * network.rgb_std + network.rgb_mean
    predictions = network(batch["rgb"], golden.colors.double())
    assert all(predictions[task].dtype == torch.float64 for task in network.tasks)
    losses = objective.losses_of(predictions, batch)
    assert all(loss.dtype == torch.float64 for loss in losses.values())
    losses["total"].backward()
    compare_gradients(gradient_norms(objective), golden, tolerance=2e-3)
    for name in ("total", *(f"inter_{task}" for task in network.tasks)):
        ours, theirs = losses[name.replace("inter_", "intermediate_")].item(), golden.arrays[f"loss_{name}_float64"]
        error = abs(ours - float(theirs)) / abs(float(theirs))
        print(f"{name}: {error:.1e}")
        assert error < 1e-6, f"{name}: {ours} instead of {theirs}"
