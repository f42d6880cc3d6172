"""Splits by rule: empty trees of the complete datasets have the published counts and exceptions."""

import numpy as np
import pytest

from datasets import build_dataset
from utils.errors import UserError

# Panoramas per area, and viewpoints per scan, of the complete datasets.
AREAS = {"1": 190, "2": 299, "3": 85, "4": 258, "6": 208, "5a": 143, "5b": 230}
TRAIN_SCANS = """
17DRP5sb8fy 48 1LXtFkjw3qL 131 1pXnuDYAj8r 95 29hnd4uzFmX 143 2n8kARJN3HM 186 5LpN3gDmAk7 140 5q7pvUzZiYa 89
759xd9YjKW5 61 7y3sRwLe3Va 114 82sE5b5pLXE 137 8WUmhLawc2A 95 B6ByNegPMKs 349 D7G3Y4RVNrH 49 D7N2EKCX4Sj 267
E9uDoFAP3SH 217 EDJbREhghzL 71 GdvgFV5R1Z5 12 HxpKQynjfin 44 JF19kD82Mey 50 JeFG25nYj2p 92 JmbYfDe2QKZ 81
PX4nDJXEHrG 300 Pm6F8kyY3z2 34 PuKPg4mmafe 96 S9hNv5qa7GM 110 SN83YJsR3w2 266 ULsKaCPVFJR 101 Uxmj2M2itWa 141
V2XKFyX4ASd 157 VFuaQ6m2Qom 171 VLzqgDo317F 126 VVfe2KiqLaN 61 Vvot9Ly1tCj 144 VzqfbhrpDEA 291 XcA2TqTSSAj 109
YmJkqBEsHnH 11 ZMojNkEp431 77 aayBHfsNo7d 71 ac26ZMwG7aT 171 b8cTxDM8gDG 117 cV4RVeZvu5T 91 dhjEzFoUFzH 218
e9zR4mvMWw7 91 gTV8FGcVJC9 231 gZ6f7yhEvPG 8 i5noydFURQK 56 jh4fc5c5qoQ 48 kEZ7cmS4wCh 220 mJXqzFtmKg4 190
p5wJjkQkbXX 155 pRbA3pwrgk9 125 qoiz87JEwZ2 133 r1Q1Z4BcV1o 116 r47D5H71a5s 61 rPc6DW4iMge 119 s8pcmisQ38h 50
sKLMLpTHeUy 127 sT4fr6TAbpF 81 uNb9QFRL6hY 221 ur6pFq6Qu1A 121 vyrNrziPKCB 342
"""
VAL_SCANS = """
2azQ1b91cZZ 215 8194nk5LbLH 20 EU6Fwq7SyZv 78 QUCTc6BB5sX 145 TbHJrupSAjP 116 X7HyMhZNoso 84 Z6MFQCViBuw 58
oLBMNvg9in8 114 pLe4wQe7qrG 31 x8F5xyUWy9e 43 zsNo4HB9uLZ 53
"""
TEST_SCANS = """
2t7WUuJeko7 37 5ZKStnWn8Zo 170 ARNzJeq3xxb 98 RPmz2sHmrrY 59 UwV83HsGsw3 125 Vt2qJdWjCF2 98 WYY7iVyf5p8 78
YFuZgdQ5vWj 89 YVUC4YcDtcY 46 fzynW3qQPVF 167 gYvKGZ5eRqb 38 gxdoqLR6rwA 169 jtcxE69GiFV 148 pa4otMbVnkk 229
q9vSo1VnCiC 86 rqfALeAoiTq 102 wc2JMjhGNzB 176 yqstnuAEVhm 99
"""


def touch(root, name):
    """Create an empty file in a tree: a link to one beside the tree, as thousands of links are faster than of files."""
    source = root.with_name("empty_file")
    source.touch()
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.hardlink_to(source)


def count(name, root, split, **special) -> int:
    return len(build_dataset(name, root, split, 32, 64, **special))


