"""The cost of a prediction: parameters, operations, time and memory."""

import time
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from networks.checkpoint import Checkpoint
from prediction.candidate import BatchPredictor

_CALLS = 5  # timed predictions, after one for warm-up


@torch.no_grad()
def measure_cost(
    checkpoint: Checkpoint, predict: BatchPredictor, height: int, width: int, device: torch.device
) -> dict[str, float | int | None]:
    """The cost of predicting one panorama (H, W) at a time.

    Args:
        checkpoint: of the network, whose parameters and multiply-adds in one forward pass are counted.
        predict: the timed predictor, with its precision and averaging over views.

    Returns:
        ``parameters``; ``multiply_adds`` of convolutions and matrix products; ``ms_per_image``, the median of 5;
        ``peak_memory_mib`` allocated on the GPU, weights included; None on a CPU.
    """
    rgb = torch.rand(1, 3, height, width, device=device)
    network = checkpoint.build_network().to(device).eval()
    counter = FlopCounterMode(display=False)
    with counter:
        network(rgb)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    del network
    on_gpu = device.type == "cuda"
    predict({"rgb": rgb})
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    times = [_seconds(predict, rgb) for _ in range(_CALLS)]
    return {
        "parameters": parameters,
        "multiply_adds": counter.get_total_flops() // 2,
        "ms_per_image": 1000 * median(times),
        "peak_memory_mib": torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None,
    }


def _seconds(predict: BatchPredictor, rgb: torch.Tensor) -> float:
    """Time of one prediction, including the work of a GPU."""
    if rgb.is_cuda:
        torch.cuda.synchronize(rgb.device)
    start = time.perf_counter()
    predict({"rgb": rgb})
    if rgb.is_cuda:
        torch.cuda.synchronize(rgb.device)
    return time.perf_counter() - start
