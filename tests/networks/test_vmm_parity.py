"""VMM against the released code, in float64."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from networks.released_achievement import released_architecture, released_key
from tests.achievement_golden import check_batch_statistics, files_of, model_case
from utils.anchors import anchors_per_level
from utils.tasks import DETECTION

RTOL = 1e-6  # of outputs, as a fraction of the largest, and of BatchNorm's statistics


@pytest.fixture(scope="module", params=files_of("VMM"), ids=lambda path: path.stem)
def golden(request) -> SimpleNamespace:
    """A model case, with the outputs in eval mode, and after one batch in training mode."""
    case = model_case(request.param)
    with torch.no_grad():
        outputs = case.network.eval()(case.rgb)
        case.network.train()(case.rgb)
    return SimpleNamespace(**vars(case), outputs=outputs)


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


def test_batch_statistics(golden):
    state = {released_key(key): value for key, value in golden.network.state_dict().items()}
    check_batch_statistics(state, golden.arrays, RTOL)


def test_number_of_shared_parameters(golden):
    count = sum(parameter.numel() for parameter in golden.network.shared_parameters())
    assert count == golden.arrays["trunk_param_count"]
