"""DeepLab, its losses and gradients against those of the released code, in float64."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from losses.perspective import depth_loss, normal_loss, segmentation_loss
from losses.reduction import global_means
from networks.deeplab import DeepLab
from networks.released_achievement import convert_released_weights, released_architecture, released_key
from tests.achievement_golden import (
    files_of,
    load,
    load_meta,
    model_inputs,
    released_shapes,
    released_state,
    targets,
)

RTOL = 1e-6  # of losses, of BatchNorm's statistics, and of outputs, as a fraction of the largest
GRADIENT_RTOL = 1e-5


def param(path: Path):
    """A model case; those with a ResNet take long."""
    meta = load_meta(load(path))
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if meta.backbone == "resnet50" else [])


def build_network(meta: SimpleNamespace) -> DeepLab:
    return DeepLab(
        tuple(meta.app),
        meta.num_classes,
        meta.backbone,
        meta.normal_size,
        meta.output_stride,
        meta.skip_connection,
        meta.shared_head,
        pretrained=False,
    )


def no_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, (nn.Dropout2d, StochasticDepth)):
            module.p = 0.0


@pytest.fixture(scope="module", params=[param(path) for path in files_of("DeepLab")])
def golden(request) -> SimpleNamespace:
    """The arrays of a file, and what our network computes from the same weights and inputs."""
    arrays = load(request.param)
    meta = load_meta(arrays)
    if not meta.shared_head:
        pytest.skip("released names of networks with an ASPP per task are not known")
    shapes = released_shapes(request.param)
    network = build_network(meta)
    state = convert_released_weights(released_state(shapes, meta.gain), network.state_dict())
    network.load_state_dict(state)
    network.double()

    inputs = model_inputs(meta)
    sums = [inputs["images"], np.abs(inputs["images"]), inputs["depth"], inputs["normals"], inputs["labels"]]
    sums = [x.sum(dtype=np.float64) for x in sums]
    np.testing.assert_allclose(sums, arrays["check_inputs"], rtol=1e-6, atol=1e-3)
    batch = targets(inputs["depth"], inputs["normals"], inputs["labels"])
    # theirs takes normalized images
    rgb = torch.from_numpy(inputs["images"]).double() * network.rgb_std + network.rgb_mean

    with torch.no_grad():
        outputs = network.eval()(rgb)
    no_dropout(network)
    predictions = network.train()(rgb)
    losses = {
        "segmentation": partial(segmentation_loss, label_smoothing=getattr(meta, "label_smoothing", 0.0)),
        "depth": depth_loss,
        "normal": normal_loss,
    }
    values = [loss.value for loss in global_means([losses[task](predictions[task], batch) for task in network.tasks])]
    return SimpleNamespace(
        arrays=arrays,
        meta=meta,
        shapes=shapes,
        network=network,
        outputs=outputs,
        values=values,
        gradients=task_gradients(network, values),
    )


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
    assert found == {name: getattr(meta, name) for name in ("backbone", "normal_size", "skip_connection")}


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
    checked = [name.removesuffix("_key") for name in golden.arrays if name.startswith("bn") and name.endswith("_key")]
    assert checked
    for name in checked:
        key = str(golden.arrays[f"{name}_key"])
        for suffix, ours in (("var", state[key]), ("mean", state[key.replace("running_var", "running_mean")])):
            theirs = golden.arrays[f"{name}_{suffix}"]
            error = np.abs(ours[:8].numpy() - theirs).max() / np.abs(theirs).max()
            report(f"{name}_{suffix}", error)
            assert error < RTOL, key


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
