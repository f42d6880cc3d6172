"""How predictions of several views of a panorama become one."""

from functools import lru_cache

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


@lru_cache(maxsize=64)
def turn_back(view: View, width: int, normal_frame: str, device: torch.device) -> torch.Tensor:
    """The matrix (3, 3) that turns vectors of a view into those of the panorama; kept, as copies make a GPU wait."""
    return torch.tensor(view.vector_matrix(width, normal_frame).T, device=device)  # orthogonal: the inverse


class NormalAveraging(MapAveraging):
    """Unit vectors (B, 3, H, W), which turn with the view and whose average is made a unit vector again."""

    def restore(self, prediction: torch.Tensor, view: View, normal_frame: str) -> torch.Tensor:
        back = turn_back(view, prediction.shape[-1], normal_frame, prediction.device).to(prediction.dtype)
        return view.undo(torch.einsum("ij,bjhw->bihw", back, prediction))

    def mean(self, total: torch.Tensor, number: int) -> torch.Tensor:
        return F.normalize(total, dim=1)
