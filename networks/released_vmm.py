"""Weights of the released VMM: its parameter names and ours, without the backbone."""

from itertools import product

import torch

from networks.perspective_backbones import PYRAMIDS
from utils.anchors import RATIOS
from utils.tasks import DETECTION

_NECK_KEY = "FPN.0.upwards.0."  # begins keys that only a VMM has
# (our pattern, their replacement); <n> is an index in torchvision's blocks, see `networks.released_achievement`.
_MODULES = [
    (r"neck\.(\d)\.down\.(\d)", r"FPN.\1.upwards.\2"),
    (r"heads\.detection\.boxes\.(\d)", r"loc.\1"),
    (r"heads\.detection\.classes\.(\d)", r"conf.\1"),
    (r"heads\.segmentation\.(\d)", r"segment.\1"),
    (r"heads\.depth\.(\d)", r"depth.\1"),  # the name of the head for normals is unknown
]
_LAYERS = [
    (r"expand\.(?P<n>\d)\.", r"blocks.expand_conv.<\g<n>>."),
    (r"depthwise\.(?P<n>\d)\.", r"blocks.central_conv.<\g<n>>."),
    (r"project\.(?P<n>\d)\.", r"blocks.proj_conv.<\g<n>>."),
    (r"pointwise\.(?P<n>\d)\.", r"pointwise.<\g<n>>."),
    (r"(?P<n>depthwise|pointwise)\.", r"\g<n>."),
]
PREFIXES = [
    (r"transition\.(\d)\.(\d)\.", r"transition.\1.<\2>."),
    *(
        (rf"{module}\.{layer}", f"{their_module}.{their_layer}")
        for (module, their_module), (layer, their_layer) in product(_MODULES, _LAYERS)
    ),
]


def is_released_vmm(state: dict) -> bool:
    """Whether a state dict has the released names of a VMM."""
    return any(_NECK_KEY in str(key) for key in state)


def released_vmm_architecture(state: dict[str, torch.Tensor], backbone: str | None) -> dict | None:
    """``arch`` and the arguments of `VMM`, from a released state dict; None if they cannot be inferred.

    ``activation`` is not stored and stays the default, relu6, as in all experiments. Without segmentation, ``cls_head``
    is assumed to be sigmoid. Without detection and segmentation, ``num_classes`` is 0.
    """
    transition = state.get("transition.0.conv.weight")
    is_separable = f"{_NECK_KEY}depthwise.weight" in state
    anchor_logits = state.get("conf.0.pointwise.weight" if is_separable else "conf.0.blocks.proj_conv.conv.weight", ())
    logits = state.get("segment.1.blocks.proj_conv.conv.weight", ())
    depth = state.get("depth.1.blocks.proj_conv.conv.weight", ())
    found = {DETECTION: anchor_logits, "segmentation": logits, "depth": depth}
    tasks = tuple(task for task, last_layer in found.items() if len(last_layer))
    if backbone not in PYRAMIDS or transition is None or not tasks:
        return None
    num_logits = len(anchor_logits) // len(RATIOS)  # per anchor
    num_classes = len(logits) or (num_logits + 1 if num_logits else 0)
    return {
        "arch": "VMM",
        "tasks": tasks,
        "num_classes": num_classes,
        "backbone": backbone,
        "normal_size": len(transition),
        "head_type": "dsconv" if is_separable else "mbconv",
        "cls_head": "softmax" if num_logits and num_logits == num_classes else "sigmoid",
    }
