"""Baselines that predict the same map for every panorama."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F

from utils.distributed import gather_objects
from utils.sphere import erp_rays
from utils.tasks import IGNORE_LABEL


class FixedMap(ABC):
    """The same prediction of a task for every panorama.

    Args:
        num_classes: K.
        height, width: size of the panoramas, H x W.

    Attributes:
        title: short name.
        description: definition, for results.json.
        needs_camera_frame: whether the map is only valid in the camera frame.
    """

    title: str
    description: str
    needs_camera_frame = False

    def __init__(self, num_classes: int, height: int, width: int):
        self.num_classes = num_classes
        self.height = height
        self.width = width

    def fit(self, batch: dict) -> None:  # noqa: B027 - optional
        """Add the ground truth of a batch (see `datasets.panorama`), if the map depends on it."""

    @abstractmethod
    def compute(self) -> torch.Tensor:
        """The prediction (., H, W), fitted to the batches of all processes."""


class RowMeanDepth(FixedMap):
    """The mean depth of each row of pixels, (1, H, W) meters; for rows without depth, the mean of all rows."""

    title = "row means"
    description = "the mean depth of each row of pixels, over all panoramas that are evaluated"

    def __init__(self, num_classes: int, height: int, width: int):
        super().__init__(num_classes, height, width)
        self._sums = torch.zeros(2, height, dtype=torch.float64)  # depths, numbers of pixels

    def fit(self, batch: dict) -> None:
        depth, mask = batch["depth"].double(), batch["depth_mask"]
        self._sums += torch.stack([depth.where(mask, 0).sum((0, 1, 3)), mask.double().sum((0, 1, 3))]).cpu()

    def compute(self) -> torch.Tensor:
        sums, counts = sum(gather_objects(self._sums))
        mean = sums.sum() / counts.sum().clamp_min(1)
        rows = torch.where(counts > 0, sums / counts.clamp_min(1), mean)
        return rows.float()[None, :, None].expand(1, self.height, self.width)


class BoxRoomNormals(FixedMap):
    """The normals (3, H, W) of a cube around the camera, aligned with the axes."""

    title = "box-shaped room"
    description = "a cube around the camera, aligned with its axes: floor, ceiling and four walls"
    needs_camera_frame = True

    def compute(self) -> torch.Tensor:
        rays = torch.tensor(erp_rays(self.height, self.width)).movedim(-1, 0)  # (3, H, W)
        axis = rays.abs().argmax(dim=0)  # normal axis of the face that each ray hits, (H, W)
        return (-rays.sign() * F.one_hot(axis, 3).movedim(-1, 0)).float()


class RowMajorityClass(FixedMap):
    """Logits (K, H, W) of the most frequent class of each row of pixels; class 0 for rows without labels."""

    title = "row majorities"
    description = "the most frequent class of each row of pixels, over all panoramas that are evaluated"

    def __init__(self, num_classes: int, height: int, width: int):
        super().__init__(num_classes, height, width)
        self._counts = torch.zeros(height, num_classes, dtype=torch.int64)

    def fit(self, batch: dict) -> None:
        labels = batch["semantic"]
        valid = labels != IGNORE_LABEL
        rows = torch.arange(self.height, device=labels.device)[:, None].expand_as(labels)
        counts = torch.bincount(rows[valid] * self.num_classes + labels[valid], minlength=self._counts.numel())
        self._counts += counts.view_as(self._counts).cpu()

    def compute(self) -> torch.Tensor:
        classes = sum(gather_objects(self._counts)).argmax(dim=1)  # (H,)
        logits = F.one_hot(classes, self.num_classes).T.float()
        return logits[:, :, None].expand(-1, -1, self.width)


class FixedMapPredictor:
    """Predicts the same map (., H, W) of each task for all panoramas on its device."""

    def __init__(self, maps: Mapping[str, torch.Tensor]):
        self._maps = maps

    def __call__(self, rgb: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predictions (B, ., H, W) by task for panoramas (B, 3, H, W)."""
        return {task: values.expand(len(rgb), *values.shape) for task, values in self._maps.items()}
