"""The point cloud and the ruler of the page, without a browser. Needs node."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from utils.sphere import depth_to_points

WEB = Path(__file__).parents[2] / "demo" / "web"
# Shows the depth of stdin without drawing it.
SHOW = """
const cloud = Object.create(PointCloud.prototype);
cloud.canvas = { clientWidth: 600, clientHeight: 400 };
cloud.setDepth = cloud.redraw = () => {};
cloud.show(new DepthMap(16, 8, { values: Uint16Array.from(JSON.parse(require("fs").readFileSync(0))), step: 0.001 }));
const points = [];
cloud.depth.forEach((point, pixel) => {
  const [at, is_visible] = [cloud.project(point), cloud.visibility()(point)];
  points.push({ pixel, point, at, is_visible, picked: cloud.pick(...at) });
});
console.log(JSON.stringify({ points, middle: cloud.middle, distance: cloud.distance }));
"""


def run(script: str, given: object) -> dict:
    """What a script that is appended to views.js prints, given JSON."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    command = [node, "-e", (WEB / "views.js").read_text(encoding="utf-8") + script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shown(millimeters: np.ndarray) -> dict:
    """How a depth map (8, 16) is shown at first."""
    return run(SHOW, millimeters.ravel().tolist())


def test_pixels_without_depth_are_not_in_view():
    """Of the half that lies ahead, from 1 m to 2 m, the camera in the origin is no part."""
    depth = np.zeros((8, 16), np.uint16)
    depth[3:5, 7:9] = [[1000, 2000], [2000, 1000]]
    view = shown(depth)
    assert [entry["pixel"] for entry in view["points"]] == [3 * 16 + 7, 3 * 16 + 8, 4 * 16 + 7, 4 * 16 + 8]
    expected = depth_to_points(depth / 1000)[depth > 0]
    assert np.array([entry["point"] for entry in view["points"]]) == pytest.approx(expected)
    assert view["middle"][2] == pytest.approx(1.5, abs=0.4)
    assert view["distance"] < 3


def test_the_room_fills_the_view():
    """All that is visible is in view, up to its margin; the point that is pressed is the nearest one."""
    view = shown(np.random.default_rng(0).integers(1500, 4000, (8, 16)))
    visible = [entry for entry in view["points"] if entry["is_visible"]]
    assert 20 < len(visible) < 8 * 16, "not those that are seen from behind"
    offset = np.abs(np.array([entry["at"] for entry in visible]) / (300, 200) - 1)
    assert 0.6 < offset.max() <= 0.95
    assert sum(entry["picked"] == entry["pixel"] for entry in visible) > 0.9 * len(visible)
