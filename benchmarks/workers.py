"""The measurements of benchmarks/model.py and benchmarks/achievement.py, each run in a separate process.

    python -m benchmarks.workers '{"measure": "inference", "network": "plain", ...}'

Prints the measurements as JSON. Peak memory and malloc settings are per process, hence the separate processes.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain import PlainElite360M, plain_losses
from benchmarks.steps import DEVICE, clock, perspective_stepper_and_batch
from datasets.loading import evaluation_batches
from datasets.matterport3d import Matterport3D
from metrics.evaluator import evaluate
from networks.checkpoint import ModelSettings
from networks.elite360m import Elite360M
from networks.saved_network import save_checkpoint
from networks.vmm import VMM
from options.data import evaluation_set, loading_settings
from options.elite360m import train_parser
from options.training import optimization_settings
from tasks import TASKS, build_evaluator
from tasks.build import build_objective
from training.setup import prepare_device, prepare_network
from training.step import Stepper
from utils.malloc import tune_malloc
from utils.tasks import MAX_DEPTH
from visual.drawing import save_image

NETWORKS = {"plain": PlainElite360M, "ours": Elite360M}
CLASSES = Matterport3D.classes
VOC_CLASSES = 21  # with the background

PARTS = {  # of the network, and their modules
    "ERP encoder": ("erp_encoder",),
    "ICOSAP encoder": ("icosap_sampler", "icosap_encoder"),
    "fusion": ("fusion",),
    "shared decoder": ("shared_decoder", "preliminary"),
    "cross-task attention": ("cross_task",),
    "task decoders": ("decoders",),
    "heads": ("heads",),
}


def machine() -> dict:
    """The machine and library versions of the measurements."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU"
    return {"device": name, "threads": torch.get_num_threads(), "torch": torch.__version__}


def inference(network: str, backbone: str, height: int, batch_size: int, warm_ups: int, calls: int) -> dict:
    """Time predictions of one batch."""
    if network == "ours":
        tune_malloc()
    model = build(network, backbone).eval()
    rgb = torch.rand(batch_size, 3, height, 2 * height, device=DEVICE)
    with torch.inference_mode():
        return timed(lambda: model(rgb), warm_ups, calls)


def training(network: str, backbone: str, height: int, batch_size: int, warm_ups: int, calls: int) -> dict:
    """Time optimizer steps on one batch."""
    options = train_parser().parse_args([])
    if network == "ours":
        prepare_device(options.deterministic)
    model = build(network, backbone).train()
    batch = random_batch(batch_size, height)
    if network == "ours":
        prepare_network(model, options.channels_last, options.compile)
        objective = build_objective(model).to(DEVICE)
        stepper = Stepper(objective, objective, optimization_settings(options, steps_per_epoch=calls), DEVICE)
        measured = timed(lambda: stepper.step([batch]), warm_ups, calls)
        return measured | {"multiply_adds_per_second": machine_rate()}

    log_variances = torch.zeros(len(model.tasks), device=DEVICE, requires_grad=True)
    optimizer = torch.optim.Adam([*model.parameters(), log_variances], lr=options.learning_rate)

    def step() -> None:
        optimizer.zero_grad()
        plain_losses(model(batch["rgb"]), batch, log_variances)["total"].backward()
        optimizer.step()

    return timed(step, warm_ups, calls)


def achievement_training(arguments: list[str], warm_ups: int, calls: int) -> dict:
    """Time optimizer steps of train_achievement.py with these options.

    Returns:
        The results of `timed` and of `size_of`.
    """
    stepper, batch = perspective_stepper_and_batch(arguments, DEVICE)
    measured = timed(lambda: stepper.step([batch]), warm_ups, calls)
    return measured | size_of(stepper.network, batch["rgb"][:1])


def vmm_size(tasks: list[str], height: int, width: int) -> dict:
    """`size_of` VMM with the classes of VOC, on the meta device."""
    with torch.device("meta"):
        return size_of(VMM(tuple(tasks), VOC_CLASSES, pretrained=False), torch.empty(1, 3, height, width))


