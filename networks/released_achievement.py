"""Weights of the released code of Yun & Cho (ICCV 2023): its parameter names of DeepLab and VMM, and ours."""

import re
from pathlib import Path

import torch

from networks.perspective_backbones import BACKBONES, PYRAMIDS
from networks.released_vmm import PREFIXES as VMM_PREFIXES
from networks.released_vmm import is_released_vmm, released_vmm_architecture
from utils.errors import UserError
from utils.state_dicts import require_fit, strip_prefixes

_TASKS = {"segmentation": "segmentor", "depth": "depth", "normal": "surface_normal"}  # our names: theirs
_LAYERS = {"<0>": "conv", "<1>": "normal"}  # a convolution and its BatchNorm, by their index in torchvision's blocks

# (our pattern, their replacement) for the start of a key, tried in this order; the rest of the key is unchanged.
_PREFIXES = [
    # ResNet
    (r"backbone\.conv1\.", r"backbone.conv_stem.conv."),
    (r"backbone\.bn1\.", r"backbone.conv_stem.normal."),
    (r"backbone\.(layer\d\.\d+)\.conv(\d)\.", r"backbone.\1.conv\2.conv."),
    (r"backbone\.(layer\d\.\d+)\.bn(\d)\.", r"backbone.\1.conv\2.normal."),
    (r"backbone\.(layer\d\.\d+\.downsample)\.(\d)\.", r"backbone.\1.<\2>."),
    # MobileNetV2: first block (without expansion), other blocks
    (r"backbone\.(features\.1)\.conv\.0\.(\d)\.", r"backbone.\1.blocks.central_conv.<\2>."),
    (r"backbone\.(features\.1)\.conv\.1\.", r"backbone.\1.blocks.proj_conv.conv."),
    (r"backbone\.(features\.1)\.conv\.2\.", r"backbone.\1.blocks.proj_conv.normal."),
    (r"backbone\.(features\.\d+)\.conv\.0\.(\d)\.", r"backbone.\1.blocks.expand_conv.<\2>."),
    (r"backbone\.(features\.\d+)\.conv\.1\.(\d)\.", r"backbone.\1.blocks.central_conv.<\2>."),
    (r"backbone\.(features\.\d+)\.conv\.2\.", r"backbone.\1.blocks.proj_conv.conv."),
    (r"backbone\.(features\.\d+)\.conv\.3\.", r"backbone.\1.blocks.proj_conv.normal."),
    # EfficientNetV2-S: fused blocks (stages 1 to 3), blocks with squeeze-and-excitation
    (r"backbone\.(features\.[123]\.\d+)\.block\.0\.(\d)\.", r"backbone.\1.blocks.central_conv.<\2>."),
    (r"backbone\.(features\.[123]\.\d+)\.block\.1\.(\d)\.", r"backbone.\1.blocks.proj_conv.<\2>."),
    (r"backbone\.(features\.[456]\.\d+)\.block\.0\.(\d)\.", r"backbone.\1.blocks.expand_conv.<\2>."),
    (r"backbone\.(features\.[456]\.\d+)\.block\.1\.(\d)\.", r"backbone.\1.blocks.central_conv.<\2>."),
    (r"backbone\.(features\.[456]\.\d+)\.block\.2\.", r"backbone.\1.blocks.se."),
    (r"backbone\.(features\.[456]\.\d+)\.block\.3\.(\d)\.", r"backbone.\1.blocks.proj_conv.<\2>."),
    # Stems, and the last layer of MobileNetV2
    (r"backbone\.(features\.\d+)\.(\d)\.", r"backbone.\1.<\2>."),
    *VMM_PREFIXES,
    # DeepLab
    (r"contexts\.shared\.aspp\.branches\.(\d)\.(\d)\.", r"predict.shared_aspp.features.\1.<\2>."),
    (r"contexts\.shared\.aspp\.pooled\.(\d)\.", r"predict.shared_aspp.features.4.1.<\1>."),
    (r"contexts\.shared\.aspp\.project\.(\d)\.", r"predict.shared_aspp.out_conv.<\1>."),
    (r"contexts\.shared\.skip\.(\d)\.", r"predict.skip_conv.<\1>."),
    *((rf"heads\.{ours}\.0\.(\d)\.", rf"predict.{theirs}.0.<\1>.") for ours, theirs in _TASKS.items()),
    *((rf"heads\.{ours}\.1\.(weight|bias)", rf"predict.{theirs}.1.\1") for ours, theirs in _TASKS.items()),
]

