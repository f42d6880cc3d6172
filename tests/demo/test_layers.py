"""Data of the viewer: images that decode, and values to the millimeter."""

import base64
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from torch.utils.data import default_collate

from datasets.classes import STANFORD2D3D
from datasets.panorama import Panorama, pack, unpack
from demo.examples import GroundTruth
from demo.layers import layers
from networks.checkpoint import ModelSettings
from prediction import PanoramaPrediction
from utils.tasks import RELATIVE
from visual.color_scale import depth_scale
from visual.displays import DisplaySettings
from visual.drawing import label_colors, normal_colors, scale_colors

MAPS = {"depth": "depth", "normal": "normal", "segmentation": "labels"}


def random_prediction(tasks, **settings) -> PanoramaPrediction:
    """8x16 pixels."""
    rng = np.random.default_rng(0)
    names, colors = STANFORD2D3D.names, STANFORD2D3D.colors
    settings = ModelSettings("Elite360M_Res18", tasks, 2, 32, 64, "Synthetic", names, colors, **settings)
    normal = rng.normal(size=(8, 16, 3)).astype(np.float32)
    maps = {
        "depth": rng.uniform(0.1, 10, (8, 16)).astype(np.float32),
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "segmentation": rng.integers(0, len(names), (8, 16), dtype=np.uint8),
    }
    rgb = rng.integers(0, 256, (8, 16, 3), dtype=np.uint8)
    return PanoramaPrediction(rgb, settings, **{MAPS[task]: maps[task] for task in tasks})


def decode(url: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), dtype=np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)


def values(layer: dict) -> np.ndarray:
    value_map = layer["value_map"]
    return (
        np.frombuffer(base64.b64decode(value_map["data"]), dtype=np.dtype(value_map["type"]).newbyteorder("<"))
        * value_map["step"]
    )


def test_images_and_values():
    result = random_prediction(("depth", "normal", "segmentation"))
    sent = json.loads(json.dumps(layers("room", result.rgb, result)))
    assert (sent["title"], sent["height"], sent["width"]) == ("room", 8, 16)
    rgb, depth, normal, labels = sent["layers"]
    assert np.abs(decode(rgb["image"]).astype(int).mean() - result.rgb.mean()) < 5, "JPEG"
    assert np.array_equal(decode(depth["image"]), scale_colors(result.depth, depth_scale((result.depth,), "m")))
    assert np.array_equal(decode(normal["image"]), normal_colors(result.normal))
    assert np.array_equal(decode(labels["image"]), label_colors(result.labels, STANFORD2D3D.colors))
    assert values(depth) == pytest.approx(result.depth.ravel(), abs=0.00051)
    assert values(normal) == pytest.approx(result.normal.ravel(), abs=0.5 / 127 + 1e-6)
    assert np.array_equal(values(labels), result.labels.ravel())


def test_missing_depth_is_zero():
    """Depths beyond 16 bits do not wrap around."""
    result = random_prediction(("depth",))
    result.depth[0, :5] = (0, np.nan, np.inf, -np.inf, 70)
    _, depth = layers("room", result.rgb, result)["layers"]
    assert values(depth)[:5] == pytest.approx([0, 0, 0, 0, 65.535])


def test_scale_and_legend():
    result = random_prediction(("depth", "segmentation"))
    _, depth, labels = layers("room", result.rgb, result)["layers"]
    scale = depth_scale((result.depth,), "m")
    assert (depth["scale"]["low"], depth["scale"]["high"]) == scale[:2]
    assert (depth["scale"]["unit"], depth["value_map"]["unit"]) == ("m", "m")
    bar = decode(depth["scale"]["image"])
    assert np.array_equal(bar[:, [0, -1]], scale_colors(np.array([scale[:2]]), scale))
    assert [name for name, _ in labels["legend"]] == list(STANFORD2D3D.names)
    assert labels["legend"][2][1] == f"rgb{STANFORD2D3D.colors[2]}"


def test_seam_and_error():
    result = replace(random_prediction(("depth", "normal", "segmentation")), seam={"depth": 6.4, "normal": 1.0})
    semantic = result.labels.astype(np.int8)
    semantic[:2], semantic[2, :4] = -1, semantic[2, :4] ^ 1  # 4 of 96 are wrong
    room = Panorama(result.rgb, result.depth + 0.5, result.normal[..., [1, 2, 0]], semantic, "room")
    room.depth[0] = 0
    meaning = DisplaySettings.of(result.settings)
    ground_truth = GroundTruth(default_collate([unpack(pack(room, 0))]), meaning)
    _, depth, normal, labels = layers("room", result.rgb, result, ground_truth)["layers"]
    assert [layer["seam"] for layer in (depth, normal, labels)] == [6.4, 1.0, None]
    assert depth["error"]["summary"] == "mean error 0.50 m"
    angles = np.degrees(np.arccos((result.normal * result.normal[..., [1, 2, 0]]).sum(-1)))
    assert normal["error"]["summary"] == f"mean error {angles.mean():.1f}°"
    assert labels["error"]["summary"] == "4 % of the pixels wrong"
    assert decode(depth["error"]["image"]).shape == (8, 16, 3)
    assert (depth["error"]["scale"]["high"], normal["error"]["scale"]["high"]) == (2, 90)
    assert "scale" not in labels["error"]
    assert "error" not in layers("room", result.rgb, result)["layers"][1]
    others = ground_truth._replace(meaning=meaning._replace(class_names=meaning.class_names[::-1]))
    assert ["error" in layer for layer in layers("room", result.rgb, result, others)["layers"]] == [0, 1, 1, 0]


def test_relative_depth_has_no_unit():
    result = random_prediction(("depth",), depth_unit=RELATIVE)
    _, depth = layers("room", result.rgb, result)["layers"]
    assert (depth["scale"]["unit"], depth["value_map"]["unit"]) == ("", "")


@pytest.mark.parametrize("task", MAPS)
def test_single_task(task):
    result = random_prediction((task,))
    assert [layer["name"] for layer in layers("room", result.rgb, result)["layers"]] == ["RGB", MAPS[task]]


def test_large_panoramas_are_shrunk():
    result = random_prediction(("depth",))
    sent = layers("room", np.zeros((1500, 3000, 3), dtype=np.uint8), result)
    assert decode(sent["layers"][0]["image"]).shape == (1024, 2048, 3)
    assert (sent["height"], sent["width"]) == (8, 16), "of the maps"
