"""Predictions of other programs: all file formats are read alike; wrong files and declarations are refused."""

import json

import cv2
import numpy as np
import pytest
import torch

from datasets.class_maps import ClassMap
from datasets.classes import SemanticClasses
from prediction.foreign import DECLARATION, ForeignPredictions, read_declaration
from tests.utils.test_openexr import write_openexr
from utils.errors import UserError
from utils.tasks import METERS, RELATIVE

HEIGHT, WIDTH = 8, 16
CLASSES = SemanticClasses(names=("wall", "floor", "sofa"), colors=((0, 0, 0), (1, 1, 1), (2, 2, 2)))
ID = "area_1/rgb/room_rgb.png"
DECLARED = {"size": [HEIGHT, WIDTH], "unit": "m", "frame": "camera", "classes": ["Sofa", "wall", "floor"]}
BATCH = {"rgb": torch.zeros(1, 3, HEIGHT, WIDTH), "id": [ID]}


@pytest.fixture
def maps():
    generator = np.random.default_rng(0)
    normal = generator.normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    return {
        "depth": generator.uniform(0.5, 9, (HEIGHT, WIDTH)).astype(np.float32),
        "normal": normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        "labels": generator.integers(0, 3, (HEIGHT, WIDTH)),
    }


def save(folder, maps, stem="area_1/rgb/room_rgb"):
    (folder / stem).parent.mkdir(parents=True, exist_ok=True)
    for name, values in maps.items():
        np.save(folder / f"{stem}_{name}.npy", values)


def declare(folder, **changes):
    content = {key: value for key, value in (DECLARED | changes).items() if value is not None}
    (folder / DECLARATION).write_text(json.dumps(content))


def open_predictions(folder, tasks=("depth", "normal", "segmentation"), class_map=None) -> ForeignPredictions:
    return ForeignPredictions(folder, read_declaration(folder), tasks, CLASSES, class_map)


def check(predictions: dict, maps: dict, tolerance: float = 1e-6):
    assert predictions["depth"][0, 0].numpy() == pytest.approx(maps["depth"], abs=tolerance)
    assert predictions["normal"][0].movedim(0, -1).numpy() == pytest.approx(maps["normal"], abs=20 * tolerance)
    assert np.array_equal(predictions["segmentation"][0, 0], np.array([2, 0, 1])[maps["labels"]])
    assert predictions["segmentation"].shape == (1, 1, HEIGHT, WIDTH)


def test_arrays(tmp_path, maps):
    """In the folders of the ids, or all in one folder; classes are matched by name."""
    for folder, stem in ((tmp_path / "tree", "area_1/rgb/room_rgb"), (tmp_path / "flat", "room_rgb")):
        save(folder, maps, stem)
        declare(folder)
        check(open_predictions(folder).predict(BATCH), maps)


def test_archives(tmp_path, maps):
    np.savez_compressed(tmp_path / "room_rgb.npz", **maps)
    declare(tmp_path)
    check(open_predictions(tmp_path).predict(BATCH), maps)


def test_images(tmp_path, maps):
    """16-bit depth in millimeters, 8-bit normals, gray labels."""
    declare(tmp_path, unit="mm")
    cv2.imwrite(str(tmp_path / "room_rgb_depth.png"), np.rint(1000 * maps["depth"]).astype(np.uint16))
    codes = np.rint((maps["normal"] + 1) * 127.5).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "room_rgb_normal.png"), codes[..., ::-1])
    cv2.imwrite(str(tmp_path / "room_rgb_labels.png"), maps["labels"].astype(np.uint8))
    check(open_predictions(tmp_path).predict(BATCH), maps, tolerance=6e-4)
    codes[0, 0] = 0
    cv2.imwrite(str(tmp_path / "room_rgb_normal.png"), codes[..., ::-1])
    refused(lambda: open_predictions(tmp_path, ("normal",)).predict(BATCH), "room_rgb_normal.png", "black")


def test_openexr(tmp_path, maps):
    """Depth in one channel or several equal ones, normals in three."""
    declare(tmp_path)
    for names in ("Z", "BGR"):
        write_openexr(tmp_path / "room_rgb_depth.exr", dict.fromkeys(names, maps["depth"]))
        normals = dict(zip("XYZ" if names == "Z" else "RGB", np.moveaxis(maps["normal"], -1, 0), strict=True))
        write_openexr(tmp_path / "room_rgb_normal.exr", normals)
        np.save(tmp_path / "room_rgb_labels.npy", maps["labels"])
        check(open_predictions(tmp_path).predict(BATCH), maps)
    write_openexr(tmp_path / "room_rgb_depth.exr", {"Y": maps["depth"], "Z": maps["depth"] + 1})
    refused(lambda: open_predictions(tmp_path).predict(BATCH), "room_rgb_depth.exr", "Y, Z")
    write_openexr(tmp_path / "room_rgb_normal.exr", {"Y": maps["depth"], "Z": maps["depth"]})
    refused(lambda: open_predictions(tmp_path, ("normal",)).predict(BATCH), "room_rgb_normal.exr", "Y, Z")


