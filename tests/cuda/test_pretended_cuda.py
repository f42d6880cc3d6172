"""All GPU code with tensors that only claim to be on a GPU: no operation mixes devices or waits."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch

from datasets.panorama import unpack
from networks.elite360m import Elite360M
from prediction.predictor import predictor_of
from prediction.tta import ViewAverage
from tasks import TASKS, build_evaluator
from tasks.build import build_objective
from tests.cuda.pretend import DEVICE, HostWaits, pretend, pretended_cuda
from training.setup import AMP_TYPES, prepare_network
from utils.tasks import TASK_NAMES

HEIGHT, WIDTH, CLASSES, BATCH = 64, 128, 5, 2
AMP_NAMES = {amp_type: name for name, amp_type in AMP_TYPES.items()}
RES18 = "Elite360M_Res18"
TASK_SETS = [tasks for number in (1, 2, 3) for tasks in combinations(TASK_NAMES, number)]
ABLATIONS = [
    {"b2f": "corrected"},
    *({"fusion": fusion} for fusion in ("semantic", "distance", "none")),
    {"cross_task": "none"},
    {"intermediate": False},
]


def meta_network(backbone: str = RES18, tasks: tuple[str, ...] = TASK_NAMES, **settings) -> Elite360M:
    """A network on the meta device, without values."""
    with torch.device("meta"):
        return Elite360M(backbone, CLASSES, tasks, ico_level=2, pretrained=False, **settings)


def packed_batch() -> dict:
    """A batch as sent by workers: colors and normals in bytes, depth in millimeters."""
    generator = np.random.default_rng(0)
    return {
        "rgb": generator.integers(0, 256, (BATCH, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "depth": generator.integers(0, 12000, (BATCH, HEIGHT, WIDTH), dtype=np.uint16),
        "normal": generator.integers(0, 256, (BATCH, HEIGHT, WIDTH, 3), dtype=np.uint8),
        "semantic": generator.integers(-1, CLASSES, (BATCH, HEIGHT, WIDTH), dtype=np.int8),
        "depth_scale": np.full(BATCH, 1e-3, np.float32),
        "normal_decoding": np.tile(np.array([[1 / 127.5, 0, 0, -1]], np.float32), (BATCH, 3, 1)),
        "id": ["a", "b"],
        "index": np.arange(BATCH),
    }


def is_on_gpu(tensor: torch.Tensor) -> bool:
    return tensor.device == DEVICE


def pretend_to_train(network: Elite360M, amp_type: torch.dtype | None = None, with_grad: bool = False) -> None:
    """Forward pass and losses. `with_grad`: also choose what to save for a backward pass."""
    with torch.device("meta"):
        objective = build_objective(network, amp_type=amp_type).train()
    with pretended_cuda() as mode, torch.set_grad_enabled(with_grad):
        batch = pretend(unpack(packed_batch()), mode)
        pretend(objective, mode)
        with HostWaits() as waits:
            objective.begin_step([batch])
            losses = objective(batch)
        assert waits.names == []
        assert is_on_gpu(objective.has_pixels)
        for name, loss in losses.items():
            assert is_on_gpu(loss), name
            assert loss.dtype == torch.float32, name


def pretend_to_evaluate(network: Elite360M, amp_type: torch.dtype | None = None) -> None:
    """Prediction, average over views, and all metrics of a batch, up to their single transfer."""
    with pretended_cuda() as mode, torch.no_grad():
        batch = pretend(unpack(packed_batch()), mode)
        pretend(network.eval(), mode)
        predictor = predictor_of(network, AMP_NAMES[amp_type])
        with HostWaits() as waits:
            plain = predictor(batch["rgb"])
        assert waits.names == []
        average = ViewAverage(predictor, number=3, normal_frame="camera")
        evaluator = build_evaluator(network.tasks, CLASSES, DEVICE, with_breakdown=True)
        for constants in ("created", "cached"):
            with HostWaits() as waits:
                averaged = average(batch["rgb"])
                values = evaluator.batch_values(averaged, batch)
            assert constants == "created" or waits.names == []
        for predictions in (plain, averaged):
            assert predictions.keys() == set(network.tasks)
            assert all(map(is_on_gpu, predictions.values()))
            assert {maps.dtype for maps in predictions.values()} == {torch.float32}
        assert is_on_gpu(values)
        assert values.dtype == torch.float64


def test_training():
    pretend_to_train(meta_network(), torch.float16, with_grad=True)


def test_evaluation():
    pretend_to_evaluate(meta_network())


@pytest.mark.parametrize("channels_last", [True, False])
def test_one_memory_layout(channels_last):
    """All feature maps have the memory layout of the weights; only the image may differ."""
    network = meta_network().eval()
    prepare_network(network, channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    others, seen = [], []

    def record(name: str, module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        maps = [output] if inputs[0].shape[1] == 3 else [inputs[0], output]
        seen.append(name)
        others.extend(name for x in maps if not x.is_contiguous(memory_format=layout))

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(partial(record, name))
    with pretended_cuda() as mode, torch.no_grad():
        pretend(network, mode)(pretend(torch.rand(BATCH, 3, HEIGHT, WIDTH), mode))
    assert len(seen) > 30
    assert others == []


def test_decoding():
    """Packed maps are copied without waiting, and decoded on the device."""
    with pretended_cuda(), HostWaits() as waits:
        batch = unpack(packed_batch(), DEVICE)
    assert waits.names == []
    tensors = {key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
    assert len(tensors) == 6
    assert all(map(is_on_gpu, tensors.values()))
    assert batch["depth"].shape == (BATCH, 1, HEIGHT, WIDTH)


@pytest.mark.parametrize("task", TASKS)
def test_losses(task):
    """The segmentation loss resizes logits itself."""
    channels = {"depth": 1, "normal": 3, "segmentation": CLASSES}[task]
    with pretended_cuda() as mode:
        batch = pretend(unpack(packed_batch()), mode)
        scale = 4 if task == "segmentation" else 1
        shape = (BATCH, channels, HEIGHT // scale, WIDTH // scale)
        prediction = torch.rand(shape, device=DEVICE, requires_grad=True)
        with HostWaits() as waits:
            loss = TASKS[task].loss(prediction, batch)
    assert waits.names == []
    assert is_on_gpu(loss.total)
    assert is_on_gpu(loss.num_pixels)


@pytest.mark.slow
def test_a_transformer():
    """In bf16; the ablations are in fp16, the task sets in float32."""
    network = meta_network("Elite360M_SwinT", ("depth", "segmentation"))
    pretend_to_train(network, torch.bfloat16)
    pretend_to_evaluate(network, torch.bfloat16)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", TASK_SETS, ids="-".join)
def test_task_sets(tasks):
    network = meta_network(tasks=tasks)
    pretend_to_train(network)
    pretend_to_evaluate(network)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ABLATIONS, ids=str)
def test_ablations(settings):
    network = meta_network(**settings)
    pretend_to_train(network, torch.float16)
    pretend_to_evaluate(network, torch.float16)