def size_of(network: torch.nn.Module, rgb: torch.Tensor) -> dict:
    """``parameters``, and ``multiply_adds`` of convolutions and matrix products in inference on `rgb`."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(rgb)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {"parameters": parameters, "multiply_adds": counter.get_total_flops() / 2}


def evaluation(folder: str, backbone: str, height: int) -> dict:
    """Seconds to evaluate the network on a test set, to only read it, and to only predict."""
    tune_malloc()
    size = ["--height", str(height), "--width", str(2 * height), "--num_workers", "0"]
    options = train_parser().parse_args(["--dataset", "MP3D", "--dataset_rootdir", folder, *size])
    dataset = evaluation_set(options, "test", height, 2 * height)
    batches = evaluation_batches(dataset, loading_settings(options), DEVICE)
    model = build("ours", backbone).eval()
    rgb = next(iter(batches))["rgb"]
    with torch.inference_mode():
        predicting = timed(lambda: model(rgb), 2, len(dataset))["times"]
    start = clock()
    for _ in batches:
        pass
    read = clock()
    evaluate(model, batches, build_evaluator(tuple(TASKS), len(CLASSES), DEVICE))
    return {"whole": clock() - read, "reading": read - start, "predicting": sum(predicting)}


def floor(backbone: str, height: int, warm_ups: int, calls: int) -> dict:
    """Time and multiply-adds of the network's parts in inference, and the multiply-adds per second of the machine."""
    tune_malloc()
    model = build("ours", backbone).eval()
    rgb = torch.rand(1, 3, height, 2 * height, device=DEVICE)
    with torch.inference_mode():
        timed(lambda: model(rgb), 0, warm_ups)
        times, rates = [], []
        for _ in range(calls):
            with growth_per_part(model, clock) as seconds:
                model(rgb)
            times.append(seconds)
            rates.append(machine_rate())
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter, growth_per_part(model, counter.get_total_flops) as flops:
        model(rgb)
    parts = {
        part: {"seconds": np.median([seconds[part] for seconds in times]), "multiply_adds": flops[part] / 2}
        for part in flops
    }
    return {"multiply_adds_per_second": np.median(rates), "parts": parts}


def bf16(backbone: str, height: int, warm_ups: int, calls: int) -> dict:
    """Seconds of predictions in float32 and under bf16 autocast, alternating, and how much they differ.

    Returns:
        ``float32`` and ``bf16``: seconds; ``depth``: mean relative difference; ``normal``: mean angle in degrees;
        ``segmentation``: fraction of pixels with the same label.
    """
    tune_malloc()
    model = build("ours", backbone).eval()
    rgb = torch.rand(1, 3, height, 2 * height, device=DEVICE)
    seconds, predictions = {"float32": [], "bf16": []}, {}
    with torch.inference_mode():
        for _ in range(warm_ups + calls):
            for name in seconds:
                start = clock()
                with torch.autocast(DEVICE.type, torch.bfloat16, enabled=name == "bf16"):
                    predictions[name] = model(rgb)
                seconds[name].append(clock() - start)
    exact, coarse = predictions["float32"], predictions["bf16"]
    cosine = (exact["normal"] * coarse["normal"]).sum(dim=1).clamp(-1, 1)
    labels, coarse_labels = (each["segmentation"].argmax(dim=1) for each in (exact, coarse))
    return {
        **{name: times[warm_ups:] for name, times in seconds.items()},
        "depth": ((coarse["depth"] - exact["depth"]).abs() / exact["depth"]).mean().item(),
        "normal": cosine.arccos().rad2deg().mean().item(),
        "segmentation": (labels == coarse_labels).float().mean().item(),
    }


