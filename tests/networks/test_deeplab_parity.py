"""DeepLab, its losses and gradients against those of the released code, in float64."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from losses.perspective import depth_loss, normal_loss, segmentation_loss
from losses.reduction import global_means
from networks.released_achievement import released_architecture, released_key
from tests.achievement_golden import check_batch_statistics, files_of, load, load_meta, model_case

RTOL = 1e-6  # of losses, of BatchNorm's statistics, and of outputs, as a fraction of the largest
GRADIENT_RTOL = 1e-5


def param(path: Path):
    """A model case; those with a ResNet take long."""
    meta = load_meta(load(path))
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if meta.backbone == "resnet50" else [])


@pytest.fixture(scope="module", params=[param(path) for path in files_of("DeepLab")])
def golden(request) -> SimpleNamespace:
    """The arrays of a file, and what our network computes from the same weights and inputs."""
    if not load_meta(load(request.param)).shared_head:
        pytest.skip("released names of networks with an ASPP per task are not known")
    case = model_case(request.param)
    network = case.network
    with torch.no_grad():
        outputs = network.eval()(case.rgb)
    predictions = network.train()(case.rgb)
    losses = {
        "segmentation": partial(segmentation_loss, label_smoothing=getattr(case.meta, "label_smoothing", 0.0)),
        "depth": depth_loss,
        "normal": normal_loss,
    }
    values = [
        loss.value for loss in global_means([losses[task](predictions[task], case.batch) for task in network.tasks])
    ]
    gradients = task_gradients(network, values)
    return SimpleNamespace(**vars(case), outputs=outputs, values=values, gradients=gradients)


def task_gradients(network: nn.Module, values: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """The gradient of each task's loss, by our names of the parameters; zeros where a loss does not reach."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    gradients = []
    for value in values:
        found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
        gradients.append(dict(zip(names, found, strict=True)))
    return gradients


def report(name: str, error: float) -> None:
    print(f"{name}: {error:.1e}")  # shown with pytest -rP


def test_names_and_shapes(golden):
    """All entries of the released state dict, in its order."""
    ours = {released_key(key): tuple(value.shape) for key, value in golden.network.state_dict().items()}
    assert list(ours.items()) == list(golden.shapes.items())


def test_architecture_is_inferred(golden):
    meta, state = golden.meta, {key: torch.empty(shape) for key, shape in golden.shapes.items()}
    found = released_architecture(state)
    assert set(found.pop("tasks")) == set(meta.app)
    assert found.pop("num_classes") == (meta.num_classes if "segmentation" in meta.app else 0)
    same_rates = (16, 32)
    assert found.pop("output_stride") in (same_rates if meta.output_stride in same_rates else (8,))
    assert found == {name: getattr(meta, name) for name in ("arch", "backbone", "normal_size", "skip_connection")}


def test_outputs(golden):
    stride = golden.meta.stride
    assert {key for key in golden.arrays if key.startswith("eval_")} == {f"eval_{task}" for task in golden.meta.app}
    for task, output in golden.outputs.items():
        ours, theirs = output[..., ::stride, ::stride].numpy(), golden.arrays[f"eval_{task}"]
        assert ours.shape == theirs.shape
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        report(task, error)
        assert error < RTOL, task


def test_losses(golden):
    theirs = golden.arrays["task_losses"]
    ours = np.array([value.item() for value in golden.values])
    error = (np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-30)).max()
    report("losses", error)
    np.testing.assert_allclose(ours, theirs, rtol=RTOL)
    np.testing.assert_allclose(ours.sum(), golden.arrays["loss_sum"], rtol=RTOL)
    for task, value in zip(golden.meta.app, ours, strict=True):
        np.testing.assert_allclose(value, golden.arrays[f"loss_{task}"], rtol=RTOL)


def test_batch_statistics(golden):
    """Running statistics after one batch in training mode."""
    state = {released_key(key): value for key, value in golden.network.state_dict().items()}
    check_batch_statistics(state, golden.arrays, RTOL)


def test_gradient_norms(golden):
    totals = {
        released_key(name): sum(gradients[name] for gradients in golden.gradients).norm().item()
        for name in golden.gradients[0]
    }
    theirs = dict(zip(golden.arrays["grad_keys"].tolist(), golden.arrays["grad_norms"].tolist(), strict=True))
    assert totals.keys() == theirs.keys()
    worst = 0.0
    for key, norm in theirs.items():
        if norm > 1e-6:
            worst = max(worst, abs(totals[key] - norm) / norm)
            assert totals[key] == pytest.approx(norm, rel=GRADIENT_RTOL), key
        else:  # an exact zero seen through rounding
            assert totals[key] < 1e-6, key
    report("gradient norms", worst)


def test_inner_products_of_the_shared_gradients(golden):
    shared = {id(parameter) for parameter in golden.network.shared_parameters()}
    names = [name for name, parameter in golden.network.named_parameters() if id(parameter) in shared]
    assert sum(golden.gradients[0][name].numel() for name in names) == golden.arrays["trunk_param_count"]
    rows = [torch.stack([g[name].flatten() for g in golden.gradients]) for name in names]
    ours, theirs = sum(row @ row.T for row in rows).numpy(), golden.arrays["trunk_gram"]
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    report("inner products", error)
    assert error < GRADIENT_RTOL


def test_own_parameters_are_reached_by_one_task_alone(golden):
    own = {task: {id(parameter) for parameter in golden.network.own_parameters(task)} for task in golden.network.tasks}
    for name, parameter in golden.network.named_parameters():
        for task, gradients in zip(golden.network.tasks, golden.gradients, strict=True):
            if any(id(parameter) in others for other, others in own.items() if other != task):
                assert not gradients[name].any(), name
