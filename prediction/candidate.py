"""Candidates of an evaluation: networks, and the predictions of other programs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from datasets.class_maps import ClassMap
from networks.checkpoint import Checkpoint
from prediction.foreign import ForeignPredictions
from prediction.predictor import Predictor, predictor_of
from prediction.tta import ViewAverage

BatchPredictor = Callable[[dict], dict[str, torch.Tensor]]  # batch -> predictions by task


@dataclass(frozen=True)
class Candidate:
    """A predictor of the panoramas of an evaluation.

    Attributes:
        source: of the predictions, with ``path``, ``sha256``, ``epoch`` and ``settings``.
        predict: predicts a batch.
        plain: the same without averaging over views; None if `predict` does not average.
    """

    source: Checkpoint | ForeignPredictions
    predict: BatchPredictor
    plain: BatchPredictor | None = None

    def with_classes(self, class_map: ClassMap) -> "Candidate":
        """The same candidate with its logits merged into coarser classes."""

        def merged(predict: BatchPredictor) -> BatchPredictor:
            def predict_merged(batch: dict) -> dict[str, torch.Tensor]:
                predictions = predict(batch)
                return predictions | {"segmentation": class_map.merge_logits(predictions["segmentation"])}

            return predict_merged

        return replace(self, predict=merged(self.predict), plain=merged(self.plain) if self.plain else None)


def network_candidate(
    checkpoint: Checkpoint,
    device: torch.device,
    tta: int = 1,
    amp: str = "off",
    compiled: bool = False,
    channels_last: bool = False,
) -> Candidate:
    """The network of a checkpoint, averaged over `tta` views; the other arguments are as in `predictor_of`."""
    network = checkpoint.build_network().to(device).eval()
    plain = predictor_of(network, amp, compiled, channels_last)
    averaging = ViewAverage(plain, tta, checkpoint.settings.normal_frame)
    return Candidate(checkpoint, _batch_predictor(averaging), _batch_predictor(plain) if tta > 1 else None)


def foreign_candidate(predictions: ForeignPredictions) -> Candidate:
    """The predictions of another program."""
    return Candidate(predictions, predictions.predict)


def _batch_predictor(predict: Predictor) -> BatchPredictor:
    return lambda batch: predict(batch["rgb"])