def test_units_axes_and_class_map(tmp_path, maps):
    """Normals stored as (forward, right, up), depth in units of 0.25 mm, and a class with another name."""
    x, y, z = np.moveaxis(maps["normal"], -1, 0)
    save(tmp_path, {"depth": maps["depth"] / 0.00025, "normal": np.stack([z, x, -y], -1), "labels": maps["labels"]})
    renamed = {"classes": ["couch", "wall", "floor"], "class_map": {"couch": "sofa"}}
    declare(tmp_path, unit=0.00025, axes=["y", "-z", "x"], **renamed)
    check(open_predictions(tmp_path).predict(BATCH), maps, tolerance=1e-5)


def test_settings(tmp_path):
    declare(tmp_path, unit="relative", frame="world")
    settings = open_predictions(tmp_path).settings
    assert (settings.depth_unit, settings.normal_frame) == (RELATIVE, "world")
    declare(tmp_path, unit=0.5)
    assert open_predictions(tmp_path).settings.depth_unit == METERS
    assert open_predictions(tmp_path).settings.class_names == CLASSES.names


def test_coarser_classes(tmp_path, maps):
    """Predictions may have the dataset's classes, the coarser ones, or both."""
    coarser = SemanticClasses(names=("structure", "Furniture"), colors=((0, 0, 0), (1, 1, 1)))
    class_map = ClassMap(coarser, (0, 0, 1))
    save(tmp_path, maps)
    for names, labels in (
        (["sofa", "wall", "floor"], [1, 0, 0]),
        (["furniture", "structure", "wall"], [1, 0, 0]),
        (["structure", "furniture", "sofa"], [0, 1, 1]),
    ):
        declare(tmp_path, classes=names)
        predicted = open_predictions(tmp_path, ("segmentation",), class_map).predict(BATCH)["segmentation"]
        assert np.array_equal(predicted[0, 0], np.array(labels)[maps["labels"]])
    refused(lambda: open_predictions(tmp_path), "structure", DECLARATION)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"size": None}, "size"),
        ({"size": [8]}, "size"),
        ({"unit": "feet"}, "unit"),
        ({"unit": -1}, "unit"),
        ({"frame": "left"}, "frame"),
        ({"axes": ["x", "y", "y"]}, "axes"),
        ({"classes": []}, "classes"),
        ({"classes": ["sofa", "wall", "unicorn"]}, "unicorn"),
        ({"colour": 3}, "colour"),
        ({"frame": None}, "normal"),
    ],
    ids=str,
)
def test_wrong_declarations(tmp_path, changes, named):
    declare(tmp_path, **changes)
    refused(lambda: open_predictions(tmp_path), named, DECLARATION)


def test_no_declaration(tmp_path):
    refused(lambda: read_declaration(tmp_path), DECLARATION, "is missing")
    (tmp_path / DECLARATION).write_text("[")
    refused(lambda: read_declaration(tmp_path), DECLARATION)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("depth", lambda values: values[:-1]),
        ("depth", lambda values: np.where(values > 5, np.nan, values)),
        ("depth", lambda values: values[..., None]),
        ("normal", lambda values: values * 0),
        ("normal", lambda values: values[..., :2]),
        ("labels", lambda values: values + 1),
        ("labels", lambda values: values - 1),
        ("labels", lambda values: values.astype(float)),
    ],
)
def test_wrong_files(tmp_path, maps, name, change):
    save(tmp_path, maps | {name: change(maps[name])})
    declare(tmp_path)
    refused(lambda: open_predictions(tmp_path).predict(BATCH), f"room_rgb_{name}.npy")


def test_damaged_and_missing_files(tmp_path, maps):
    save(tmp_path, maps)
    declare(tmp_path)
    path = tmp_path / "area_1/rgb/room_rgb_depth.npy"
    path.write_bytes(path.read_bytes()[:-9])
    refused(lambda: open_predictions(tmp_path).predict(BATCH), path.name)
    path.unlink()
    refused(lambda: open_predictions(tmp_path).predict(BATCH), "depth", ID)
    (tmp_path / "room_rgb_depth.npz").write_bytes(b"PK\3\4 damaged")
    refused(lambda: open_predictions(tmp_path).predict(BATCH), "room_rgb_depth.npz")


def test_file_matches_two_samples(tmp_path, maps):
    """Images with the same name in several folders need these folders."""
    save(tmp_path, maps, "room_rgb")
    declare(tmp_path)
    predictions = open_predictions(tmp_path, ("depth",))
    predictions.predict(BATCH)
    refused(lambda: predictions.predict(BATCH | {"id": ["area_2/rgb/room_rgb.png"]}), "room_rgb_depth.npy")


def refused(call, *words):
    with pytest.raises(UserError) as info:
        call()
    message = str(info.value)
    assert "\n" not in message
    assert len(message) < 500
    for word in words:
        assert word in message
