"""A trained network of either program, ready to predict."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import torch
from PIL import Image

from networks.saved_network import SavedNetwork
from prediction.predictor import predictor_of
from training.setup import precision_of

ImageLike = np.ndarray | torch.Tensor | Image.Image | str | Path
Model = TypeVar("Model", bound="TrainedModel")


class TrainedModel:
    """A trained network, see `load`.

    Attributes:
        settings: architecture of the network and meaning of its predictions.
        path: of its checkpoint.
        sha256: of the checkpoint.
        epoch: number of epochs of training; 0 if unknown.
        device: of the network.
        precision: of its computations, see `training.setup.precision_of`.
    """

    _open: ClassVar[Callable[[str | Path], SavedNetwork]]  # reads the checkpoint at a path, see `load`

    def __init__(
        self,
        checkpoint: SavedNetwork,
        device: torch.device,
        amp: str = "off",
        compiled: bool = False,
        channels_last: bool = False,
    ):
        network = checkpoint.build_network().to(device).eval()
        self._predictor = predictor_of(network, amp, compiled, channels_last)
        self.settings = checkpoint.settings
        self.path = checkpoint.path
        self.sha256 = checkpoint.sha256
        self.epoch = checkpoint.epoch
        self.device = device
        self.precision = precision_of(device, amp)

    @classmethod
    def load(
        cls: type[Model],
        path: str | Path,
        device: torch.device | str | None = None,
        amp: str = "off",
        compiled: bool = False,
        channels_last: bool = False,
    ) -> Model:
        """Load a trained network for prediction.

        Args:
            path: a checkpoint file, a run folder, a folder with one run, or weights of the released code.
            device: None: the first GPU if there is one, else the CPU.
            amp, compiled, channels_last: see `prediction.predictor.predictor_of`.

        Raises:
            UserError: when there is no checkpoint, or it cannot be used.
        """
        device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(cls._open(path), device, amp, compiled, channels_last)

    def _as_batch(self, images: list[np.ndarray]) -> torch.Tensor:
        """The network's input (B, 3, H, W) for B images (H, W, 3) uint8 at its size."""
        return torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
