"""What is evaluated on panoramas with ground truth: a network, or the predictions of another program."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from datasets.class_maps import ClassMap
from networks.checkpoint import Checkpoint
from prediction.foreign import ForeignPredictions
from prediction.predictor import Predictor, predictor_of
from prediction.tta import ViewAverage

BatchPredictor = Callable[[dict], dict[str, torch.Tensor]]  # from a batch to a prediction per task


@dataclass(frozen=True)
class Candidate:
    """Predicts the panoramas of an evaluation.

    Attributes:
        source: where the predictions come from, with ``path``, ``sha256``, ``epoch`` and ``settings``.
        predict: the predictions of a batch.
        plain: the same without averaging over views; None if there is none.
    """

    source: Checkpoint | ForeignPredictions
    predict: BatchPredictor
    plain: BatchPredictor | None = None

    def with_classes(self, class_map: ClassMap) -> "Candidate":
        """The same network with logits of coarser classes."""

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
    """The network of a checkpoint, averaged over `tta` views; for the others see `prediction.predictor`."""
    network = checkpoint.build_network().to(device).eval()
    plain = predictor_of(network, amp, compiled, channels_last)
    averaging = ViewAverage(plain, tta, checkpoint.settings.normal_frame)
    return Candidate(checkpoint, of_batches(averaging), of_batches(plain) if tta > 1 else None)


def foreign_candidate(predictions: ForeignPredictions) -> Candidate:
    """The predictions of another program."""
    return Candidate(predictions, predictions.predict)


def of_batches(predict: Predictor) -> BatchPredictor:
    """A predictor of RGB images as one of batches."""
    return lambda batch: predict(batch["rgb"])
