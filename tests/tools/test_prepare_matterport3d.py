"""Preparing a synthetic release of Matterport3D for --dataset MP3D."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset
from datasets.matterport3d import viewpoint_files
from datasets.preparation.labeled_mesh import parse_ply
from datasets.preparation.matterport_raw import RawScan
from datasets.preparation.matterport_rig import nominal_rotation
from datasets.preparation.matterport_tree import Outcome, Summary
from datasets.preparation.synthetic_layouts import MP3D
from tests.matterport_release import HEADING, SCAN, Release, write_release, zip_release
from tools import check_dataset, prepare_matterport3d
from utils.projection import sample_erp
from utils.sphere import erp_rays, yaw_rotation

HEIGHT, WIDTH = 128, 256
KINDS = ("rgb", "depth", "semantic", "normal")
RAYS = erp_rays(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Release:
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def raw(release, tmp_path) -> Release:
    """A copy of the release that tests may change."""
    shutil.copytree(release.root, tmp_path / "raw")
    return replace(release, root=tmp_path / "raw")


def run(raw: Release, out: Path, *more) -> int:
    arguments = ["--raw", raw.root, "--out", out, "--height", HEIGHT, "--num_workers", 0, *more]
    return prepare_matterport3d.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def prepared(release, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    assert run(release, out) == 0
    return out


def read(out: Path) -> dict:
    sample = build_dataset("MP3D", str(out), split="train", height=HEIGHT, width=WIDTH)[0]
    maps = {"depth": sample["depth"][0].numpy(), "normal": np.moveaxis(sample["normal"].numpy(), 0, -1)}
    return maps | {"semantic": sample["semantic"].numpy(), "normal_mask": sample["normal_mask"][0].numpy()}


def check(out: Path) -> int:
    return check_dataset.main(["--dataset", "MP3D", "--dataset_rootdir", str(out), "--partial", "--num_workers", "0"])


def away_from_edges(labels: np.ndarray) -> np.ndarray:
    """Mask of pixels whose neighbors all have the same label."""
    return cv2.erode(labels, np.ones((3, 3))) == cv2.dilate(labels, np.ones((3, 3)))


def assert_exact(maps: dict, release: Release) -> None:
    truth = release.panorama(HEIGHT)
    known = maps["depth"] > 0
    assert np.median(np.abs(maps["depth"] / truth.depth - 1)[known]) < 0.001
    cosine = (maps["normal"] * truth.normal).sum(axis=-1)[maps["normal_mask"]]
    assert np.median(np.degrees(np.arccos(cosine.clip(-1, 1)))) < 1
    labels = (MP3D.ids - 1)[truth.semantic].astype(np.int16)
    assert (maps["semantic"] == labels)[away_from_edges(labels)].mean() > 0.99


@pytest.mark.slow
def test_maps_match_rendering(release, prepared, capsys):
    maps = read(prepared)
    assert_exact(maps, release)
    level = np.abs(np.arcsin(RAYS[..., 1])) < np.radians(55)
    assert (maps["depth"][level] > 0).mean() > 0.98
    assert (maps["depth"][:8] == 0).all(), "no view sees the poles"
    assert check(prepared) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "all right"


@pytest.mark.slow
def test_summary_and_second_run(raw, tmp_path, capsys):
    assert run(raw, tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "1 viewpoints prepared, 0 skipped" in output
    assert float(re.search(r"corrected by ([+-][\d.]+) degrees", output)[1]) == pytest.approx(-HEADING, abs=0.05)
    assert "= (x, -y, -z)" in output, "axes of the stored normals"
    record = json.loads((tmp_path / "out" / SCAN / "preparation" / f"{raw.viewpoint}.json").read_text())
    assert record["measured"]["heading"]["yaw"] == pytest.approx(-HEADING, abs=0.05)
    assert record["problems"] == record["measured"]["lacking"] == []
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert len(before) == 4
    assert run(raw, tmp_path / "out") == 0
    assert "0 viewpoints prepared, 1 skipped" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_zipped_release(raw, prepared, tmp_path):
    zip_release(raw.root)
    assert run(raw, tmp_path / "out") == 0
    files = [path.relative_to(prepared) for path in prepared.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert all((tmp_path / "out" / path).read_bytes() == (prepared / path).read_bytes() for path in files)


@pytest.mark.slow
def test_depth_from_mesh(release, tmp_path):
    """Depth and normals include the poles."""
    assert run(release, tmp_path, "--depth_from", "mesh") == 0
    maps = read(tmp_path)
    assert_exact(maps, release)
    assert (maps["depth"] > 0).all()
    assert maps["normal_mask"].all()


@pytest.mark.slow
def test_normals_along_other_axes(raw, prepared, tmp_path, capsys):
    """The prepared normals do not depend on the order of the published axes."""
    for y_path in raw.folder("normal").glob("*_ny.png"):
        z_path = y_path.with_name(y_path.name.replace("_ny", "_nz"))
        y, z = y_path.read_bytes(), z_path.read_bytes()
        y_path.write_bytes(z)
        z_path.write_bytes(y)
    assert run(raw, tmp_path / "out", "--only", "normal") == 0
    assert "= (x, -z, -y)" in capsys.readouterr().out
    path = viewpoint_files(SCAN, raw.viewpoint).normal
    assert (tmp_path / "out" / path).read_bytes() == (prepared / path).read_bytes()


@pytest.mark.slow
def test_missing_files_are_reported(raw, tmp_path, capsys):
    """A view's depth and normals, the mesh, and the poses of a skybox are missing; the other maps are made."""
    (raw.folder("depth") / f"{raw.viewpoint}_d1_2.png").unlink()
    (raw.folder("normal") / f"{raw.viewpoint}_d1_4_ny.png").write_bytes(b"")
    (raw.folder("mesh") / f"{SCAN}.ply").unlink()
    other = "01fa989e503048b7979ab2ce51cecf78"
    (raw.folder("skybox") / f"{other}_skybox0_sami.jpg").touch()
    assert run(raw, tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "1 incomplete" in output
    assert "_d1_2.png" in output
    assert "_d1_4_ny.png" in output
    assert re.search(rf"not made: .*{SCAN}\.ply is missing", output)
    assert f"{SCAN}/{other}" in output
    files = viewpoint_files(SCAN, raw.viewpoint)
    assert (tmp_path / "out" / files.depth).is_file()
    assert (tmp_path / "out" / files.normal).is_file()
    assert not (tmp_path / "out" / files.semantic).exists()


@pytest.mark.slow
def test_only_files_of_task_are_needed(raw, tmp_path, capsys):
    for kind in ("normal", "mesh", "color"):
        shutil.rmtree(raw.folder(kind))
    (raw.root / "category_mapping.tsv").unlink()
    assert run(raw, tmp_path / "out", "--only", "depth") == 0
    assert sorted(path.parent.name for path in (tmp_path / "out").rglob("*.png")) == [
        "matterport_skybox_images",
        "undistorted_depth_images",
    ]
    assert "warning: heading not verified" in capsys.readouterr().out


def change(out: Path, kind: str, function) -> None:
    """Change an image of the only viewpoint in a tree."""
    path = next(out.glob(getattr(viewpoint_files("*", "*"), kind)))
    Image.fromarray(function(np.array(Image.open(path)))).save(path)


def source_views() -> tuple[np.ndarray, np.ndarray]:
    """The view that each pixel is taken from: cosine to its axis, and its index, (H, W) each."""
    axes = np.stack([nominal_rotation(camera, yaw)[:, 2] for camera in range(3) for yaw in range(6)])
    cosines = RAYS @ axes.T
    return cosines.max(axis=-1), cosines.argmax(axis=-1)


def z_depth(units: np.ndarray) -> np.ndarray:
    return np.rint(units * source_views()[0]).astype(np.uint16)


def in_view_frames(codes: np.ndarray) -> np.ndarray:
    rotations = np.stack([nominal_rotation(camera, yaw) for camera in range(3) for yaw in range(6)])[source_views()[1]]
    normal = np.einsum("hwji,hwj->hwi", rotations, codes / 127.5 - 1)
    return np.where(codes.any(axis=-1, keepdims=True), np.rint(127.5 * normal + 127.5), 0).astype(np.uint8)


def in_millimeters(units: np.ndarray) -> np.ndarray:
    return np.rint(units / 4).astype(np.uint16)


def mpcat40_indices(ids: np.ndarray) -> np.ndarray:
    return ids - np.uint8(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault", "words"),
    [
        ("depth", z_depth, "not the distance along the ray"),
        ("depth", in_millimeters, "unit of depth"),
        ("normal", in_view_frames, "normals disagree with depth"),
        ("semantic", mpcat40_indices, "wrong labels"),
    ],
)
def test_check_finds_faults(prepared, tmp_path, capsys, kind, fault, words):
    shutil.copytree(prepared, tmp_path / "out")
    change(tmp_path / "out", kind, fault)
    assert check(tmp_path / "out") == 1
    assert words in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_check_finds_heading_error(release, tmp_path, capsys):
    """Half a degree, at the default height."""
    assert run(release, tmp_path, "--height", "512", "--only", "depth") == 0
    arguments = ["--dataset", "MP3D", "--dataset_rootdir", str(tmp_path), "--partial", "--task", "depth"]
    assert check_dataset.main([*arguments, "--num_workers", "0"]) == 0
    rays = erp_rays(512, 1024) @ yaw_rotation(np.radians(0.5))
    change(tmp_path, "rgb", lambda rgb: sample_erp(rgb, rays))
    assert check_dataset.main([*arguments, "--num_workers", "0"]) == 1
    assert "differ in heading" in capsys.readouterr().out.splitlines()[-1]


def test_user_errors(tmp_path, capsys):
    """One line names the flag or file, and nothing is written."""
    raw = tmp_path / "raw"
    camera_file = raw / "s" / "undistorted_camera_parameters" / "s.conf"
    camera_file.parent.mkdir(parents=True)
    camera_file.touch()
    for more, named in (
        (["--raw", str(tmp_path / "missing")], "--raw"),
        (["--scans", "t"], "--scans t"),
        (["--out", str(raw)], "--out"),
        (["--only", "segmentation"], "--category_mapping"),
        (["--shard", "3/2"], "--shard"),
    ):
        with pytest.raises(SystemExit) as end:
            prepare_matterport3d.main(["--raw", str(raw), "--out", str(tmp_path / "out"), "--num_workers", "0", *more])
        assert end.value.code == 2
        message = capsys.readouterr().err
        assert named in message
        assert len(message) < 500
        assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_out_with_other_settings(tmp_path, capsys):
    camera_file = tmp_path / "raw" / "s" / "undistorted_camera_parameters" / "s.conf"
    camera_file.parent.mkdir(parents=True)
    camera_file.touch()
    arguments = ["--raw", tmp_path / "raw", "--out", tmp_path / "out", "--num_workers", 0, "--only", "depth"]
    arguments = [str(argument) for argument in arguments]
    assert prepare_matterport3d.main([*arguments, "--height", "64"]) == 0
    with pytest.raises(SystemExit):
        prepare_matterport3d.main([*arguments, "--height", "128"])
    assert "--height" in capsys.readouterr().err


def write_viewpoints(root: Path) -> None:
    """Write the camera files of two scans, with five and four viewpoints."""
    for scan, number in (("a", 5), ("b", 4)):
        path = root / scan / "undistorted_camera_parameters" / f"{scan}.conf"
        path.parent.mkdir(parents=True)
        pose = " ".join(str(value) for value in np.eye(4).ravel())
        lines = [f"scan {scan}{i}_d1_0.png {scan}{i}_i1_0.jpg {pose}" for i in range(number)]
        path.write_text("\n".join(["intrinsics_matrix 50 0 30 0 50 20 0 0 1", *lines]))


def test_shards(tmp_path, capsys):
    """Every viewpoint is in one shard, and shards are of similar size."""
    write_viewpoints(tmp_path / "raw")
    found = []
    for part in range(1, 5):
        arguments = ["--raw", tmp_path / "raw", "--out", tmp_path / "out", "--num_workers", 0, "--only", "depth"]
        more = ["--shard", f"{part}/4"]
        assert prepare_matterport3d.main([*(str(argument) for argument in arguments), *more]) == 1
        found.append(re.findall(r"([ab]\d)_skybox0", capsys.readouterr().out))
    assert sorted(name for names in found for name in names) == [f"a{i}" for i in range(5)] + [
        f"b{i}" for i in range(4)
    ]
    assert max(map(len, found)) - min(map(len, found)) <= 1


def test_damaged_camera_file(tmp_path, capsys):
    """Other scans are still prepared."""
    write_viewpoints(tmp_path / "raw")
    path = tmp_path / "raw" / "a" / "undistorted_camera_parameters" / "a.conf"
    path.write_text(path.read_text()[:-5])
    arguments = ["--raw", tmp_path / "raw", "--out", tmp_path / "out", "--num_workers", 0, "--only", "depth"]
    assert prepare_matterport3d.main([str(argument) for argument in arguments]) == 1
    output = capsys.readouterr().out
    assert re.search(r"scan not used: .*a\.conf, line 6", output)
    assert "b3_skybox0" in output


def test_causes_are_counted():
    problems = [f"/raw/{number:032x}_d0_1.png is missing" for number in range(3)]
    outcomes = [Outcome("s", str(number), problems=[problem]) for number, problem in enumerate(problems)]
    lines = prepare_matterport3d.report(Summary(2, [*outcomes, Outcome("s", "4")], [], []), seconds=30)
    assert lines[0] == "1 viewpoints prepared, 2 skipped (exist already), 3 incomplete"
    assert lines[1] == "8.0 viewpoints per minute"
    assert lines[-1] == "not made: 3 times /raw/*_d0_1.png is missing"


@pytest.mark.slow
def test_mesh_categories(release):
    """The mapping has the categories of all faces."""
    mesh = parse_ply(RawScan(release.root / SCAN).read("mesh", f"{SCAN}.ply"), "mesh")
    text = (release.root / "category_mapping.tsv").read_text()
    assert set(mesh.category.tolist()) <= {int(line.partition("\t")[0]) for line in text.splitlines()[1:]}
