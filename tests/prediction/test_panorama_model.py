"""Prediction of panoramas in Python."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from networks.checkpoint import load_checkpoint
from networks.elite360m import Elite360M
from networks.released_weights import LOG_VARIANCES_KEY, released_key
from networks.saved_network import save_checkpoint
from prediction import Placement, Prediction, load_elite360m
from prediction.tta import ViewAverage
from utils.errors import UserError
from visual.drawing import save_image


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (32, 64, 3), dtype=np.uint8)


def test_prediction(model, settings, rgb):
    result = model.predict(rgb)
    assert isinstance(result, Prediction)
    assert np.array_equal(result.rgb, rgb)
    assert (result.depth.shape, result.depth.dtype) == ((32, 64), np.float32)
    assert (result.normal.shape, result.normal.dtype) == ((32, 64, 3), np.float32)
    np.testing.assert_allclose(np.linalg.norm(result.normal, axis=-1), 1, atol=1e-5)
    assert (result.labels.shape, result.labels.dtype) == ((32, 64), np.uint8)
    assert result.settings == model.settings == settings
    assert result.seam == result.plain_seam
    assert result.seam.keys() == {"depth", "normal", "segmentation"}
    assert result.tta == 1
    assert result.panel().dtype == np.uint8
    assert len(result.point_cloud().xyz) == 32 * 64


def test_maps_are_the_networks(model, checkpoint, rgb):
    network = load_checkpoint(checkpoint).build_network().eval()
    with torch.no_grad():
        expected = network(torch.tensor(rgb)[None].permute(0, 3, 1, 2) / 255)
    result = model.predict(rgb)
    np.testing.assert_array_equal(result.depth, expected["depth"][0, 0].numpy())
    np.testing.assert_array_equal(result.normal, expected["normal"][0].permute(1, 2, 0).numpy())
    np.testing.assert_array_equal(result.labels, expected["segmentation"][0].argmax(0).numpy())


def test_views_are_averaged(model, checkpoint, rgb):
    network = load_checkpoint(checkpoint).build_network().eval()
    with torch.no_grad():
        expected = ViewAverage(network, 3, "camera")(torch.tensor(rgb)[None].permute(0, 3, 1, 2) / 255)
    result = model.predict(rgb, tta=3)
    np.testing.assert_array_equal(result.depth, expected["depth"][0, 0].numpy())
    assert result.tta == 3
    assert result.plain_seam == model.predict(rgb).seam
    assert result.seam != result.plain_seam


def test_batch(model, rgb):
    """The same predictions as one by one, up to rounding, also averaged over views."""
    images = [rgb, rgb[:, ::-1].copy(), 255 - rgb]
    batch = model.predict_batch(images, tta=2)
    for image, result in zip(images, batch, strict=True):
        single = model.predict(image, tta=2)
        np.testing.assert_array_equal(result.rgb, image)
        np.testing.assert_allclose(result.depth, single.depth, rtol=1e-4)
        np.testing.assert_allclose(result.normal, single.normal, atol=1e-4)
        assert (result.labels == single.labels).mean() > 0.99
        assert result.seam == pytest.approx(single.seam, rel=1e-2)
        assert result.plain_seam == pytest.approx(single.plain_seam, rel=1e-2)


def test_mixed_precision(model, checkpoint, rgb):
    """About the same predictions, in float32."""
    bf16_model = load_elite360m(checkpoint, "cpu", amp="bf16", channels_last=True)
    assert (model.precision, bf16_model.precision) == ("float32", "bfloat16")
    bf16, float32 = bf16_model.predict(rgb), model.predict(rgb)
    assert bf16.depth.dtype == bf16.normal.dtype == np.float32
    assert not np.array_equal(bf16.depth, float32.depth)
    np.testing.assert_allclose(bf16.depth, float32.depth, rtol=0.05)


def test_kinds_of_images(model, rgb, tmp_path):
    """A path, a Pillow image, an array and a larger one have the same prediction."""
    path = tmp_path / "room.png"
    save_image(path, rgb)
    expected = model.predict(rgb).depth
    for image in (path, str(path), Image.fromarray(rgb), rgb / 255, rgb.repeat(3, axis=0).repeat(3, axis=1)):
        np.testing.assert_array_equal(model.predict(image).depth, expected)


def test_other_aspect_ratios(model, rgb, tmp_path):
    with pytest.raises(UserError, match=r"the image is 60x32: .*force=True"):
        model.predict(rgb[:, 4:])
    assert model.predict(rgb[:, 4:], force=True).depth.shape == (32, 64)
    assert model.predict(rgb[:, 1:]).depth.shape == (32, 64), "a pixel off"
    save_image(tmp_path / "square.png", rgb[:, :32])
    with pytest.raises(UserError, match=r"square.png is 32x32"):
        model.predict(tmp_path / "square.png")


@pytest.mark.parametrize("size", [(1, 2), (3, 6), (500, 1000)])
def test_sizes(model, size):
    assert model.predict(np.zeros((*size, 3), np.uint8)).depth.shape == (32, 64)


def test_wrong_number_of_views(model, rgb):
    with pytest.raises(ValueError, match="tta must be 1 or more, got 0"):
        model.predict(rgb, tta=0)


def test_single_task(settings, rgb, tmp_path):
    settings = replace(settings, tasks=("normal",))
    save_checkpoint(tmp_path / "model.pth", settings, settings.build_network(), torch.nn.Module(), epoch=1)
    result = load_elite360m(tmp_path / "model.pth", device="cpu").predict(rgb)
    assert (result.depth, result.labels) == (None, None)
    assert result.normal.shape == (32, 64, 3)
    assert result.seam.keys() == {"normal"}
    with pytest.raises(UserError, match="needs depth"):
        result.point_cloud()


def test_released_weights(tmp_path):
    """They have no settings: the size of the released code and numbered classes are used."""
    network = Elite360M(num_classes=5, pretrained=False)
    state = {released_key(key): value for key, value in network.state_dict().items()}
    torch.save({**state, LOG_VARIANCES_KEY: torch.zeros(3)}, tmp_path / "released.pth")
    model = load_elite360m(tmp_path / "released.pth")
    assert (model.settings.height, model.settings.width, model.epoch) == (512, 1024, 0)
    assert model.settings.class_names[4] == "class 4"


def test_no_checkpoint(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        load_elite360m(tmp_path)


def test_tensors_and_lists(model, rgb, tmp_path):
    """All are the same image; several give a list."""
    save_image(tmp_path / "room.png", rgb)
    tensor = torch.from_numpy(rgb).permute(2, 0, 1)
    expected = model.predict(rgb).depth
    for image in (tensor, tensor / 255, (tensor / 255).double(), tensor.to(torch.uint16) * 257):
        np.testing.assert_array_equal(model.predict(image).depth, expected)
    for images in ([rgb, tmp_path / "room.png"], (tensor, rgb), torch.stack([tensor, tensor]), np.stack([rgb, rgb])):
        results = model.predict(images)
        assert isinstance(results, list)
        for result in results:
            np.testing.assert_allclose(result.depth, expected, rtol=1e-4)
    assert len(model.predict([rgb])) == 1
    assert model.predict([]) == []


@pytest.mark.parametrize("image", [torch.zeros(32, 64, 3), torch.full((3, 32, 64), 2.0), torch.zeros(64)])
def test_wrong_tensors(model, image):
    with pytest.raises(ValueError, match=r"\(3, H, W\)|from 0 to 1"):
        model.predict(image)


def test_placement_and_mask(model, rgb):
    """At the image's own size. Pixels outside the image are 0, masked ones are predicted; neither are valid."""
    mask = np.ones((32, 64), bool)
    mask[:, :32] = False
    result = model.predict(rgb, height="own", placement=Placement(top=45, bottom=-45), mask=mask)
    assert result.depth.shape == (64, 128)
    assert not result.depth[:16].any()
    assert (result.labels[:16] == 255).all()
    assert result.depth[16:48].all()
    assert result.valid.sum() == len(result.point_cloud().xyz) == 32 * 64
    assert result.panel().dtype == np.uint8
    with pytest.raises(ValueError, match="mask"):
        model.predict(rgb, mask=mask[1:])
