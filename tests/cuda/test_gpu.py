"""Tests on a GPU: `pytest -m gpu -n 0`. Some also run on the CPU.

TF32 is off, as values are compared with those of a CPU.
"""

import copy

import numpy as np
import pytest
import torch

from datasets.loading import decoded_ahead
from datasets.panorama import unpack
from networks.elite360m import Elite360M
from prediction.predictor import predictor_of
from prediction.tta import ViewAverage
from tasks import TASKS, build_evaluator
from tasks.build import build_objective
from tests.cuda.test_pretended_cuda import packed_batch
from tests.networks.test_parity import golden, training_losses  # noqa: F401 - a fixture
from tests.processes import run_processes
from tests.tiny import assert_identical, tiny_batch, tiny_stepper
from training.optimizers import OptimizationSettings
from training.setup import prepare_network
from training.step import Stepper
from utils.cpu_kernels import without_cpu_kernels
from utils.distributed import distribute

CLASSES = 5
on_gpu = pytest.param("cuda", marks=pytest.mark.gpu)
on_cpu = pytest.param("cpu", marks=pytest.mark.slow)
either = pytest.mark.parametrize("device", [on_cpu, on_gpu], indirect=True)
gpu_only = pytest.mark.parametrize("device", [on_gpu], indirect=True)


@pytest.fixture
def device(request, monkeypatch) -> torch.device:
    """A device of this type, without TF32."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU, or it is hidden: run with -m gpu")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return torch.device("cuda", 0) if request.param == "cuda" else torch.device("cpu")


@pytest.fixture
def deterministic(monkeypatch):
    """Deterministic algorithms, as set by `training.setup.prepare_device`."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def moved(batch: dict, device: torch.device) -> dict:
    return {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in batch.items()}


def real_batch(device: torch.device) -> dict:
    """`packed_batch`, decoded, at half its height and width."""
    batch = unpack(packed_batch())
    return moved({key: x[..., ::2, ::2] if isinstance(x, torch.Tensor) else x for key, x in batch.items()}, device)


def real_stepper(
    device: torch.device,
    amp_type: torch.dtype | None = None,
    channels_last: bool = False,
    compiled: bool = False,
    late: bool = False,
) -> Stepper:
    """The paper's network with few ICOSAP points, and the same weights every time."""
    torch.manual_seed(0)
    network = Elite360M("Elite360M_Res18", CLASSES, ico_level=2, pretrained=False)
    prepare_network(network, channels_last, compiled)
    objective = build_objective(network, amp_type=amp_type).train()
    settings = OptimizationSettings(num_steps=20, fp16=amp_type == torch.float16)
    return Stepper(objective, distribute(objective, device), settings, device, late)


def first_losses(device: torch.device, **settings) -> dict[str, float]:
    """Losses of the first step."""
    result = real_stepper(device, **settings).step([real_batch(device)])
    assert result.problem == ""
    return {name: loss.item() for name, loss in result.losses.items()}


@gpu_only
def test_golden_losses(golden, device):  # noqa: F811
    """Losses of the released code, in float32."""
    released = {key.removeprefix("loss_"): float(x) for key, x in golden.arrays.items() if key.startswith("loss_")}
    theirs = {key: value for key, value in released.items() if not key.endswith(("_float64", "uncertainty_total"))}
    of_cpu = training_losses(golden)
    golden.reset()
    objective = copy.deepcopy(golden.objective).to(device).train()
    predictions = objective.network(golden.batch["rgb"].to(device), golden.colors.to(device))
    losses = objective.losses_of(predictions, moved(golden.batch, device))
    assert theirs
    for key, value in theirs.items():
        name = key.replace("inter_", "intermediate_")
        assert losses[name].item() == pytest.approx(value, rel=1e-5), name
        assert losses[name].item() == pytest.approx(of_cpu[name].item(), rel=1e-5), name


@gpu_only
def test_losses_and_gradients_of_the_cpu(device):
    ours, theirs = real_stepper(device), real_stepper(torch.device("cpu"))
    for stepper, where in ((ours, device), (theirs, torch.device("cpu"))):
        stepper.objective.begin_step([real_batch(where)])
        stepper.objective(real_batch(where))["total"].backward()
    named = dict(ours.objective.named_parameters())
    for name, parameter in theirs.objective.named_parameters():
        scale = parameter.grad.abs().max().clamp_min(1e-3)
        assert ((named[name].grad.cpu() - parameter.grad).abs().max() / scale).item() < 1e-3, name


@gpu_only
def test_metrics_of_the_cpu(device):
    batch = real_batch(torch.device("cpu"))
    predictions = {
        "depth": 10 * torch.rand_like(batch["depth"]),
        "normal": torch.randn_like(batch["normal"]),
        "segmentation": torch.randn(2, CLASSES, *batch["semantic"].shape[1:]),
    }
    results = []
    for where in (torch.device("cpu"), device):
        evaluator = build_evaluator(tuple(TASKS), CLASSES, where, with_breakdown=True)
        evaluator.update(moved(predictions, where), moved(batch, where))
        results.append(evaluator.compute()[0])
    of_cpu, ours = results
    for task, metrics in of_cpu.items():
        assert ours[task] == pytest.approx(metrics, rel=1e-9, nan_ok=True), task


@either
def test_bf16(device):
    assert first_losses(device, amp_type=torch.bfloat16) == pytest.approx(first_losses(device), rel=0.05)


