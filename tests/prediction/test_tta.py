"""Averaging views: it changes nothing for a network that is equivariant already, and helps one that is not."""

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
    """What turns and mirrors its predictions with the picture; normals of the world are mirrored alone."""
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
def test_an_equivariant_network_gives_what_it_gave(number, frame):
    rgb = torch.rand(2, 3, HEIGHT, WIDTH, dtype=torch.float64)
    expected = equivariant(rgb, frame)
    averaged = ViewAverage(lambda view: equivariant(view, frame), number, frame)(rgb)
    assert averaged.keys() == expected.keys()
    for task in TASKS:
        torch.testing.assert_close(averaged[task], expected[task], msg=lambda text, task=task: f"{task}: {text}")


def test_one_view_is_the_plain_network():
    """The very same, though normals are not of unit length."""
    predictions = {"normal": torch.randn(1, 3, HEIGHT, WIDTH)}
    averaged = ViewAverage(lambda _: predictions, 1, "camera")(torch.rand(1, 3, HEIGHT, WIDTH))
    assert averaged["normal"] is predictions["normal"]


def test_the_views_in_their_order():
    assert views(1, 64) == [View(0)]
    assert views(2, 64) == [View(0), View(32, mirrored=True)]
    assert views(4, 64) == [View(0), View(16, mirrored=True), View(32), View(48, mirrored=True)]
    assert [view.columns for view in views(3, 64)] == [0, 21, 43], "whole pixels"
    seen = []
    rgb = torch.rand(1, 3, HEIGHT, WIDTH)

    def network(picture):
        seen.append(picture)
        return {"depth": picture[:, :1]}

    ViewAverage(network, 4, "camera")(rgb)
    expected = [rgb, rgb.roll(4, -1).flip(-1), rgb.roll(8, -1), rgb.roll(12, -1).flip(-1)]
    assert all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))


def test_views_as_batches_on_a_gpu(monkeypatch):
    """What one view after the other gives; no more images at once than are allowed."""
    monkeypatch.setattr("prediction.tta.IMAGES_AT_ONCE", 5)
    rgb = torch.rand(2, 3, HEIGHT, WIDTH, dtype=torch.float64)
    sizes = []

    def network(picture):
        sizes.append(len(picture))
        ramp = torch.linspace(0, 1, WIDTH, dtype=torch.float64)  # a network that is not equivariant
        return {task: maps + ramp for task, maps in equivariant(picture).items()}

    average = ViewAverage(network, 5, "camera")
    expected = average.with_plain(rgb)
    with without_cpu_kernels():
        together = average.with_plain(rgb)
    assert sizes == [2] * 5 + [4, 4, 2]
    for ours, theirs in zip(together, expected, strict=True):
        assert ours.keys() == theirs.keys() == set(TASKS)
        for task in TASKS:
            torch.testing.assert_close(ours[task], theirs[task], msg=lambda text, task=task: f"{task}: {text}")


def test_what_is_averaged_and_how():
    """Depths and logits by their mean, normals made unit vectors again; the plain predictions come along."""
    rgb = torch.rand(1, 3, HEIGHT, WIDTH)
    answers = iter(
        [
            {"depth": torch.full((1, 1, 1, 2), 1.0), "normal": torch.tensor([0.0, 1, 0]).view(1, 3, 1, 1)},
            {"depth": torch.full((1, 1, 1, 2), 4.0), "normal": torch.tensor([0.0, 0, 1]).view(1, 3, 1, 1)},
        ]
    )
    plain, averaged = ViewAverage(lambda _: next(answers), 2, "world").with_plain(rgb)
    assert plain["depth"].unique().item() == 1
    assert averaged["depth"].unique().item() == 2.5
    torch.testing.assert_close(averaged["normal"].flatten(), torch.tensor([0.0, 0.5**0.5, 0.5**0.5]))


def test_a_network_with_a_seam_gets_a_smaller_one():
    """What it sees changes from left to right, whatever the picture is."""
    ramp = torch.linspace(1, 2, WIDTH).expand(1, 1, HEIGHT, WIDTH)
    plain, averaged = ViewAverage(lambda _: {"depth": ramp}, 4, "camera").with_plain(torch.rand(1, 3, HEIGHT, WIDTH))
    before, after = (seam_score(maps["depth"][0], TASKS["depth"].column_difference) for maps in (plain, averaged))
    assert before > 7
    assert after < before / 2
