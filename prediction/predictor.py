"""A network as a predictor."""

from collections.abc import Callable

import torch
from torch import nn

from training.setup import AMP_TYPES, prepare_network
from utils.precision import at_least_float32

Predictor = Callable[[torch.Tensor], dict[str, torch.Tensor]]  # from rgb (B, 3, H, W) to a prediction per task


def predictor_of(
    network: nn.Module, amp: str = "off", compiled: bool = False, channels_last: bool = False
) -> Predictor:
    """A network in eval mode that computes in mixed precision, compiled or with channels last, if asked for.

    Args:
        network: changed in place, but for its weights.
        amp: a key of `training.setup.AMP_TYPES`. The predictions are float32 nevertheless.
        compiled, channels_last: see `training.setup.prepare_network`.
    """
    prepare_network(network, channels_last, compiled)
    amp_type = AMP_TYPES[amp]

    def predict(rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.autocast(rgb.device.type, amp_type, enabled=amp_type is not None):
            predictions = network(rgb)
        return {task: at_least_float32(prediction) for task, prediction in predictions.items()}

    return predict
