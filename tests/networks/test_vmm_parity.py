"""VMM, its losses and gradients against the released code, in float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from losses.detection import detection_loss, detection_losses
from losses.perspective import l1_depth_loss, segmentation_loss
from losses.reduction import global_means
from networks.released_achievement import released_architecture, released_key
from tests.achievement_golden import check_batch_statistics, files_of, model_case
from tests.achievement_gradients import check_gradient_norms, check_losses, check_shared_gradients, task_gradients
from utils.anchors import anchors_per_level
from utils.tasks import DETECTION

RTOL = 1e-6  # relative error of losses and BatchNorm statistics, and of outputs as a fraction of the largest
LOSSES = {"detection": detection_loss, "segmentation": segmentation_loss, "depth": l1_depth_loss}


@pytest.fixture(scope="module", params=files_of("VMM"), ids=lambda path: path.stem)
def golden(request) -> SimpleNamespace:
    """A model case with outputs in eval mode, and predictions and losses of one batch in training mode."""
    case = model_case(request.param)
    with torch.no_grad():
        outputs = case.network.eval()(case.rgb)
    predictions = case.network.train()(case.rgb)
    batch = case.batch | {"rgb": case.rgb, "boxes": pad_sequence(case.boxes, batch_first=True)}
    losses = [LOSSES[task](predictions[task], batch) for task in case.network.tasks]
    values = [loss.value for loss in global_means(losses)]
    return SimpleNamespace(
        **(vars(case) | {"batch": batch}),
        outputs=outputs,
        predictions=predictions,
        values=values,
    )


@pytest.fixture(scope="module")
def with_gradients(golden) -> SimpleNamespace:
    return SimpleNamespace(**vars(golden), gradients=task_gradients(golden.network, golden.values))


def test_names_and_shapes(golden):
    """All entries of the released state dict."""
    ours = {released_key(key): tuple(value.shape) for key, value in golden.network.state_dict().items()}
    assert ours == golden.shapes


def test_architecture_is_inferred(golden):
    found = released_architecture({key: torch.empty(shape) for key, shape in golden.shapes.items()})
    assert found.pop("tasks") == tuple(golden.meta.app)
    assert found.pop("cls_head") == "sigmoid"
    names = ("arch", "num_classes", "backbone", "normal_size", "head_type")
    assert found == {name: getattr(golden.meta, name) for name in names}


def test_outputs(golden):
    arrays, meta = golden.arrays, golden.meta
    outputs = {task: output[..., :: meta.stride, :: meta.stride] for task, output in golden.outputs.items()}
    detection = golden.outputs[DETECTION]
    assert detection.shape == (meta.batch, sum(anchors_per_level(meta.size)), 4 + meta.num_classes - 1)
    del outputs[DETECTION]
    outputs["loc"], outputs["conf"] = detection[:, :: meta.anchor_stride].split([4, meta.num_classes - 1], dim=2)
    assert {key for key in arrays if key.startswith("eval_")} == {f"eval_{name}" for name in outputs}
    for name, ours in outputs.items():
        theirs = arrays[f"eval_{name}"]
        assert ours.shape == theirs.shape
        error = np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()
        print(f"{name}: {error:.1e}")  # shown with pytest -rP
        assert error < RTOL, name


def test_losses(golden):
    check_losses(golden, RTOL)
    found = detection_losses(golden.predictions[DETECTION], golden.batch)
    assert (found.box / found.num_positives).item() == pytest.approx(golden.arrays["loss_odm_loc"].item(), rel=RTOL)
    assert (found.classes / found.num_positives).item() == pytest.approx(
        golden.arrays["loss_odm_conf"].item(), rel=RTOL
    )
    for task, value in zip(golden.meta.app[1:], golden.values[1:], strict=True):
        assert value.item() == pytest.approx(golden.arrays[f"loss_{task}"].item(), rel=RTOL)


@pytest.mark.slow
def test_gradient_norms(with_gradients):
    check_gradient_norms(with_gradients)


@pytest.mark.slow
def test_inner_products_of_the_shared_gradients(with_gradients):
    check_shared_gradients(with_gradients)


def test_number_of_shared_parameters(golden):
    count = sum(parameter.numel() for parameter in golden.network.shared_parameters())
    assert count == golden.arrays["trunk_param_count"]


def test_batch_statistics(golden):
    state = {released_key(key): value for key, value in golden.network.state_dict().items()}
    check_batch_statistics(state, golden.arrays, RTOL)