@pytest.fixture(scope="module")
def stanford(tmp_path_factory):
    root = tmp_path_factory.mktemp("S2D3D")
    for area, number in AREAS.items():
        for i in range(number):
            touch(root, f"area_{area}/depth/camera_{i:032x}_office_1_frame_equirectangular_domain_depth.png")
    touch(root, "area_1/depth/._camera_1_frame_equirectangular_domain_depth.png")  # a file of macOS
    touch(root, "assets/notes.txt")
    return root


def test_stanford2d3d(stanford):
    assert count("S2D3D", stanford, "train") == 1040
    assert count("S2D3D", stanford, "test") == 373
    assert count("S2D3D", stanford, "val") == 85
    assert count("S2D3D", stanford, "train", hold_out_val=True) == 1040 - 85


def test_folds_of_stanford2d3d(stanford):
    """Each area is tested in one fold, and no fold trains on its test areas; fold 1 is the default."""
    for fold, tested in ((1, ("5a", "5b")), (2, ("2", "4")), (3, ("1", "3", "6"))):
        parts = {}
        for split in ("train", "val", "test"):
            dataset = build_dataset("S2D3D", stanford, split, 32, 64, fold=fold, hold_out_val=True)
            assert len(dataset) == dataset.expected_count
            parts[split] = {files.rgb.partition("/")[0] for files in dataset.files}
        assert parts["test"] == {f"area_{area}" for area in tested}
        assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(AREAS)
        assert count("S2D3D", stanford, "train", fold=fold) == 1413 - sum(AREAS[area] for area in tested)


def test_stanford2d3d_files(stanford):
    dataset = build_dataset("S2D3D", stanford, "test", 32, 64)
    assert {files.rgb.split("/")[0] for files in dataset.files} == {"area_5a", "area_5b"}
    files, stem = dataset.files[0], f"camera_{0:032x}_office_1_frame_equirectangular_domain"
    assert files.rgb == f"area_5a/rgb/{stem}_rgb.png"
    assert files.depth == f"area_5a/depth/{stem}_depth.png"
    assert files.semantic == f"area_5a/semantic/{stem}_semantic.png"
    assert files.normal == f"area_5a/normal/{stem}_normals.png", "with an s"


@pytest.fixture(scope="module")
def matterport(tmp_path_factory):
    root = tmp_path_factory.mktemp("MP3D")
    words = (TRAIN_SCANS + VAL_SCANS + TEST_SCANS).split()
    for scan, number in zip(words[::2], words[1::2], strict=True):
        for i in range(int(number)):
            touch(root, f"{scan}/undistorted_depth_images/{i:032x}.png")
    # The published panorama without depth, a file of macOS, and a folder that is not a scan.
    touch(root, "8WUmhLawc2A/matterport_skybox_images/01fa989e503048b7979ab2ce51cecf78.png")
    touch(root, "17DRP5sb8fy/undistorted_depth_images/._1.png")
    touch(root, "house/undistorted_depth_images/1.png")
    return root


def test_matterport3d(matterport):
    assert count("MP3D", matterport, "train") == 8786
    assert count("MP3D", matterport, "train", hold_out_val=True) == 7829
    assert count("MP3D", matterport, "val") == 957
    assert count("MP3D", matterport, "test") == 2014
    assert 8786 + 2014 == 10800


def test_matterport3d_files(matterport):
    dataset = build_dataset("MP3D", matterport, "test", 32, 64)
    words = TEST_SCANS.split()
    assert {files.rgb.split("/")[0] for files in dataset.files} == set(words[::2])
    files = dataset.files[0]
    assert files.rgb == f"2t7WUuJeko7/matterport_skybox_images/{0:032x}.png"
    assert files.depth == f"2t7WUuJeko7/undistorted_depth_images/{0:032x}.png"
    assert files.semantic == f"2t7WUuJeko7/segmentation_maps_classes/{0:032x}_gt.png"
    assert files.normal == f"2t7WUuJeko7/undistorted_normal_images/{0:032x}.png"