# A key that identifies each backbone.
_BACKBONE_KEYS = {
    "resnet50": "backbone.layer4.2.conv3.conv.weight",
    "mobilenet_v2": "backbone.features.18.conv.weight",
    "efficientnet_v2_s": "backbone.features.6.14.blocks.proj_conv.conv.weight",
}
_ASPP_KEY = "predict.shared_aspp.out_conv.conv.weight"


def released_key(key: str) -> str:
    """The released name of a parameter or buffer of `DeepLab` or `VMM`.

    Raises:
        KeyError: when there is none. Names for an ASPP per task, and for the normals of VMM, are unknown.
    """
    for ours, theirs in _PREFIXES:
        renamed, found = re.subn(f"^{ours}", theirs, key)
        if found:
            for number, layer in _LAYERS.items():
                renamed = renamed.replace(number, layer)
            return renamed
    raise KeyError(f"no released name for {key}")


def is_released_format(state: dict) -> bool:
    """Whether a state dict has the released names of a DeepLab or VMM."""
    return is_released_vmm(state) or any(str(key).endswith(_ASPP_KEY) for key in state)


def released_architecture(state: dict[str, torch.Tensor], source: str | Path = "the released format") -> dict:
    """``arch`` and the arguments of a network for released weights, inferred from their keys and shapes.

    Without detection and segmentation, ``num_classes`` is 0. `_deeplab_architecture` and `released_vmm_architecture`
    list the ambiguities.

    Raises:
        UserError: naming `source`, when they cannot be inferred.
    """
    state = strip_prefixes(state)
    backbone = next((name for name, key in _BACKBONE_KEYS.items() if key in state), None)
    if is_released_vmm(state):
        found = released_vmm_architecture(state, backbone)
        expected = f"VMM with one of {', '.join(PYRAMIDS)}, without normals"
    else:
        found = _deeplab_architecture(state, backbone)
        expected = f"DeepLab with one of {', '.join(BACKBONES)} and a shared ASPP"
    if found is None:
        raise UserError(f"the weights in {source} are not from a released {expected}: use another file")
    return found


def _deeplab_architecture(state: dict[str, torch.Tensor], backbone: str | None) -> dict | None:
    """``arch`` and the arguments of `DeepLab`; None if they cannot be inferred.

    ``output_stride`` 16 and 32 are ambiguous, as they have the same rates; it is the backbone's.
    """
    tasks = tuple(ours for ours, theirs in _TASKS.items() if f"predict.{theirs}.1.weight" in state)
    if backbone is None or not tasks or _ASPP_KEY not in state:
        return None
    return {
        "arch": "DeepLab",
        "tasks": tasks,
        "num_classes": len(state.get("predict.segmentor.1.weight", ())),
        "backbone": backbone,
        "normal_size": len(state[_ASPP_KEY]),
        "output_stride": BACKBONES[backbone].deep.stride,
        "skip_connection": len(state.get("predict.skip_conv.conv.weight", ())),
    }


def convert_released_weights(
    state: dict[str, torch.Tensor], own_state: dict[str, torch.Tensor], source: str | Path = "the released format"
) -> dict[str, torch.Tensor]:
    """Convert released weights to our names.

    Args:
        state: the released state dict; prefixes of its keys are stripped (see `utils.state_dicts`).
        own_state: the state dict of our network, for its keys and shapes; a `DeepLab` must have a shared ASPP.
        source: the file, for messages.

    Returns:
        A state dict for our network.

    Raises:
        UserError: when keys are missing, unknown or of another shape.
    """
    names = {key: released_key(key) for key in own_state}
    state = strip_prefixes(state)
    require_fit(state, {theirs: own_state[ours] for ours, theirs in names.items()}, source)
    return {ours: state[theirs] for ours, theirs in names.items()}
