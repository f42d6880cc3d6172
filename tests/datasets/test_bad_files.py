"""What is wrong with a file is told in one line that names it and says what was expected."""

import shutil

import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset
from tools.make_synthetic_dataset import write_dataset
from utils.errors import UserError

HEIGHT, WIDTH = 32, 64


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    for layout in ("MP3D", "S2D3D", "Struc3D"):
        write_dataset(layout, num=1, out=root / layout, height=HEIGHT)
    return root


@pytest.fixture
def opened(intact, tmp_path):
    """A function that opens a copy of a tree, and gives the paths of its only test panorama too."""

    def opener(layout="S2D3D"):
        shutil.copytree(intact / layout, tmp_path / layout)
        dataset = build_dataset(layout, tmp_path / layout, "test", HEIGHT, WIDTH)
        files = dataset.files[0]
        return dataset, {kind: dataset.root / getattr(files, kind) for kind in ("rgb", "depth", "semantic", "normal")}

    return opener


def told(dataset) -> str:
    with pytest.raises(UserError) as info:
        dataset[0]
    message = str(info.value)
    assert "\n" not in message
    return message


KINDS = ["rgb", "depth", "semantic", "normal"]


@pytest.mark.parametrize("kind", KINDS)
def test_missing(opened, kind):
    dataset, paths = opened()
    paths[kind].unlink()
    assert told(dataset) == f"{paths[kind]} is missing"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_truncated(opened, kind, kept, capfd):
    dataset, paths = opened()
    data = paths[kind].read_bytes()
    paths[kind].write_bytes(data[: int(len(data) * kept)])
    assert str(paths[kind]) in told(dataset)
    assert capfd.readouterr().err == "", "nothing is printed on the side"


def test_damaged_within(opened):
    """As in some of the published archives of Structured3D."""
    dataset, paths = opened("Struc3D")
    data = bytearray(paths["depth"].read_bytes())
    data[len(data) // 2] ^= 255
    paths["depth"].write_bytes(data)
    assert told(dataset) == f"{paths['depth']} is not an image, or is damaged"


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_no_picture(opened, content):
    dataset, paths = opened()
    paths["normal"].write_bytes(content)
    assert told(dataset) == f"{paths['normal']} is not an image, or is damaged"


@pytest.mark.parametrize("kind", ["depth", "semantic", "normal"])
def test_wrong_size(opened, kind):
    dataset, paths = opened()
    Image.open(paths[kind]).resize((16, 8), Image.Resampling.NEAREST).save(paths[kind])
    assert told(dataset) == f"{paths[kind]} is 16x8, but {paths['rgb']} is 64x32"


def test_not_twice_as_wide_as_high(opened):
    dataset, paths = opened()
    for path in paths.values():
        Image.open(path).crop((0, 0, 32, 32)).save(path)
    assert told(dataset) == f"{paths['rgb']} is 32x32: an ERP image is twice as wide as high"


@pytest.mark.parametrize(
    ("layout", "wrong", "allowed"), [("S2D3D", 13, 255), ("MP3D", 43, 42), ("MP3D", 43, 0), ("Struc3D", 41, 0)]
)
def test_unknown_label_id(opened, layout, wrong, allowed):
    dataset, paths = opened(layout)
    ids = np.array(Image.open(paths["semantic"]))
    ids[3, 5] = allowed
    Image.fromarray(ids).save(paths["semantic"])
    assert dataset[0]["semantic"][3, 5] == -1
    ids[3, 5] = wrong
    Image.fromarray(ids).save(paths["semantic"])
    assert told(dataset) == f"{paths['semantic']} holds the label id {wrong}, which {layout} does not have"


@pytest.mark.parametrize(("layout", "missing"), [("S2D3D", 65535), ("MP3D", 0), ("Struc3D", 0)])
def test_no_depth_at_all(opened, layout, missing):
    dataset, paths = opened(layout)
    depth = np.array(Image.open(paths["depth"]))
    depth[4:7, 8:12] = missing
    Image.fromarray(depth).save(paths["depth"])
    sample = dataset[0]
    assert not sample["depth"][0, 4:7, 8:12].any()
    assert int((~sample["depth_mask"]).sum()) == 12
    Image.fromarray(np.full_like(depth, missing)).save(paths["depth"])
    assert told(dataset) == f"{paths['depth']} holds no depth above 0 and up to 10 m"


def test_wrong_kind_of_pixels(opened):
    dataset, paths = opened()
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(paths["depth"])
    assert told(dataset) == f"{paths['depth']} holds 8-bit grey pixels: expected 16-bit grey"
    shutil.copy(paths["rgb"], paths["depth"])
    assert "holds 8-bit colour pixels" in told(dataset)


def test_normals_in_grey(opened):
    dataset, paths = opened()
    Image.open(paths["normal"]).convert("L").save(paths["normal"])
    assert told(dataset) == f"{paths['normal']} holds 8-bit grey pixels: expected 8-bit colour"


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128)])
def test_missing_normals(opened, colour):
    dataset, paths = opened()
    normal = np.array(Image.open(paths["normal"]))
    normal[4:7, 8:12] = colour
    Image.fromarray(normal).save(paths["normal"])
    sample = dataset[0]
    assert not sample["normal"][:, 4:7, 8:12].any()
    assert int((~sample["normal_mask"]).sum()) == 12
    assert not sample["normal_mask"][0, 4:7, 8:12].any()


def test_palette_and_colour_labels(opened):
    """Of a palette the indices count, of a colour picture the first channel."""
    dataset, paths = opened("MP3D")
    expected = dataset[0]["semantic"]
    ids = np.array(Image.open(paths["semantic"]))
    palette = Image.fromarray(ids)
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768).astype(np.uint8).tobytes())
    palette.save(paths["semantic"])
    assert Image.open(paths["semantic"]).mode == "P"
    assert (dataset[0]["semantic"] == expected).all()
    Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], axis=-1)).save(paths["semantic"])
    assert (dataset[0]["semantic"] == expected).all()


def test_alpha_is_dropped(opened):
    dataset, paths = opened()
    expected = dataset[0]["rgb"]
    Image.open(paths["rgb"]).convert("RGBA").save(paths["rgb"])
    assert (dataset[0]["rgb"] == expected).all()


def test_other_sizes(opened):
    """Nothing is mixed: depth and labels are values that the files hold, normals stay unit vectors."""
    dataset, _ = opened()
    small = build_dataset("S2D3D", dataset.root, "test", 24, 48)[0]
    assert small["rgb"].shape == (3, 24, 48)
    assert np.isin(small["depth"], dataset[0]["depth"]).all()
    assert np.isin(small["semantic"], dataset[0]["semantic"]).all()
    assert np.abs(np.linalg.norm(small["normal"], axis=0) - 1).max() < 1e-6
