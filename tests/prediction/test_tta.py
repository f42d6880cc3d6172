"""Averaging over views does not change the predictions of an equivariant network, and helps others."""

import pytest
import torch
import torch.nn.functional as F

from metrics.seam import seam_score
from prediction.tta import ViewAverage, views
from tasks import TASKS
from utils.cpu_kernels import without_cpu_kernels
from utils.sphere import erp_rays, pixels_to_angles
from utils.views import View

HEIGHT, WIDTH = 8, 16


def equivariant(rgb: torch.Tensor, frame: str = "camera") -> dict[str, torch.Tensor]:
    """A network whose predictions turn and mirror with the image; normals in a world frame are only mirrored."""
    red, green, blue = rgb.split(1, dim=1)
    smooth = red.roll(1, -1) + red + red.roll(-1, -1)
    slope = green.roll(-1, -1) - green.roll(1, -1)  # changes its sign in a mirror
    if frame == "world":
        normal = torch.cat([slope, blue, red], dim=1)
    else:
        rays = torch.tensor(erp_rays(HEIGHT, WIDTH)).movedim(-1, 0).to(rgb)
        longitude, _ = pixels_to_angles(0, torch.arange(WIDTH).to(rgb), HEIGHT, WIDTH)
        east = torch.stack([longitude.cos(), 0 * longitude, -longitude.sin()])[:, None]
        normal = slope * east - blue * rays
    return {
        "depth": smooth,
        "normal": F.normalize(normal, dim=1),
        "segmentation": torch.cat([smooth, blue, green * blue, slope**2], dim=1),
    }


@pytest.mark.parametrize("frame", ["camera", "world"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 7, 16])
def test_equivariant_network_is_unchanged(number, frame):
    rgb = torch.rand(2, 3, HEIGHT, WIDTH, dtype=torch.float64)
    expected = equivariant(rgb, frame)
    averaged = ViewAverage(lambda view: equivariant(view, frame), number, frame)(rgb)
    assert averaged.keys() == expected.keys()
    for task in TASKS:
        torch.testing.assert_close(averaged[task], expected[task], msg=lambda text, task=task: f"{task}: {text}")


def test_single_view_is_the_plain_network():
    """Even normals are not normalized."""
    predictions = {"normal": torch.randn(1, 3, HEIGHT, WIDTH)}
    averaged = ViewAverage(lambda _: predictions, 1, "camera")(torch.rand(1, 3, HEIGHT, WIDTH))
    assert averaged["normal"] is predictions["normal"]


def test_views():
    assert views(1, 64) == [View(0)]
    assert views(2, 64) == [View(0), View(32, mirrored=True)]
    assert views(4, 64) == [View(0), View(16, mirrored=True), View(32), View(48, mirrored=True)]
    assert [view.columns for view in views(3, 64)] == [0, 21, 43], "whole pixels"
    inputs = []
    rgb = torch.rand(1, 3, HEIGHT, WIDTH)

    def network(view):
        inputs.append(view)
        return {"depth": view[:, :1]}

    ViewAverage(network, 4, "camera")(rgb)
    expected = [rgb, rgb.roll(4, -1).flip(-1), rgb.roll(8, -1), rgb.roll(12, -1).flip(-1)]
    assert all(torch.equal(a, b) for a, b in zip(inputs, expected, strict=True))


def test_views_as_batches_on_a_gpu(monkeypatch):
    """The result is that of single views; batches have at most IMAGES_AT_ONCE images."""
    monkeypatch.setattr("prediction.tta.IMAGES_AT_ONCE", 5)
    rgb = torch.rand(2, 3, HEIGHT, WIDTH, dtype=torch.float64)
    sizes = []

    def network(rgb):
        sizes.append(len(rgb))
        ramp = torch.linspace(0, 1, WIDTH, dtype=torch.float64)  # not equivariant
        return {task: maps + ramp for task, maps in equivariant(rgb).items()}

    average = ViewAverage(network, 5, "camera")
    expected = average.with_plain(rgb)
    with without_cpu_kernels():
        batched = average.with_plain(rgb)
    assert sizes == [2] * 5 + [4, 4, 2]
    for result, single in zip(batched, expected, strict=True):
        assert result.keys() == single.keys() == set(TASKS)
        for task in TASKS:
            torch.testing.assert_close(result[task], single[task], msg=lambda text, task=task: f"{task}: {text}")


def test_means():
    """The mean of depths, the normalized mean of normals, and the plain predictions."""
    rgb = torch.rand(1, 3, HEIGHT, WIDTH)
    view_predictions = iter(
        [
            {"depth": torch.full((1, 1, 1, 2), 1.0), "normal": torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1)},
            {"depth": torch.full((1, 1, 1, 2), 4.0), "normal": torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)},
        ]
    )
    plain, averaged = ViewAverage(lambda _: next(view_predictions), 2, "world").with_plain(rgb)
    assert plain["depth"].unique().item() == 1
    assert averaged["depth"].unique().item() == 2.5
    torch.testing.assert_close(averaged["normal"].flatten(), torch.tensor([0.0, 0.5**0.5, 0.5**0.5]))


def test_seam_becomes_smaller():
    """The network predicts a ramp from left to right for any image."""
    ramp = torch.linspace(1, 2, WIDTH).expand(1, 1, HEIGHT, WIDTH)
    plain, averaged = ViewAverage(lambda _: {"depth": ramp}, 4, "camera").with_plain(torch.rand(1, 3, HEIGHT, WIDTH))
    before, after = (seam_score(maps["depth"][0], TASKS["depth"].column_difference) for maps in (plain, averaged))
    assert before > 7
    assert after < before / 2
