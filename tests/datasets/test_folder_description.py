"""Reading dataset.json, and errors in one line that names the file and the key."""

import json
import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

from datasets.folder_description import read_description
from datasets.structured3d import NORMAL_DECODING
from utils.errors import LONGEST_LINE, UserError

COMPLETE = {
    "files": {"rgb": "*/*/rgb.png", "depth": "*/*/depth.png", "semantic": "*/*/ids.png", "normal": "*/*/normal.npy"},
    "depth": {"unit": 0.001, "missing": 65535},
    "normal": {"frame": "world", "range": [0, 256], "axes": ["forward", "up", "left"]},
    "classes": [{"id": 3, "name": "floor"}, {"id": 7, "name": "wall", "color": [1, 2, 3]}],
    "ignored_ids": [0],
    "splits": {"train": "rest", "val": "val.txt", "test": ["scene_9/*"]},
}


def written(root: Path, content: object) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "dataset.json").write_text(text)
    return root


def test_complete_description(tmp_path):
    description = read_description(written(tmp_path, COMPLETE))
    assert description.patterns == COMPLETE["files"]
    assert (description.depth_scale, description.missing_depth) == (0.001, 65535)
    assert (description.normal_frame, description.normal_range) == ("world", (0, 256))
    np.testing.assert_allclose(description.normal_decoding, NORMAL_DECODING)  # the same encoding
    assert description.classes.names == ("floor", "wall")
    assert description.classes.colors[1] == (1, 2, 3)
    assert len(description.classes.colors[0]) == 3
    assert (description.class_ids, description.ignored_ids) == ((3, 7), (0,))
    assert description.splits == COMPLETE["splits"]


def test_depth_only(tmp_path):
    files = {"rgb": "rgb/*.png", "depth": "depth/*.exr"}
    description = read_description(written(tmp_path, {"files": files, "depth": {"unit": "relative"}}))
    assert description.depth_scale is None
    assert len(description.classes) == 0
    assert description.splits == {}


def test_example_in_docs(tmp_path):
    docs = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", docs, flags=re.DOTALL)
    assert len(read_description(written(tmp_path, example)).patterns) == 4


def test_digest_covers_the_meaning(tmp_path):
    def digest(key: str, value: object) -> str:
        return read_description(written(tmp_path, COMPLETE | {key: value})).digest

    same = digest("splits", {"train": ["a/b"]})
    assert digest("files", {**COMPLETE["files"], "rgb": "*/*/color.jpg"}) == same
    others = {
        digest("depth", {"unit": 0.001}),
        digest("depth", {"unit": 0.002, "missing": 65535}),
        digest("normal", {"frame": "camera", "range": [0, 256], "axes": ["forward", "up", "left"]}),
        digest("normal", {"frame": "world", "range": [0, 255], "axes": ["forward", "up", "left"]}),
        digest("classes", COMPLETE["classes"][:1]),
        digest("ignored_ids", [0, 1]),
    }
    assert len(others | {same}) == 7


MISSING = object()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("files", MISSING, ["files"]),
        ("files", [], ["files", "[]"]),
        ("files.rgb", MISSING, ["files.rgb"]),
        ("files.rgb", "rgb.png", ["files.rgb", "rgb.png", "*"]),
        ("files.rgb", "rgb/*.png", ["files.depth", "*"]),
        ("files.rgb", "**/rgb.png", ["files.rgb"]),
        ("files.depth", "../*/*.png", ["files.depth", "../*/*.png"]),
        ("files.depth", "a\\*\\*.png", ["files.depth"]),
        ("files.depth", MISSING, ["files.depth", "depth"]),
        ("files.labels", "*/*.png", ["files.labels", "semantic"]),
        ("depth", MISSING, ["depth", "files.depth"]),
        ("depth.unit", MISSING, ["depth.unit", "0.001"]),
        ("depth.unit", "mm", ["depth.unit", "mm", "relative"]),
        ("depth.unit", 0, ["depth.unit"]),
        ("depth.unit", True, ["depth.unit", "true"]),
        ("depth.missing", "none", ["depth.missing"]),
        ("depth.scale", 4000, ["depth.scale", "unit"]),
        ("normal.frame", MISSING, ["normal.frame", "camera"]),
        ("normal.frame", "cam", ["normal.frame", "cam", "world"]),
        ("normal.range", [1, 0], ["normal.range", "[1, 0]"]),
        ("normal.range", 255, ["normal.range"]),
        ("normal.axes", ["up", "down", "left"], ["normal.axes", "forward"]),
        ("normal.axes", ["x", "y", "z"], ["normal.axes", "right"]),
        ("normal.axes", [["up"], [], []], ["normal.axes"]),
        ("classes", [], ["classes"]),
        ("classes", [{"id": i, "name": f"{i}"} for i in range(128)], ["classes", "127"]),
        ("classes", ["wall"], ["classes", "id"]),
        ("classes", [{"id": 256, "name": "wall"}], ["classes[0].id", "256"]),
        ("classes", [{"id": 1}], ["classes[0].name"]),
        ("classes", [{"id": 1, "name": "a", "color": "red"}], ["classes[0].color", "red"]),
        ("classes", [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], ["classes", "id 1"]),
        ("classes", [{"id": 0, "name": "a"}], ["ignored_ids", "0"]),
        ("classes", [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], ["classes", 'name "a"']),
        ("ignored_ids", [300], ["ignored_ids", "300"]),
        ("splits", [], ["splits"]),
        ("splits.valid", ["a"], ["splits.valid", "val"]),
        ("splits.val", [], ["splits.val"]),
        ("splits.val", 0.1, ["splits.val", "0.1"]),
        ("splits.val", "rest", ["splits", "rest"]),
        ("palette", {}, ["palette", "classes"]),
        ("x" * 2000, {}, ["xxx"]),
    ],
)
def test_wrong_keys(tmp_path, place, value, words):
    content = deepcopy(COMPLETE)
    *sections, key = place.split(".")
    target = content[sections[0]] if sections else content
    if value is MISSING:
        del target[key]
    else:
        target[key] = value
    with pytest.raises(UserError) as error:
        read_description(written(tmp_path, content))
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'dataset.json'}: ")
    assert [word for word in words if word not in message] == []
    assert "\n" not in message
    assert len(message) < LONGEST_LINE


@pytest.mark.parametrize("content", [None, "", "{'files': 1}", "[]", "7"])
def test_invalid_json(tmp_path, content):
    if content is not None:
        written(tmp_path, content)
    with pytest.raises(UserError, match=r"dataset\.json") as error:
        read_description(tmp_path)
    assert "\n" not in str(error.value)


def test_repeated_id_0(tmp_path):
    classes = [{"id": 0, "name": "wall"}, {"id": 0, "name": "floor"}]
    with pytest.raises(UserError, match=r"dataset\.json: classes: .*id 0"):
        read_description(written(tmp_path, COMPLETE | {"classes": classes, "ignored_ids": []}))


def test_at_least_one_map(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json: files"):
        read_description(written(tmp_path, {"files": {"rgb": "*.png"}}))