@either
@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_predictions(device, amp):
    """Of four views in one batch, also in half precision: close to those of single views on the CPU."""
    torch.manual_seed(0)
    network = Elite360M("Elite360M_Res18", CLASSES, ico_level=2, pretrained=False).eval()
    rgb = real_batch(torch.device("cpu"))["rgb"]
    with torch.no_grad():
        expected = ViewAverage(network, 4, "camera")(rgb)
        predictor = predictor_of(copy.deepcopy(network).to(device), amp, channels_last=True)
        with without_cpu_kernels():
            ours = ViewAverage(predictor, 4, "camera")(rgb.to(device))
    for task, maps in expected.items():
        assert ours[task].dtype == torch.float32
        error = (ours[task].cpu() - maps).abs().mean() / maps.abs().mean()
        assert error.item() < (1e-4 if amp == "off" else 0.05), task


@gpu_only
def test_fp16(device):
    """The initial scales are too large; then weights move."""
    stepper, batch = real_stepper(device, amp_type=torch.float16), real_batch(device)
    results = [stepper.step([batch]) for _ in range(8)]
    assert [result.problem for result in results] == [""] * 8
    assert not results[-1].overflowed
    losses = {name: loss.item() for name, loss in results[0].losses.items()}
    assert losses == pytest.approx(first_losses(device), rel=0.05)


@either
def test_channels_last(device):
    assert first_losses(device, channels_last=True) == pytest.approx(first_losses(device), rel=1e-4)


@gpu_only
def test_compiled(device):
    assert first_losses(device, compiled=True) == pytest.approx(first_losses(device), rel=1e-3)


@either
def test_resumed_bit_for_bit(device, deterministic):
    """With --deterministic: a stepper with the state of another one takes the same step."""
    batch = real_batch(device)
    first, second = real_stepper(device), real_stepper(device)
    first.step([batch])
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for stepper in (first, second):
        stepper.step([batch])
    assert_identical(second.state_dict(), first.state_dict())


@either
def test_late_results_are_the_same(device, deterministic):
    """With --deterministic, bit for bit: for good steps, a bad one, and one without labels of a task."""
    batch = real_batch(device)
    bad, unlabeled = (
        batch | {"rgb": batch["rgb"] * torch.nan},
        batch | {"semantic": -torch.ones_like(batch["semantic"])},
    )
    states, problems = [], []
    for late in (False, True):
        stepper = real_stepper(device, late=late)
        results = [stepper.step([some]) for some in (batch, bad, batch, unlabeled, batch)]
        results.append(stepper.settle())
        states.append(stepper.state_dict())
        problems.append([result.problem for result in results if result])
    assert_identical(states[1], states[0])
    assert problems[1] == problems[0]
    assert [bool(problem) for problem in problems[0]] == [False, True, False, False, False]


@gpu_only
def test_no_step_with_a_late_result_waits(device):
    """After the first steps, which create constants."""
    stepper, batch = real_stepper(device, late=True), real_batch(device)
    for _ in range(3):
        stepper.step([batch])
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.step([batch])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@gpu_only
def test_batches_decoded_ahead(device):
    """The same as those decoded on the CPU, although the GPU is kept busy with each of them."""
    packed = [packed_batch() | {"index": np.array([number, number + 1])} for number in range(6)]
    packed = [{**batch, "rgb": np.roll(batch["rgb"], number, axis=2)} for number, batch in enumerate(packed)]
    busy = torch.rand(2048, 2048, device=device)
    for batch, source in zip(decoded_ahead(iter(packed), device), packed, strict=True):
        expected = unpack(source)
        for _ in range(20):
            busy = (busy @ busy).tanh()
        for key, value in expected.items():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                torch.testing.assert_close(batch[key].cpu(), value, rtol=1e-5, atol=1e-6, msg=key)
            elif isinstance(value, torch.Tensor):
                assert (batch[key].cpu() != value).sum() <= 2, key  # a normal may be at the limit of validity


@gpu_only
def test_memory_does_not_grow(device):
    stepper, batch = real_stepper(device), real_batch(device)
    peaks = []
    for _ in range(6):
        torch.cuda.reset_peak_memory_stats(device)
        stepper.step([batch])
        peaks.append(torch.cuda.max_memory_allocated(device))
    assert max(peaks[3:]) <= peaks[2]


def losses_in_process(rank: int, processes: int) -> dict[str, float]:
    """Losses of this process's part of four images."""
    where = torch.device("cuda", rank)
    stepper = tiny_stepper("fixed", device=where, late=False)
    losses = stepper.step([moved(tiny_batch(range(rank, 4, processes)), where)]).losses
    return {name: loss.item() for name, loss in losses.items()}


@gpu_only
@pytest.mark.parametrize("processes", [1, 2])
def test_processes(device, processes, tmp_path):
    """With nccl; thanks to SyncBatchNorm, several processes equal one process with their joint batch."""
    if torch.cuda.device_count() < processes:
        pytest.skip(f"needs {processes} GPUs, {torch.cuda.device_count()} visible")
    results = run_processes(losses_in_process, processes, tmp_path, "cuda")
    for name, loss in losses_in_process(0, 1).items():
        mean = sum(result[name] for result in results) / processes
        assert mean == pytest.approx(loss, rel=1e-4), name
