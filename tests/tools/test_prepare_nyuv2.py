"""tools/prepare_nyuv2.py converts the owners' files and the hub's."""

import json
import shutil

import numpy as np
import pytest

from datasets.nyuv2 import NYUv2
from datasets.nyuv2_layouts import window_of
from datasets.preparation.nyu_layouts import write_nyu_dataset
from tools import prepare_nyuv2

pytest.importorskip("h5py")
pytest.importorskip("scipy")
NUM, HEIGHT = 3, 64


@pytest.fixture(scope="module")
def owners(tmp_path_factory):
    root = tmp_path_factory.mktemp("owners") / "raw"
    write_nyu_dataset("NYUv2-O", NUM, root, HEIGHT)
    return root


@pytest.fixture
def raw(owners, tmp_path):
    return shutil.copytree(owners, tmp_path / "raw")


def prepare(raw, out, *more):
    return prepare_nyuv2.main(["--raw", str(raw), "--out", str(out), "--num_workers", "0", *more])


def opened(root, split="test", **more):
    return NYUv2(root, split, 48, 64, **more)


def test_images_are_the_owners_windows(owners, tmp_path, capsys):
    assert prepare(owners, tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "6 images written" in output
    assert "Eigen, stored along left-up-back" in output
    source, prepared = opened(owners), opened(tmp_path / "out")
    assert prepared.layout.letter == "B"
    assert prepared.ids == source.ids
    assert prepared.axes == "right-down-forward"
    assert prepared.describe_source()["normals"] == "Eigen"
    for index in range(NUM):
        expected, found = source.read(index), prepared.read(index)
        expected = expected.cropped(*window_of(*expected.size))
        assert np.abs(found.rgb.astype(int) - expected.rgb).mean() < 4
        assert np.array_equal(found.depth, expected.depth)
        assert np.array_equal(found.semantic, expected.semantic)
        assert np.allclose(found.normal, expected.normal, atol=1e-6)
    held_out = opened(tmp_path / "out", "val", hold_out_val=True)
    assert held_out.hold_out.endswith("whole scenes")
    assert held_out.ids == opened(owners, "val", hold_out_val=True).ids


def test_resuming(owners, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(owners, out)
    expected = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    shutil.rmtree(out / "gt_sets")
    lost = out / "normals" / "0004.npy"
    lost.unlink()
    untouched = (out / "normals" / "0003.npy").stat().st_mtime_ns
    capsys.readouterr()
    assert prepare(owners, out) == 0
    assert "1 images written" in capsys.readouterr().out
    assert (out / "normals" / "0003.npy").stat().st_mtime_ns == untouched
    assert expected == {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_out_with_other_content(owners, tmp_path, capsys):
    out = tmp_path / "out"
    prepare(owners, out)
    for more in (["--raw_depth"], ["--normals", "depth"]):
        with pytest.raises(SystemExit) as exit_:
            prepare(owners, out, *more)
        assert exit_.value.code == 2
        assert f"--out {out}" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("keep")
    with pytest.raises(SystemExit):
        prepare(owners, other)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_estimated_normals(raw, tmp_path, capsys):
    shutil.rmtree(raw / "normals_gt")
    assert prepare(raw, tmp_path / "out", "--raw_depth") == 0
    assert "estimated from the depth" in capsys.readouterr().out
    assert "estimated" in json.loads((tmp_path / "out" / "prepared_nyuv2.json").read_text())["normals"]
    facts = opened(tmp_path / "out").describe_source()
    assert "estimated" in facts["normals"]
    assert "raw depth" in facts["copy"]
    assert opened(tmp_path / "out")[0]["normal_mask"].any()


def test_damaged_image(raw, tmp_path, capsys):
    """It is named, and the tree stays unfinished."""
    (raw / "normals_gt" / "masks" / "0001.png").write_bytes(b"")
    assert prepare(raw, tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "0001.png" in captured.err
    assert "5 images written" in captured.out
    assert not (tmp_path / "out" / "gt_sets").exists()


def test_prepared_copies_are_rejected(tmp_path, capsys):
    write_nyu_dataset("NYUv2-M", 1, tmp_path / "raw", HEIGHT)
    with pytest.raises(SystemExit):
        prepare(tmp_path / "raw", tmp_path / "out")
    assert "needs no preparation" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parquet_files(tmp_path):
    pytest.importorskip("pyarrow")
    write_nyu_dataset("NYUv2-H", NUM, tmp_path / "raw", HEIGHT)
    assert prepare(tmp_path / "raw", tmp_path / "out") == 0
    source, prepared = opened(tmp_path / "raw", "train"), opened(tmp_path / "out", "train")
    assert prepared.layout.letter == "M"
    for index in range(NUM):
        expected, found = source.read(index), prepared.read(index)
        for name in ("rgb", "depth", "semantic"):
            assert np.array_equal(getattr(found, name), getattr(expected, name))
        assert np.allclose(found.normal, expected.normal, atol=1e-6)


@pytest.mark.slow
def test_worker_process(owners, tmp_path):
    arguments = ["--raw", str(owners), "--out", str(tmp_path / "one"), "--num_workers", "1"]
    assert prepare_nyuv2.main(arguments) == 0
    prepare(owners, tmp_path / "here")
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert len(files) == 4 * 2 * NUM + 4
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "here" / path).read_bytes()
