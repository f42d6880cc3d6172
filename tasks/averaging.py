"""How predictions of several views of a panorama become one."""

import torch
import torch.nn.functional as F

from utils.views import View


class MapAveraging:
    """Maps whose values are the same from every view: depth, logits."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        """The prediction (B, ., H, W) of a view as one of the panorama itself.

        Args:
            prediction: what the network gave for the view.
            view: of the panorama.
            normal_frame: "camera" or "world", the frame of the normals that the network predicts.
        """
        return view.undo(prediction)

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        """The average of so many restored predictions, given their sum."""
        return total / number


class NormalAveraging(MapAveraging):
    """Unit vectors (B, 3, H, W), which turn with the view and whose average is made a unit vector again."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        matrix = view.vector_matrix(prediction.shape[-1], normal_frame).T  # the inverse of an orthogonal matrix
        turned = torch.einsum("ij,bjhw->bihw", torch.as_tensor(matrix).to(prediction), prediction)
        return view.undo(turned)

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        return F.normalize(total, dim=1)