def checkpoint(folder: str, backbone: str, height: int) -> dict:
    """Write a checkpoint, FOLDER/model.pth, and a noise image, FOLDER/image.png."""
    settings = ModelSettings(
        backbone=backbone,
        tasks=tuple(TASKS),
        ico_level=4,
        height=height,
        width=2 * height,
        dataset=Matterport3D.name,
        class_names=CLASSES.names,
        class_colours=CLASSES.colors,
    )
    objective = build_objective(settings.build_network())
    save_checkpoint(Path(folder) / "model.pth", settings, objective.network, objective.balancing, epoch=1)
    noise = np.random.default_rng(0).integers(0, 256, (height, 2 * height, 3), dtype=np.uint8)
    save_image(Path(folder) / "image.png", noise)
    return {}


def build(network: str, backbone: str) -> Elite360M:
    """A network with random weights, the same for plain and ours."""
    torch.manual_seed(0)
    return NETWORKS[network](backbone, len(CLASSES), pretrained=False).to(DEVICE)


def random_batch(batch_size: int, height: int) -> dict[str, torch.Tensor]:
    """Random noise in the form of a batch of `datasets.panorama`."""
    size, one = (batch_size, 3, height, 2 * height), (batch_size, 1, height, 2 * height)
    depth = 1.1 * MAX_DEPTH * torch.rand(one)
    batch = {
        "rgb": torch.rand(size),
        "depth": depth,
        "depth_mask": (depth > 0) & (depth <= MAX_DEPTH),
        "normal": F.normalize(torch.randn(size)),
        "normal_mask": torch.rand(one) > 0.1,
        "semantic": torch.randint(-1, len(CLASSES), (batch_size, height, 2 * height)),
    }
    return {key: value.to(DEVICE) for key, value in batch.items()}


def timed(call: Callable[[], object], warm_ups: int, calls: int) -> dict:
    """Seconds of the first call and of each timed call, and peak memory in bytes before and after.

    ``cpu_times`` are the CPU seconds of all threads of this process, which depend less on other processes.
    """
    built = peak_memory()
    times, cpu_times = [], []
    for _ in range(warm_ups + calls):
        start, cpu_start = clock(), time.process_time()
        call()
        times.append(clock() - start)
        cpu_times.append(time.process_time() - cpu_start)
    return {
        "first": times[0],
        "times": times[warm_ups:],
        "cpu_times": cpu_times[warm_ups:],
        "built_bytes": built,
        "peak_bytes": peak_memory(),
    }


def peak_memory() -> int:
    """Peak memory of this process in bytes: allocated by torch on a GPU, resident on the CPU."""
    if DEVICE.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


@contextmanager
def growth_per_part(network: nn.Module, read: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Growth of a counter during each part of the network, and between them; complete after the block."""
    growth = dict.fromkeys(PARTS, 0)
    started = {}
    handles = []
    for part, names in PARTS.items():

        def begin(module: nn.Module, inputs: tuple) -> None:
            started[module] = read()

        def end(module: nn.Module, inputs: tuple, outputs: object, part: str = part) -> None:
            growth[part] += read() - started[module]

        for child in (getattr(network, name) for name in names):
            for module in child.values() if isinstance(child, nn.ModuleDict) else [child]:
                handles += [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]
    start = read()
    try:
        yield growth
        growth["everything else"] = read() - start - sum(growth.values())
    finally:
        for handle in handles:
            handle.remove()


def machine_rate() -> float:
    """Multiply-adds per second of a large 3x3 convolution, median of three."""
    channels, height, width = 256, 128, 256
    x = torch.rand(1, channels, height, width, device=DEVICE).to(memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, 3, 3, device=DEVICE).to(memory_format=torch.channels_last)
    with torch.no_grad():
        times = timed(lambda: F.conv2d(x, weight, padding=1), 1, 3)["times"]
    return weight.numel() * height * width / np.median(times)


MEASURES = {
    measure.__name__: measure
    for measure in (machine, inference, training, achievement_training, vmm_size, evaluation, floor, bf16, checkpoint)
}


def main() -> None:
    """Run the measurement given as argument."""
    job = json.loads(sys.argv[1])
    print(json.dumps(MEASURES[job.pop("measure")](**job)))


if __name__ == "__main__":
    main()
