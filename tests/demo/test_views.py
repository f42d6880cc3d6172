"""The point cloud of the page, without a browser. Needs node."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from utils.sphere import depth_to_points

WEB = Path(__file__).parents[2] / "demo" / "web"
# Shows the depth map from stdin without drawing it.
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


def run(script: str, data: object) -> dict:
    """The JSON that views.js prints with a script appended to it and data on stdin."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    command = [node, "-e", (WEB / "views.js").read_text(encoding="utf-8") + script]
    done = subprocess.run(command, input=json.dumps(data), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def initial_view(millimeters: np.ndarray) -> dict:
    """The initial view of a depth map (8, 16)."""
    return run(SHOW, millimeters.ravel().tolist())


def test_pixels_without_depth():
    """The view is centered on four points ahead, from 1 m to 2 m, not on the camera at the origin."""
    depth = np.zeros((8, 16), np.uint16)
    depth[3:5, 7:9] = [[1000, 2000], [2000, 1000]]
    view = initial_view(depth)
    assert [entry["pixel"] for entry in view["points"]] == [3 * 16 + 7, 3 * 16 + 8, 4 * 16 + 7, 4 * 16 + 8]
    expected = depth_to_points(depth / 1000)[depth > 0]
    assert np.array([entry["point"] for entry in view["points"]]) == pytest.approx(expected)
    assert view["middle"][2] == pytest.approx(1.5, abs=0.4)
    assert view["distance"] < 3


def test_visible_points_fill_the_view():
    """All of them are in view, up to its margin; a click picks the nearest one."""
    view = initial_view(np.random.default_rng(0).integers(1500, 4000, (8, 16)))
    visible = [entry for entry in view["points"] if entry["is_visible"]]
    assert 20 < len(visible) < 8 * 16, "some face away"
    offset = np.abs(np.array([entry["at"] for entry in visible]) / (300, 200) - 1)
    assert 0.6 < offset.max() <= 0.95
    assert sum(entry["picked"] == entry["pixel"] for entry in visible) > 0.9 * len(visible)
