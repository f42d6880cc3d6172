"""Camera files, and files of a scan in folders and archives."""

import zipfile

import numpy as np
import pytest

from datasets.preparation.matterport_raw import RawScan, find_scans, parse_cameras
from utils.errors import UserError

IDENTITY = "1 0 0 2.5  0 1 0 -1  0 0 1 0.25  0 0 0 1"
CONF = f"""dataset matterport
n_images 3
depth_directory undistorted_depth_images
color_directory undistorted_color_images

intrinsics_matrix 1076 0 629.5  0 1075 522.25  0 0 1
scan aa_d1_0.png aa_i1_0.jpg {IDENTITY}
scan bb_d1_5.png bb_i1_5.jpg {IDENTITY}
intrinsics_matrix 1000 0 600  0 1001 500  0 0 1
scan aa_d2_3.png aa_i2_3.jpg {IDENTITY}
"""


def test_parse_cameras():
    cameras = parse_cameras(CONF, "a.conf")
    assert list(cameras) == ["aa", "bb"]
    first, second = cameras["aa"]
    assert (first.camera, first.yaw, second.camera, second.yaw) == (1, 0, 2, 3)
    assert (first.depth_name, first.color_name) == ("aa_d1_0.png", "aa_i1_0.jpg")
    assert first.normal_names() == ["aa_d1_0_nx.png", "aa_d1_0_ny.png", "aa_d1_0_nz.png"]
    camera = first.sized(1024, 1280)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (1076, 1075, 629.5, 522.25)
    assert second.pinhole.fx == 1000
    assert first.center.tolist() == [2.5, -1, 0.25]


def test_camera_looks_along_minus_z():
    """As in OpenGL, with y up: for an identity pose, our y and z axes are -y and -z of the world."""
    assert parse_cameras(CONF, "a.conf")["bb"][0].rotation.tolist() == np.diag([1.0, -1, -1]).tolist()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [(" 0 0 0 1", " 0 0 0", 7), ("aa_d1_0.png", "aa.png", 7), ("1076 0 629.5", "1076 0 x", 6)],
)
def test_damaged_camera_file(old, new, line):
    with pytest.raises(UserError, match=rf"a\.conf, line {line}"):
        parse_cameras(CONF.replace(old, new, 1), "a.conf")


def test_camera_file_without_intrinsics():
    with pytest.raises(UserError, match="intrinsics_matrix"):
        parse_cameras(CONF.partition("\n\n")[2].partition("\n")[2], "a.conf")


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("s/undistorted_depth_images/", b"")
        archive.writestr("s/undistorted_depth_images/a.png", b"one")
        archive.writestr("s/undistorted_depth_images/b.png", b"two" * 100)


@pytest.mark.parametrize("place", ["undistorted_depth_images", "s/undistorted_depth_images", None])
def test_folders_and_archives(tmp_path, place):
    """Unpacked to the scan's folder, unpacked in place, and not unpacked."""
    folder = tmp_path / "s"
    if place:
        (folder / place).mkdir(parents=True)
        (folder / place / "a.png").write_bytes(b"one")
        (folder / place / "b.png").write_bytes(b"two" * 100)
        (folder / place / ".hidden").touch()
    else:
        folder.mkdir()
        write_zip(folder / "undistorted_depth_images.zip")
    scan = RawScan(folder)
    assert scan.names("depth") == {"a.png", "b.png"}
    assert scan.read("depth", "a.png") == b"one"
    assert scan.names("color") == set()
    with pytest.raises(UserError, match=r"undistorted_depth_images.*c\.png is missing"):
        scan.read("depth", "c.png")
    with pytest.raises(UserError, match=r"undistorted_color_images.*c\.png is missing"):
        scan.read("color", "c.png")


def test_damaged_archive(tmp_path):
    path = tmp_path / "undistorted_depth_images.zip"
    write_zip(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"twotwo", b"twotwi", 1))
    scan = RawScan(tmp_path)
    assert scan.read("depth", "a.png") == b"one"
    with pytest.raises(UserError, match=r"b\.png"):
        scan.read("depth", "b.png")
    path.write_bytes(data[:-30])
    with pytest.raises(UserError, match=r"undistorted_depth_images\.zip"):
        RawScan(tmp_path).names("depth")


@pytest.mark.parametrize("root", ["", "scans", "v1/scans"])
@pytest.mark.parametrize("file", ["undistorted_camera_parameters.zip", "undistorted_camera_parameters/s.conf"])
def test_find_scans(tmp_path, root, file):
    path = tmp_path / root / "s" / file
    path.parent.mkdir(parents=True)
    path.touch()
    (tmp_path / root / "other").mkdir()
    assert find_scans(tmp_path) == {"s": tmp_path / root / "s"}


def test_no_scans(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="--raw"):
            find_scans(folder)