@pytest.fixture(scope="module")
def structured(tmp_path_factory):
    """Rooms distributed over the scenes at random, except for scenes whose number of rooms is known."""
    root = tmp_path_factory.mktemp("Struc3D")
    rooms = {3398: 6, 1155: 7, 1192: 8, 1714: 1, 1816: 4, 1852: 8}
    generator = np.random.default_rng(0)
    for first, last, total in ((3000, 3250, 1776), (3250, 3500, 1697 - 6), (0, 40, 300)):
        scenes = [scene for scene in range(first, last) if scene not in rooms]
        counts = 1 + generator.multinomial(total - len(scenes), np.full(len(scenes), 1 / len(scenes)))
        rooms |= dict(zip(scenes, counts.tolist(), strict=True))
    for scene, number in rooms.items():
        folder = root / f"scene_{scene:05d}/2D_rendering"
        (folder / "100/panorama/full").mkdir(parents=True)
        (folder / "100/panorama/empty").mkdir()
        for room in range(1, number):
            (folder / f"{room + 100}").symlink_to("100")  # faster than thousands of folders
    return root


def test_structured3d(structured):
    assert count("Struc3D", structured, "val") == 1776
    assert count("Struc3D", structured, "test") == 1691
    assert count("Struc3D", structured, "train") == 300, "without the five invalid scenes"
    assert count("Struc3D", structured, "train", hold_out_val=True) == 300, "val is never part of train"


def test_structured3d_files(structured):
    dataset = build_dataset("Struc3D", structured, "test", 32, 64)
    assert not [files for files in dataset.files if "scene_03398" in files.rgb]
    folder = "scene_03250/2D_rendering/100/panorama/full"
    files = dataset.files[0]
    assert (files.rgb, files.depth) == (f"{folder}/rgb_rawlight.png", f"{folder}/depth.png")
    assert (files.semantic, files.normal) == (f"{folder}/semantic.png", f"{folder}/normal.png")


@pytest.mark.parametrize(
    ("name", "train", "train_without_val", "val", "test"),
    [
        ("S2D3D", 1040, 955, 85, 373),
        ("MP3D", 8786, 7829, 957, 2014),
        ("Struc3D", 18334, 18334, 1776, 1691),
    ],
)
def test_expected_counts(request, name, train, train_without_val, val, test):
    root = request.getfixturevalue({"S2D3D": "stanford", "MP3D": "matterport", "Struc3D": "structured"}[name])

    def expected(split, **special):
        return build_dataset(name, root, split, 32, 64, **special).expected_count

    assert (expected("train"), expected("val"), expected("test")) == (train, val, test)
    assert expected("train", hold_out_val=True) == train_without_val


@pytest.mark.parametrize("name", ["S2D3D", "MP3D", "Struc3D"])
def test_missing_and_empty_roots(name, tmp_path):
    with pytest.raises(UserError, match=f"--dataset {name} needs --dataset_rootdir"):
        build_dataset(name, None, "train")
    with pytest.raises(UserError, match="nowhere"):
        build_dataset(name, tmp_path / "nowhere", "train")
    with pytest.raises(UserError, match=rf"holds no panorama of {name}'s split test: expected files such as .*\.png"):
        build_dataset(name, tmp_path, "test")


def test_own_lists(matterport, tmp_path):
    """Also in the released code's format, which omits _gt in the label maps of Matterport3D."""
    path = tmp_path / "list.txt"
    path.write_text("a/rgb.png a/depth.png a/s.png a/normal.png\n\nb/rgb.png b/depth.png b/s_gt.png b/normal.png")
    for split in ("train", "test"):
        dataset = build_dataset("MP3D", matterport, split, 32, 64, list_file=path)
        assert [files.rgb for files in dataset.files] == ["a/rgb.png", "b/rgb.png"]
        assert [files.semantic for files in dataset.files] == ["a/s_gt.png", "b/s_gt.png"]
        assert dataset.expected_count is None
