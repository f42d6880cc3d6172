"""DeepLab, its losses and gradients against the released code, in float64."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from losses.perspective import l1_depth_loss, normal_loss, segmentation_loss
from losses.reduction import global_means
from networks.released_achievement import released_architecture, released_key
from tests.achievement_golden import check_batch_statistics, files_of, load, load_meta, model_case
from tests.achievement_gradients import (
    check_gradient_norms,
    check_losses,
    check_shared_gradients,
    report,
    task_gradients,
)

RTOL = 1e-6  # relative error of losses and BatchNorm statistics, and of outputs as a fraction of the largest


def param(path: Path):
    """A golden file; those with a ResNet are slow."""
    meta = load_meta(load(path))
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if meta.backbone == "resnet50" else [])


@pytest.fixture(scope="module", params=[param(path) for path in files_of("DeepLab")])
def golden(request) -> SimpleNamespace:
    """The arrays of a golden file, and the outputs, losses and gradients of our network for the same inputs."""
    if not load_meta(load(request.param)).shared_head:
        pytest.skip("the released names of networks with an ASPP per task are unknown")
    case = model_case(request.param)
    network = case.network
    with torch.no_grad():
        outputs = network.eval()(case.rgb)
    predictions = network.train()(case.rgb)
    losses = {
        "segmentation": partial(segmentation_loss, label_smoothing=getattr(case.meta, "label_smoothing", 0.0)),
        "depth": l1_depth_loss,
        "normal": normal_loss,
    }
    values = [
        loss.value for loss in global_means([losses[task](predictions[task], case.batch) for task in network.tasks])
    ]
    gradients = task_gradients(network, values)
    return SimpleNamespace(**vars(case), outputs=outputs, values=values, gradients=gradients)


def test_names_and_shapes(golden):
    """All entries of the released state dict, in the same order."""
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
    check_losses(golden, RTOL)
    for task, value in zip(golden.meta.app, golden.values, strict=True):
        np.testing.assert_allclose(value.item(), golden.arrays[f"loss_{task}"], rtol=RTOL)


def test_batch_statistics(golden):
    """BatchNorm statistics after one batch in training mode."""
    state = {released_key(key): value for key, value in golden.network.state_dict().items()}
    check_batch_statistics(state, golden.arrays, RTOL)


def test_gradient_norms(golden):
    check_gradient_norms(golden)


def test_inner_products_of_the_shared_gradients(golden):
    check_shared_gradients(golden)


def test_own_parameters_get_gradients_from_one_task(golden):
    own = {task: {id(parameter) for parameter in golden.network.own_parameters(task)} for task in golden.network.tasks}
    for name, parameter in golden.network.named_parameters():
        for task, gradients in zip(golden.network.tasks, golden.gradients, strict=True):
            if any(id(parameter) in parameters for other, parameters in own.items() if other != task):
                assert not gradients[name].any(), name
