"""Weights of the released Elite360M code: its parameter names and ours."""

import re
from pathlib import Path

import torch

from utils.errors import UserError
from utils.state_dicts import require_fit, strip_prefixes

# (our pattern, their replacement) for the start of a key, tried in this order; the rest of the key is unchanged.
_PREFIXES = [
    (r"erp_encoder\.backbone\.", r"ERP_encoder."),
    (r"erp_encoder\.down\.", r"ERP_encoder.down."),
    (r"icosap_encoder\.transformers\.0\.", r"ICO_encoder.ICO_backbone.transformer_init."),
    (r"icosap_encoder\.transformers\.1\.", r"ICO_encoder.ICO_backbone.transformers.0."),
    (r"icosap_encoder\.transformers\.2\.", r"ICO_encoder.ICO_backbone.transformers.1."),
    (r"icosap_encoder\.transformers\.3\.", r"ICO_encoder.ICO_backbone.transformers.2."),
    (r"icosap_encoder\.transition_downs\.(\d)\.linear", r"ICO_encoder.ICO_backbone.transition_downs.\1.sa.mlp_conv"),
    (r"icosap_encoder\.transition_downs\.(\d)\.norm", r"ICO_encoder.ICO_backbone.transition_downs.\1.sa.mlp_bn"),
    (r"icosap_encoder\.fc", r"ICO_encoder.ICO_backbone.fc"),
    (r"fusion\.semantic_aware\.", r"EI_Fusion.SA_attn_bottle."),
    (r"fusion\.distance_aware\.", r"EI_Fusion.DA_attn_bottle."),
    (r"fusion\.semantic_gate\.", r"EI_Fusion.gate_SA_bottle."),
    (r"fusion\.distance_gate\.", r"EI_Fusion.gate_DA_bottle."),
    (r"shared_decoder\.expand\.", r"shared_decoder.conv2."),
    (r"shared_decoder\.up\.net\.", r"shared_decoder.up1._net."),
    (r"shared_decoder\.out\.", r"shared_decoder.out."),
    (r"preliminary\.(\w+)\.", r"preliminary_\1_decoder."),
    (r"intermediate_heads\.(\w+)\.", r"intermediate_\1_head."),
    (r"cross_task\.norms\.(\w+)\.", r"multi_task_attention_layers.norm<\1>."),
    (r"cross_task\.query_keys\.(\w+)\.", r"multi_task_attention_layers.msa<\1>."),
    (r"cross_task\.collaborations\.(\w+)\.", r"multi_task_attention_layers.cross_task_attention<\1>."),
    (r"decoders\.(\w+)\.ups\.(\d)\.net\.", r"\1_decoder.\2._net."),
    (r"heads\.depth\.conv\.", r"depth_head.depth_output."),
    (r"heads\.normal\.conv\.", r"normal_head.normal_output."),
    (r"heads\.segmentation\.conv\.", r"segmentation_head.linear_pred."),
]

# (our name, theirs) of layers within modules, by the start of their released keys.
_LAYERS = {
    "ICO_encoder.": [
        (".position_code.", ".fc_delta."),
        (".attention.", ".fc_gamma."),
        (".query.", ".w_qs."),
        (".key.", ".w_ks."),
        (".value.", ".w_vs."),
    ],
    "EI_Fusion.": [
        (".query.", ".q_linear.0."),
        (".key_value.", ".kv_linear.0."),
        (".project.", ".proj."),
        (".position.", ".fc_delta.0."),
    ],
    "multi_task_attention_layers.": [
        (".query.", ".w_q."),
        (".key.", ".w_k."),
        (".value.", ".w_v."),
        (".own.", ".mlp1."),
        (".others.0.", ".mlp2."),
        (".others.1.", ".mlp3."),
        (".join.", ".mlp."),
        ("<depth>", "1"),
        ("<normal>", "2"),
        ("<segmentation>", "3"),
    ],
    "preliminary_": [("_segmentation_", "_seg_")],
    "intermediate_": [("_segmentation_", "_seg_")],
    "segmentation_decoder.": [("segmentation_decoder.", "seg_decoder.")],
}

LOG_VARIANCES_KEY = "log_var_list"  # in the released network; here, part of the loss


def released_key(key: str) -> str:
    """The released name of a parameter or buffer of `Elite360M`.

    Raises:
        KeyError: when there is none.
    """
    for ours, theirs in _PREFIXES:
        renamed, found = re.subn(f"^{ours}", theirs, key)
        if found:
            for group, layers in _LAYERS.items():
                if renamed.startswith(group):
                    for ours_layer, theirs_layer in layers:
                        renamed = renamed.replace(ours_layer, theirs_layer)
            return renamed
    raise KeyError(f"no released name for {key}")


def is_released_format(state: dict) -> bool:
    """Whether a state dict has the released names."""
    return any("ICO_encoder.ICO_backbone." in str(key) for key in state)


def released_architecture(
    state: dict[str, torch.Tensor], source: str | Path = "the released format"
) -> tuple[str, int]:
    """The backbone and the number of classes of released weights, inferred from their keys and shapes.

    Raises:
        UserError: naming `source`, when the number of classes cannot be inferred.
    """
    state = strip_prefixes(state)
    if "ERP_encoder.layer1.0.conv3.weight" in state:
        backbone = "Elite360M_Res50"
    elif "ERP_encoder.layer1.2.conv1.weight" in state:
        backbone = "Elite360M_Res34"
    else:
        backbone = "Elite360M_Res18"
    if "intermediate_seg_head.weight" not in state:
        raise UserError(f"the weights in {source} lack intermediate_seg_head.weight: use another file")
    return backbone, len(state["intermediate_seg_head.weight"])


def convert_released_weights(
    state: dict[str, torch.Tensor], own_state: dict[str, torch.Tensor], source: str | Path = "the released format"
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Convert released weights to our names.

    Args:
        state: the released state dict; prefixes of its keys are stripped (see `utils.state_dicts`).
        own_state: the state dict of our network, for its keys and shapes.
        source: the file, for messages.

    Returns:
        A state dict for our network, and the three log-variances (depth, normal, segmentation).

    Raises:
        UserError: when keys are missing, unknown or of another shape.
    """
    names = {key: released_key(key) for key in own_state}
    expected = {theirs: own_state[ours] for ours, theirs in names.items()} | {LOG_VARIANCES_KEY: torch.empty(3)}
    state = {key: _as_linear(value, expected.get(key)) for key, value in strip_prefixes(state).items()}
    require_fit(state, expected, source)
    return {ours: state[theirs] for ours, theirs in names.items()}, state[LOG_VARIANCES_KEY]


def _as_linear(theirs: torch.Tensor, ours: torch.Tensor | None) -> torch.Tensor:
    """Drop the last two dimensions of their 1x1 convolutions over points, which are linear layers here."""
    is_convolution = ours is not None and theirs.shape == (*ours.shape, 1, 1)
    return theirs[..., 0, 0] if is_convolution else theirs
