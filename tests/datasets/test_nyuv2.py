"""All copies of NYU v2, compared with the rendered images, and messages about wrong files."""

import json
import shutil
import sys
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from datasets import build_perspective_dataset
from datasets.loading import LoadingSettings, evaluation_batches
from datasets.nyuv2 import NYUv2, hold_out
from datasets.nyuv2_classes import LABELS_13_OF_40, NYUV2_13, NYUV2_40
from datasets.nyuv2_decoding import read_mat
from datasets.nyuv2_layouts import NYU_CAMERA, WINDOW, Layout, find_layout, stored_camera, window_of
from datasets.preparation.nyu_layouts import STORED_AXES, render_stored, write_nyu_dataset
from datasets.preparation.pinhole_normals import NORMAL_AXES
from utils.errors import UserError

HEIGHT = 96
NUM = 3
LIBRARIES = {"NYUv2-H": ["pyarrow"], "NYUv2-A": ["scipy"], "NYUv2-O": ["h5py", "scipy"]}
LETTERS = "MHABCO"
SIZES = {"M": (58, 77), "H": (58, 77), "A": (85, 112), "B": (85, 112), "C": (85, 112), "O": (96, 128)}
# Largest error of a component of the normals. In 8 bits: half a step of 2/255, and the length; JPEG is lossy.
NORMAL_ERROR = {"M": 1e-6, "H": 1e-6, "A": 0.25, "B": 1e-6, "C": 0.008, "O": 0.008}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A function that writes the copy of a letter once and returns its folder."""
    written = {}

    def tree(letter):
        for library in LIBRARIES.get(f"NYUv2-{letter}", ()):
            pytest.importorskip(library)
        if letter not in written:
            written[letter] = tmp_path_factory.mktemp(letter) / "tree"
            write_nyu_dataset(f"NYUv2-{letter}", NUM, written[letter], HEIGHT)
        return written[letter]

    return tree


@pytest.fixture
def copied(trees, tmp_path):
    """A function that returns a copy of a tree, which tests may damage."""

    def copy(letter):
        return shutil.copytree(trees(letter), tmp_path / "tree")

    return copy


def opened(root, split="test", **more):
    return NYUv2(root, split, 48, 64, **more)


def assert_one_line(error):
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 480


@pytest.mark.parametrize("letter", LETTERS)
def test_images_of_all_copies(trees, letter):
    dataset = opened(trees(letter))
    assert dataset.layout.letter == letter
    assert len(dataset) == NUM
    for index in range(NUM):
        found = dataset.read(index)
        expected = render_stored(index, f"NYUv2-{letter}", "test", HEIGHT)
        assert found.size == SIZES[letter]
        if letter == "O":  # without the white frame
            found, expected = (image.cropped(*window_of(*found.size)) for image in (found, expected))
        difference = np.abs(found.rgb.astype(int) - expected.rgb)
        assert difference.mean() < 4 if letter in "AB" else not difference.any()
        known = expected.depth > 0
        if letter != "O":  # whose holes are filled
            assert np.array_equal(found.depth > 0, known)
        assert np.array_equal(found.depth[known], expected.depth[known])
        assert np.array_equal(found.semantic, expected.semantic)
        ours = expected.normal * NORMAL_AXES[STORED_AXES]
        assert np.array_equal(found.normal.any(axis=-1), ours.any(axis=-1))
        assert np.abs(found.normal - ours).max() <= NORMAL_ERROR[letter]


@pytest.mark.parametrize("letter", LETTERS)
def test_describe_source(trees, letter):
    facts = opened(trees(letter), "train", hold_out_val=True).describe_source()
    assert facts["copy"].startswith(f"{letter}: ")
    assert facts["classes"] == (13 if letter in "MH" else 40)
    assert facts["stored_size"] == "x".join(map(str, SIZES[letter]))
    assert facts["normal_axes"] == STORED_AXES
    assert facts["normal_axes_agreement"] > 0.7
    assert facts["val"].endswith("whole scenes" if letter == "O" else "as the copy tells no scenes")
    assert ("Eigen" in facts["normals"]) == (letter in "MHO")


def test_describe_source_despite_a_bad_image(copied):
    root = copied("B")
    images = sorted((root / "images").iterdir())
    facts = opened(root).describe_source()
    (root / "images" / f"{opened(root).ids[0]}.jpg").write_bytes(b"")
    assert opened(root).describe_source() == facts
    for path in images:
        path.write_bytes(b"")
    with pytest.raises(UserError, match="3 images"):
        opened(root).describe_source()


@pytest.mark.parametrize("letter", LETTERS)
def test_splits(trees, letter):
    root = trees(letter)
    train, kept, val, test = (
        set(opened(root, split, hold_out_val=held).ids)
        for split, held in (("train", False), ("train", True), ("val", True), ("test", False))
    )
    assert (len(train), len(kept), len(val), len(test)) == (3, 2, 1, 3)
    assert kept | val == train
    assert not kept & val
    assert not train & test


def test_normals_point_toward_the_camera(trees):
    dataset = NYUv2(trees("B"), "train", 85, 112)
    sample = dataset[0]
    rays = stored_camera(True, 85, 112).rays()
    facing = (sample["normal"].movedim(0, -1).numpy() * rays).sum(-1)[sample["normal_mask"][0].numpy()]
    assert (facing < 1e-3).mean() > 0.99


def test_given_axes(trees):
    dataset = opened(trees("B"), normal_axes="right-up-back")
    assert dataset.axes_agreement is None
    found = dataset.read(0).normal * NORMAL_AXES["right-up-back"]
    assert np.allclose(found, render_stored(0, "NYUv2-B", "test", HEIGHT).normal, atol=1e-6)


def test_axes_are_found(copied):
    root = copied("B")
    for path in (root / "normals").iterdir():
        np.save(path, np.load(path) * [1, -1, 1])
    assert opened(root).axes == "left-down-back"


def test_13_classes_of_40(trees):
    both = [opened(trees("B"), num_classes=number, tasks=("segmentation",)) for number in (40, 13)]
    assert [dataset.classes for dataset in both] == [NYUV2_40, NYUV2_13]
    labels_40, labels_13 = (dataset.read(0).semantic for dataset in both)
    for label, name, coarser in ((7, "door", "wall"), (9, "bookshelf", "furniture"), (1, "floor", "floor")):
        assert NYUV2_40.names[label] == name
        assert NYUV2_13.names[LABELS_13_OF_40[label]] == coarser
        assert (labels_13[labels_40 == label] == NYUV2_13.label(coarser)).all()
    assert LABELS_13_OF_40[-1] == -1
    with pytest.raises(UserError, match=r"--num_classes 40.*13"):
        opened(trees("M"), num_classes=40)


@pytest.mark.parametrize("letter", "MB")
def test_only_needed_maps_are_read(copied, letter):
    root = copied(letter)
    for path in [*root.rglob("*")]:
        if path.is_file() and path.parent.name in ("normal", "normals", "label", "segmentation"):
            path.write_bytes(b"")
    dataset = opened(root, tasks=("depth",))
    sample = dataset[0]
    assert sample["depth_mask"].any()
    assert not sample["normal_mask"].any()
    assert (sample["semantic"] == -1).all()
    assert dataset.missing_files() == []
    with pytest.raises(UserError):
        opened(root).read(0)


def test_missing_files_are_listed(copied):
    root = copied("C")
    lost = root / "depth" / "0004.npy"  # of the first test image
    lost.unlink()
    assert opened(root).missing_files() == [str(lost)]
    assert opened(root, tasks=("segmentation",)).missing_files() == []
    with pytest.raises(UserError, match=r"0004\.npy is missing"):
        opened(root).read(0)


def test_copy_in_a_subfolder(copied, tmp_path):
    root = copied("B")
    (tmp_path / "data").mkdir()
    shutil.move(root, tmp_path / "data" / "NYUD_MT")
    assert find_layout(tmp_path / "data").letter == "B"


def test_archives_of_the_same_name(trees):
    assert [find_layout(trees(letter)).letter for letter in "ABC"] == ["A", "B", "C"]


def test_invalid_depth_is_missing(copied):
    root = copied("B")
    path = root / "depth" / "0004.npy"
    depth = np.load(path)
    depth[0, :4] = np.nan, np.inf, -1, 0
    np.save(path, depth[..., None].astype(np.float64))
    found = opened(root).read(0).depth
    assert found[0, :4].tolist() == [0, 0, 0, 0]
    assert found.dtype == np.float32
    assert np.array_equal(found[1:], depth[1:])


def test_normals_of_wrong_length_are_missing(copied):
    """Gray and black in 8 bits; but not (1, -1, 0) / sqrt 2, as with the common check for a sum of 0."""
    root = copied("C")
    path = root / "normals" / "0004.png"
    stored = cv2.imread(str(path))[..., ::-1].copy()
    stored[0, :3] = (127, 128, 127), (0, 0, 0), (218, 37, 128)
    cv2.imwrite(str(path), stored[..., ::-1])
    normal = opened(root, normal_axes="right-down-forward").read(0).normal
    assert normal[0, :3].any(axis=-1).tolist() == [False, False, True]
    assert np.allclose(normal[0, 2], (0.707, -0.707, 0), atol=0.01)


def _rewrite(name, change, root):
    np.save(root / name, change(np.load(root / name)))


def _png(name, array, root):
    cv2.imwrite(str(root / name), array)


WRONG = {
    "damaged .npy": ("M", "depth/0", lambda root: (root / "val/depth/0.npy").write_bytes(b"\x93NUMPY\x01")),
    "empty .npy": ("B", "0004.npy", lambda root: (root / "depth/0004.npy").write_bytes(b"")),
    "pickled": ("M", "depth/0", lambda root: np.save(root / "val/depth/0.npy", np.array([{}]), allow_pickle=True)),
    "another shape": ("M", "normal/0", partial(_rewrite, "val/normal/0.npy", lambda a: a.transpose(2, 0, 1))),
    "another size": ("M", "label|semantic", partial(_rewrite, "val/label/0.npy", lambda a: a[1:])),
    "colors to 255": ("M", "image/0", partial(_rewrite, "val/image/0.npy", lambda a: a * 255)),
    "colors from -1": ("M", "image/0", partial(_rewrite, "val/image/0.npy", lambda a: a * 2 - 1)),
    "40 classes": ("M", "label/0", partial(_rewrite, "val/label/0.npy", lambda a: a + 20)),
    "halves": ("M", "label/0", partial(_rewrite, "val/label/0.npy", lambda a: a.clip(0, 11) + 0.5)),
    "255": ("B", "255", partial(_png, "segmentation/0004.png", np.full((85, 112), 255, np.uint8))),
    "color labels": ("B", "0004.png", partial(_png, "segmentation/0004.png", np.eye(85, 112)[..., None] * [9, 8, 7])),
    "not an image": ("C", "0004.png", lambda root: (root / "images/0004.png").write_bytes(b"<html>")),
    "half an image": ("B", "0004.jpg", lambda root: (root / "images/0004.jpg").write_bytes(b"\xff\xd8\xff\xe0")),
    "not a .mat": ("A", "0004.mat", lambda root: (root / "depth/0004.mat").write_bytes(b"<html>" * 99)),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files(copied, case):
    letter, match, damage = WRONG[case]
    root = copied(letter)
    damage(root)
    with pytest.raises(UserError, match=match) as error:
        opened(root, normal_axes=STORED_AXES).read(0)
    assert_one_line(error)


def test_wrong_matrix_of_a_mat_file(copied):
    root = copied("A")
    scipy = pytest.importorskip("scipy.io")
    scipy.savemat(root / "segmentation" / "0004.mat", {"labels": np.zeros((85, 112))})
    with pytest.raises(UserError, match=r"0004\.mat has no matrix segmentation"):
        opened(root, normal_axes=STORED_AXES).read(0)
    scipy.savemat(root / "segmentation" / "0004.mat", {"segmentation": np.full((85, 112), 2.5)})
    with pytest.raises(UserError, match=r"0004\.mat holds the label id 2\.5"):
        opened(root, normal_axes=STORED_AXES).read(0)


def test_random_normals(copied):
    root = copied("B")
    rng = np.random.default_rng(0)
    for path in (root / "normals").iterdir():
        np.save(path, rng.normal(size=(85, 112, 3)) / np.sqrt(3))
    with pytest.raises(UserError, match="--normal_axes") as error:
        opened(root)
    assert_one_line(error)


def test_normals_without_depth_need_their_axes(copied):
    root = copied("C")
    shutil.rmtree(root / "depth")
    with pytest.raises(UserError, match="--normal_axes"):
        opened(root, tasks=("normal",))
    assert opened(root, tasks=("normal",), normal_axes=STORED_AXES)[0]["normal_mask"].any()
    with pytest.raises(UserError, match="--normal_axes up"):
        opened(root, tasks=("normal",), normal_axes="up")


def test_missing_normals_of_the_owners_file(copied):
    root = copied("O")
    shutil.rmtree(root / "normals_gt")
    with pytest.raises(UserError, match="has no normals") as error:
        opened(root, tasks=("normal",))
    assert "--normal_axes" not in str(error.value)


def test_no_copy(tmp_path, trees):
    for root, match in (
        (tmp_path / "nothing", "is not a folder"),
        (tmp_path, "has no copy of NYU v2"),
    ):
        with pytest.raises(UserError, match=match) as error:
            opened(root)
        assert_one_line(error)
    shutil.copytree(trees("M"), tmp_path / "both")
    shutil.copytree(trees("B"), tmp_path / "both", dirs_exist_ok=True)
    with pytest.raises(UserError, match="several copies"):
        opened(tmp_path / "both")
    (tmp_path / "other" / "gt_sets").mkdir(parents=True)
    (tmp_path / "other" / "images").mkdir()
    (tmp_path / "other" / "images" / "1.tiff").touch()
    with pytest.raises(UserError, match=r"images/\*\.tiff"):
        opened(tmp_path / "other")
    with pytest.raises(UserError, match="--dataset_rootdir"):
        build_perspective_dataset("NYUv2", None, "train")
    with pytest.raises(UserError, match="--dataset NYU"):
        build_perspective_dataset("NYU", str(tmp_path), "train")


def test_missing_list_and_empty_split(copied):
    root = copied("B")
    (root / "gt_sets" / "val.txt").write_text("")
    with pytest.raises(UserError, match="no image of the split test"):
        opened(root)
    (root / "gt_sets" / "val.txt").unlink()
    with pytest.raises(UserError, match=r"val\.txt is missing"):
        opened(root)


@pytest.mark.parametrize(("letter", "module"), [("H", "pyarrow"), ("O", "h5py"), ("A", "scipy")])
def test_missing_library(trees, monkeypatch, letter, module):
    root = trees(letter)
    for name in [name for name in sys.modules if name == module or name.startswith(f"{module}.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"pip install {module}"):
        opened(root, normal_axes=STORED_AXES).read(0)


@pytest.mark.parametrize(("letter", "module"), [("H", "pyarrow"), ("O", "h5py"), ("A", "scipy")])
def test_missing_library_when_writing(tmp_path, monkeypatch, letter, module):
    for name in [module, *(name for name in sys.modules if name.startswith(f"{module}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"pip install {module}"):
        write_nyu_dataset(f"NYUv2-{letter}", 1, tmp_path / "tree", HEIGHT)
    assert not (tmp_path / "tree").exists()


def test_incomplete_hub_download(copied):
    root = copied("H")
    path = next((root / "data").glob("val-*"))
    first = path.rename(path.with_name("val-00000-of-00006.parquet"))
    with pytest.raises(UserError, match="1 of the 6 files"):
        opened(root)
    first.rename(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"parquet is not a parquet file"):
        opened(root)


@pytest.mark.parametrize("name", ["val-all.parquet", "val-00000-of-00001-0123456789abcdef.parquet"])
def test_other_names_of_hub_files(copied, name):
    root = copied("H")
    path = next((root / "data").glob("val-*"))
    path.rename(path.with_name(name))
    assert len(opened(root)) == NUM


def test_incomplete_owners_file(copied):
    root = copied("O")
    path = root / "nyu_depth_v2_labeled.mat"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"nyu_depth_v2_labeled\.mat"):
        opened(root)
    (root / "splits.mat").unlink()
    with pytest.raises(UserError, match=r"splits\.mat is missing"):
        opened(root)


def test_raw_depth_has_holes(trees):
    filled, raw = (opened(trees("O"), raw_depth=raw).read(2).depth for raw in (False, True))
    assert (filled > 0).all()
    assert 0 < (raw > 0).mean() < 1
    assert np.array_equal(filled[raw > 0], raw[raw > 0])
    with pytest.raises(UserError, match="--raw_depth"):
        opened(trees("M"), raw_depth=True)


def test_sources_of_normals(copied):
    """The same normals stored as Ladicky's, and as GeoNet's with its three numberings."""
    root = copied("O")
    expected = opened(root).read(1).normal
    images = {number: cv2.imread(str(root / f"normals_gt/normals/{number - 1:04d}.png")) for number in range(1, 7)}
    numbers = {"train": (2, 4, 6), "test": (1, 3, 5)}
    with pytest.raises(UserError, match="nyu_normals_gt is missing"):
        opened(root, normals="ladicky")
    for part, own in numbers.items():
        (root / "nyu_normals_gt" / part).mkdir(parents=True)
        for number in own:
            cv2.imwrite(str(root / "nyu_normals_gt" / part / f"{number:05d}.png"), images[number])
    with pytest.raises(UserError, match="--normals eigen or ladicky"):
        opened(root)
    ladicky = opened(root, normals="ladicky")
    assert ladicky.describe_source()["normals"] == "Ladicky"
    assert np.abs(ladicky.read(1).normal - expected).max() < 0.01
    for offset, places in ((0, False), (-1, False), (0, True)):
        shutil.rmtree(root / "nyuv2", ignore_errors=True)
        for part, own in numbers.items():
            (root / "nyuv2" / part).mkdir(parents=True)
            for place, number in enumerate(own):
                name = place if places else number + offset
                black = images[number] * (images[number] != 127).any(axis=-1, keepdims=True).astype(np.uint8)
                cv2.imwrite(str(root / "nyuv2" / part / f"{name:06d}_normal.png"), black)
        assert np.abs(opened(root, normals="geonet").read(1).normal - expected).max() < 0.01
    cv2.imwrite(str(root / "nyuv2" / "test" / "9_normal.png"), images[1])
    with pytest.raises(UserError, match=r"4 \*_normal\.png"):
        opened(root, normals="geonet")


def test_normals_from_depth(trees):
    dataset = opened(trees("O"), normals="depth", raw_depth=True)
    assert "estimated" in dataset.describe_source()["normals"]
    assert dataset.axes_agreement is None
    found, rendered = dataset.read(0).normal, opened(trees("O")).read(0).normal
    both = found.any(axis=-1) & rendered.any(axis=-1)
    assert both.mean() > 0.3
    assert ((found * rendered).sum(-1)[both] > np.cos(np.radians(22.5))).mean() > 0.8


class Scenes(Layout):
    """Scenes of five images each."""

    def scene(self, image_id):
        return f"room_{int(image_id) // 5}"

    ids = rgb = depth = labels = normals = None


def test_hold_out_by_scene(tmp_path):
    Scenes.__abstractmethods__ = frozenset()
    layout = Scenes(tmp_path)
    ids = [str(number) for number in range(100)]
    chosen, words = hold_out(ids, layout)
    assert "whole scenes" in words
    assert len(chosen) == 10
    assert {layout.scene(id_) for id_ in chosen}.isdisjoint({layout.scene(id_) for id_ in set(ids) - chosen})
    assert hold_out(ids[::-1], layout)[0] == chosen


def test_hold_out_by_scenes_in_ids(trees):
    layout = find_layout(trees("B"))
    ids = [f"kitchen_{scene:04d}_{number}" for scene in range(20) for number in range(5)]
    chosen, words = hold_out(ids, layout)
    assert "whole scenes" in words
    assert len({image_id[:12] for image_id in chosen}) == 2
    mixed, words = hold_out([*ids, "0001"], layout)
    assert "at random" in words
    assert len(mixed) == 10


def test_window_of_the_camera():
    """The 425x560 copies show the same rays as this window of the full image."""
    assert window_of(480, 640) == WINDOW
    full, window = NYU_CAMERA.rays(), stored_camera(True, 425, 560).rays()
    assert np.allclose(full[45:470, 40:600], window)


@pytest.mark.parametrize("letter", LETTERS)
def test_cameras(trees, letter):
    """The owners' images show the whole view of the camera, those of the other copies the window."""
    camera = find_layout(trees(letter)).camera(425, 560)
    assert camera.fx == pytest.approx(518.8579 if letter != "O" else 518.8579 * 560 / 640)
    assert camera.cx == pytest.approx(324.5824 - 40 if letter != "O" else 325.0824 * 560 / 640 - 0.5)


