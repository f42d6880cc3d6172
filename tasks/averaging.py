"""Averaging the predictions for several views of a panorama."""

import torch
import torch.nn.functional as F

from utils.views import View


class MapAveraging:
    """Averaging of maps whose values do not depend on the view: depth, logits."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        """Transform the prediction (B, ., H, W) for a view to the panorama.

        Args:
            prediction: for the view.
            view: of the panorama.
            normal_frame: "camera" or "world", the frame of the normals that the network predicts.
        """
        return view.undo(prediction)

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        """The average of `number` restored predictions, given their sum."""
        return total / number


class NormalAveraging(MapAveraging):
    """Averaging of unit vectors (B, 3, H, W), which rotate with the view; averages are normalized."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        matrix = view.vector_matrix(prediction.shape[-1], normal_frame).T  # the inverse of an orthogonal matrix
        turned = torch.einsum("ij,bjhw->bihw", torch.as_tensor(matrix).to(prediction), prediction)
        return view.undo(turned)

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        return F.normalize(total, dim=1)
