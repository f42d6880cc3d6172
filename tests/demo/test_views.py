"""The point cloud of the page, without a browser. Needs node."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

VIEWS = Path(__file__).parents[2] / "demo" / "web" / "views.js"
# Shows the depth of stdin without drawing it.
SHOW = """
const cloud = Object.create(PointCloud.prototype);
cloud.setDepth = () => {};
cloud.show(16, 8, { values: Uint16Array.from(JSON.parse(require("fs").readFileSync(0))), step: 0.001 });
console.log(JSON.stringify([...cloud.middle, cloud.distance]));
"""


def shown(millimetres: np.ndarray) -> list[float]:
    """Middle (x, y, z) and distance of the eye, in metres, with which a depth map (8, 16) is shown."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    command = [node, "-e", VIEWS.read_text(encoding="utf-8") + SHOW]
    done = subprocess.run(command, input=json.dumps(millimetres.ravel().tolist()), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_pixels_without_depth_are_not_in_view():
    """Of the half that lies ahead, from 1 m to 2 m, the camera in the origin is no part."""
    depth = np.zeros((8, 16), np.uint16)
    depth[3:5, 7:9] = [[1000, 2000], [2000, 1000]]
    _, _, z, distance = shown(depth)
    assert z == pytest.approx(1.5, abs=0.1)
    assert distance < 2
    assert shown(np.full((8, 16), 2000, np.uint16))[:3] == pytest.approx([0, 0, 0], abs=1e-6)
