"""tools/prepare_voc.py writes lists and masks by the rule, and overwrites nothing."""

import numpy as np
import pytest
from PIL import Image

from datasets.voc import read_ids
from tools.prepare_voc import main

scipy = pytest.importorskip("scipy.io")


def write_list(root, year, name, ids):
    path = root / f"VOC{year}" / "ImageSets" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in ids))


@pytest.fixture
def root(tmp_path):
    """VOC2007 has training images 000001 to 000003 and test images 000004 and 000005; VOC2012 has copies of most."""
    write_list(tmp_path, "2007", "Main/trainval", ["000001", "000002", "000003"])
    write_list(tmp_path, "2007", "Main/test", ["000004", "000005"])
    write_list(tmp_path, "2007", "Segmentation/trainval", ["000001", "000002"])
    write_list(tmp_path, "2012", "Main/trainval", ["2008_000001", "2008_000002"])
    write_list(tmp_path, "2012", "Segmentation/val", ["2007_000001", "2008_000002"])
    write_list(tmp_path, "2012", "Segmentation/trainval", ["2007_000001", "2007_000002", "2007_000004", "2008_000002"])
    for year, names in (("2007", ["000001", "000002"]), ("2012", ["2007_000002", "2007_000004", "2008_000002"])):
        folder = tmp_path / f"VOC{year}" / "SegmentationClass"
        folder.mkdir()
        for name in names:
            Image.fromarray(np.full((4, 6), 20, np.uint8)).save(folder / f"{name}.png")
    (tmp_path / "sbd" / "cls").mkdir(parents=True)
    for name in ("2008_000001", "2008_000002", "2009_000001", "2007_000002", "2007_000005"):
        path = tmp_path / "sbd" / "cls" / f"{name}.mat"
        scipy.savemat(path, {"GTcls": {"Segmentation": np.full((4, 6), 7, np.uint8)}})
    return tmp_path


def run(root, *more):
    main(["--root", str(root), *map(str, more)])


def masks(root, year):
    folder = root / f"VOC{year}" / "SegmentationClassAug"
    return {path.stem: int(np.array(Image.open(path))[0, 0]) for path in folder.glob("*.png")}


def test_rule(root, capsys):
    run(root, "--sbd", root / "sbd")
    # Without 000001, whose copy in 2012 is a test image.
    assert read_ids(root, "2007", "trainvalsegdet") == ["000002", "000003"]
    # Without copies of 000004 and 000005, and with 2009_000001, which SBD adds.
    assert read_ids(root, "2012", "trainvalsegdet") == ["2007_000002", "2008_000001", "2009_000001"]
    assert read_ids(root, "2012", "segval") == ["2007_000001", "2008_000002"]
    assert masks(root, "2007") == {"000002": 20}
    assert masks(root, "2012") == {"2007_000002": 20, "2008_000001": 7, "2009_000001": 7}
    output = capsys.readouterr().out
    assert "VOC2012: masks of 3 training images, 3 of them written now" in output
    assert "trainvalsegdet.txt: 3 images, written" in output


def test_nothing_is_overwritten(root, capsys):
    run(root)
    assert masks(root, "2012") == {"2007_000002": 20}
    before = read_ids(root, "2012", "trainvalsegdet")
    Image.fromarray(np.full((4, 6), 3, np.uint8)).save(root / "VOC2012" / "SegmentationClassAug" / "2008_000001.png")
    run(root, "--sbd", root / "sbd")
    assert read_ids(root, "2012", "trainvalsegdet") == before == ["2007_000002", "2008_000001"]
    assert masks(root, "2012")["2008_000001"] == 3
    output = capsys.readouterr()
    assert "3 images, exists already, but differs" in output.out
    assert "remove it" in output.err
    assert "2 images, exists already\n" in output.out


@pytest.mark.parametrize("missing", ["2007/ImageSets/Main/test.txt", "2012/ImageSets/Segmentation/val.txt"])
def test_missing_official_list(root, missing, capsys):
    (root / f"VOC{missing}").unlink()
    with pytest.raises(SystemExit, match="2"):
        run(root)
    assert missing.rpartition("/")[2] in capsys.readouterr().err
    assert not list(root.glob("*/ImageSets/Main/trainvalsegdet.txt"))


def test_damaged_sbd(root, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(root, "--sbd", root / "VOC2007")
    assert "--sbd" in capsys.readouterr().err
    scipy.savemat(root / "sbd" / "cls" / "2009_000001.mat", {"GTcls": {"Other": 1}})
    with pytest.raises(SystemExit, match="2"):
        run(root, "--sbd", root / "sbd")
    assert "2009_000001.mat" in capsys.readouterr().err
    assert not list(root.glob("*/ImageSets/Main/trainvalsegdet.txt"))
