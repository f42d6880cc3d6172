"""Networks as predictors: precision, compilation and memory format."""

from collections.abc import Callable

import torch
from torch import nn

from training.setup import AMP_TYPES, prepare_network
from utils.precision import at_least_float32

Predictor = Callable[[torch.Tensor], dict[str, torch.Tensor]]  # rgb (B, 3, H, W) -> predictions by task


def predictor_of(
    network: nn.Module, amp: str = "off", compiled: bool = False, channels_last: bool = False
) -> Predictor:
    """The predictor of a network in eval mode.

    Args:
        network: changed in place, except for its weights.
        amp: mixed precision, a key of `training.setup.AMP_TYPES`; predictions are always float32.
        compiled, channels_last: see `training.setup.prepare_network`.
    """
    prepare_network(network, channels_last, compiled)
    amp_type = AMP_TYPES[amp]

    def predict(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(rgb.device.type, amp_type, enabled=amp_type is not None):
            predictions = network(rgb)
        return {task: at_least_float32(prediction) for task, prediction in predictions.items()}

    return predict