def test_unfinished_preparation(tmp_path):
    (tmp_path / "prepared_nyuv2.json").write_text(json.dumps({"normals": "Eigen"}))
    with pytest.raises(UserError, match="prepare_nyuv2 again"):
        opened(tmp_path)


def test_pickles_are_not_executed(copied, tmp_path):
    """A pickle that would create a file, in place of an array."""
    root = copied("B")
    (root / "depth" / "0004.npy").write_bytes(f"cposix\nsystem\n(S'touch {tmp_path}/run'\ntR.".encode())
    with pytest.raises(UserError, match=r"0004\.npy"):
        opened(root, normal_axes=STORED_AXES).read(0)
    assert not (tmp_path / "run").exists()


def test_axes_despite_a_bad_file(copied):
    root = copied("B")
    (root / "normals" / "0001.npy").write_bytes(b"")
    assert opened(root).axes == STORED_AXES


def test_axes_from_test_images_only(copied):
    root = copied("B")
    (root / "gt_sets" / "train.txt").unlink()
    assert opened(root).axes == STORED_AXES


@pytest.mark.slow
@pytest.mark.parametrize("letter", "HO")
def test_workers_open_files_again(trees, letter):
    """Forked processes must not share the position in a file."""
    dataset = opened(trees(letter))
    batches = evaluation_batches(dataset, LoadingSettings(batch_size=1, num_workers=2), torch.device("cpu"))
    assert len(batches) == NUM
    for index, batch in enumerate(batches):
        assert torch.equal(batch["depth"][0], dataset[index]["depth"])
        assert torch.equal(batch["rgb"][0], dataset[index]["rgb"])


def test_mat_files_with_a_header_of_matlab(tmp_path):
    """MATLAB 7.3 files are HDF5 files after a header of 512 bytes; their dimensions are reversed."""
    h5py = pytest.importorskip("h5py")
    array = np.arange(24.0).reshape(2, 3, 4)
    with h5py.File(tmp_path / "a.mat", "w", userblock_size=512) as file:
        file["depths"] = array.T
    assert np.array_equal(read_mat(tmp_path / "a.mat", "depths"), array)
