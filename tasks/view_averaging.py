"""Averages the predictions for several views of a panorama."""

from functools import lru_cache

import torch
import torch.nn.functional as F

from utils.views import View


class MapAveraging:
    """Averages maps whose values do not depend on the view: depth, logits."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        """Transform the prediction for a view back to the panorama.

        Args:
            prediction: prediction for the view, (B, ., H, W).
            view: the view.
            normal_frame: "camera" or "world", the frame of predicted normals.
        """
        return view.undo(prediction)

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        """The average of `number` restored predictions, given their sum."""
        return total / number


@lru_cache(maxsize=64)
def turn_back(view: View, width: int, normal_frame: str, device: torch.device) -> torch.Tensor:
    """The matrix (3, 3) that transforms vectors of a view back to the panorama; cached, as copies stall a GPU."""
    return torch.tensor(view.vector_matrix(width, normal_frame).T, device=device)  # the inverse, as it is orthogonal


class NormalAveraging(MapAveraging):
    """Averages unit vectors (B, 3, H, W), which are transformed with the view; averages are normalized."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        back = turn_back(view, prediction.shape[-1], normal_frame, prediction.device).to(prediction.dtype)
        return view.undo(torch.einsum("ij,bjhw->bihw", back, prediction))

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        return F.normalize(total, dim=1)
