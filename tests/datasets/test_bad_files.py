"""Errors about files are one line that names the file and what was expected."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import build_dataset
from datasets.preparation.synthetic_layouts import write_dataset
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
    """A function that opens a copy of a dataset, and returns it with the paths of its only test panorama."""

    def open_copy(layout="S2D3D"):
        shutil.copytree(intact / layout, tmp_path / layout)
        dataset = build_dataset(layout, tmp_path / layout, "test", HEIGHT, WIDTH)
        files = dataset.files[0]
        return dataset, {kind: dataset.root / getattr(files, kind) for kind in ("rgb", "depth", "semantic", "normal")}

    return open_copy


def error_of(dataset) -> str:
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
    assert error_of(dataset) == f"{paths[kind]} is missing"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.01])
def test_truncated(opened, kind, kept, capfd):
    dataset, paths = opened()
    data = paths[kind].read_bytes()
    paths[kind].write_bytes(data[: int(len(data) * kept)])
    assert str(paths[kind]) in error_of(dataset)
    assert capfd.readouterr().err == "", "nothing is printed"


def test_damaged_content(opened):
    """As in some published archives of Structured3D."""
    dataset, paths = opened("Struc3D")
    data = bytearray(paths["depth"].read_bytes())
    data[len(data) // 2] ^= 255
    paths["depth"].write_bytes(data)
    assert error_of(dataset) == f"{paths['depth']} is not an image, or is damaged"


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_not_an_image(opened, content):
    dataset, paths = opened()
    paths["normal"].write_bytes(content)
    assert error_of(dataset) == f"{paths['normal']} is not an image, or is damaged"


@pytest.mark.parametrize("kind", ["depth", "semantic", "normal"])
def test_wrong_size(opened, kind):
    dataset, paths = opened()
    Image.open(paths[kind]).resize((16, 8), Image.Resampling.NEAREST).save(paths[kind])
    assert error_of(dataset) == f"{paths[kind]} is 16x8, but {paths['rgb']} is 64x32"


def test_wrong_aspect_ratio(opened):
    dataset, paths = opened()
    for path in paths.values():
        Image.open(path).crop((0, 0, 32, 32)).save(path)
    assert error_of(dataset) == f"{paths['rgb']} is 32x32: an ERP image is twice as wide as high"


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
    assert error_of(dataset) == f"{paths['semantic']} holds the label id {wrong}, which {layout} does not have"


@pytest.mark.parametrize(("layout", "missing"), [("S2D3D", 65535), ("MP3D", 0), ("Struc3D", 0)])
def test_missing_depth(opened, layout, missing):
    dataset, paths = opened(layout)
    depth = np.array(Image.open(paths["depth"]))
    depth[4:7, 8:12] = missing
    Image.fromarray(depth).save(paths["depth"])
    sample = dataset[0]
    assert not sample["depth"][0, 4:7, 8:12].any()
    assert int((~sample["depth_mask"]).sum()) == 12


@pytest.mark.parametrize(
    ("layout", "depth", "label"), [("S2D3D", 65535, 255), ("MP3D", 0, 0), ("MP3D", 0, 42), ("Struc3D", 0, 0)]
)
def test_maps_without_valid_pixels_are_accepted(opened, layout, depth, label):
    dataset, paths = opened(layout)
    Image.fromarray(np.full((HEIGHT, WIDTH), depth, np.uint16)).save(paths["depth"])
    Image.fromarray(np.full((HEIGHT, WIDTH), label, np.uint8)).save(paths["semantic"])
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(paths["normal"])
    sample = dataset[0]
    assert not sample["depth"].any()
    assert not sample["depth_mask"].any()
    assert not sample["normal"].any()
    assert not sample["normal_mask"].any()
    assert (sample["semantic"] == -1).all()


def test_depth_beyond_10_meters(opened):
    dataset, paths = opened("MP3D")
    Image.fromarray(np.full((HEIGHT, WIDTH), 40001, np.uint16)).save(paths["depth"])
    assert not dataset[0]["depth_mask"].any()


def test_wrong_depth_pixels(opened):
    dataset, paths = opened()
    Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(paths["depth"])
    assert error_of(dataset) == f"{paths['depth']} holds 8-bit gray pixels: expected 16-bit gray"
    shutil.copy(paths["rgb"], paths["depth"])
    assert "holds 8-bit color pixels" in error_of(dataset)


def test_gray_normals(opened):
    dataset, paths = opened()
    Image.open(paths["normal"]).convert("L").save(paths["normal"])
    assert error_of(dataset) == f"{paths['normal']} holds 8-bit gray pixels: expected 8-bit color"


@pytest.mark.parametrize("color", [(0, 0, 0), (128, 128, 128)])
def test_missing_normals(opened, color):
    dataset, paths = opened()
    normal = np.array(Image.open(paths["normal"]))
    normal[4:7, 8:12] = color
    Image.fromarray(normal).save(paths["normal"])
    sample = dataset[0]
    assert not sample["normal"][:, 4:7, 8:12].any()
    assert int((~sample["normal_mask"]).sum()) == 12
    assert not sample["normal_mask"][0, 4:7, 8:12].any()


def as_palette(ids: np.ndarray, colors: np.ndarray) -> Image.Image:
    palette = Image.fromarray(ids)
    palette.putpalette(colors.astype(np.uint8).tobytes())
    return palette


def as_rgb(*channels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


COLORS = np.random.default_rng(0).integers(0, 256, (256, 3))
EQUIVALENT_LABELS = {  # name: image of ids
    "palette": lambda ids: as_palette(ids, COLORS),
    "equal channels": lambda ids: as_rgb(ids, ids, ids),
    "equal channels, opaque": lambda ids: as_rgb(ids, ids, ids, 0 * ids + 255),
    "gray, opaque": lambda ids: Image.fromarray(ids).convert("LA"),
    "16 bits": lambda ids: Image.fromarray(ids.astype(np.uint16)),
}


@pytest.mark.parametrize("layout", ["MP3D", "S2D3D", "Struc3D"])
@pytest.mark.parametrize("stored", EQUIVALENT_LABELS)
def test_equivalent_labels(opened, layout, stored):
    dataset, paths = opened(layout)
    expected = dataset[0]["semantic"]
    EQUIVALENT_LABELS[stored](np.array(Image.open(paths["semantic"]))).save(paths["semantic"])
    assert (dataset[0]["semantic"] == expected).all()


def test_palette_with_a_transparent_color(opened):
    dataset, paths = opened("Struc3D")
    expected = dataset[0]["semantic"]
    as_palette(np.array(Image.open(paths["semantic"])), COLORS).save(paths["semantic"], transparency=3)
    assert (dataset[0]["semantic"] == expected).all()


COLORED_LABELS = {
    "owners' 24-bit index": lambda ids: as_rgb(0 * ids, (1 + 7 * ids.astype(int)) // 4, ids),
    "red only": lambda ids: as_rgb(ids, 0 * ids, 0 * ids),
    "blue differs": lambda ids: as_rgb(ids, ids, ids + 1),
    "palette saved as colors": lambda ids: as_palette(ids, COLORS).convert("RGB"),
}


@pytest.mark.parametrize(
    ("layout", "remedy"), [("S2D3D", "prepare_stanford2d3d.py"), ("Struc3D", "palette"), ("MP3D", "_gt.png")]
)
@pytest.mark.parametrize("stored", COLORED_LABELS)
def test_colored_labels(opened, layout, remedy, stored):
    """Colors are never taken for ids; the message names the remedy."""
    dataset, paths = opened(layout)
    COLORED_LABELS[stored](np.array(Image.open(paths["semantic"]))).save(paths["semantic"])
    message = error_of(dataset)
    assert message.startswith(f"{paths['semantic']} holds colors, not label ids: ")
    assert remedy in message


def test_gray_palette(opened):
    """Rejected unless grays equal indices: ids are the grays if a PNG optimizer wrote it, else the indices."""
    dataset, paths = opened("MP3D")
    ids = np.array(Image.open(paths["semantic"]))
    used, indices = np.unique(ids, return_inverse=True)
    as_palette(indices.reshape(ids.shape).astype(np.uint8), np.repeat(used[:, None], 3, axis=1)).save(paths["semantic"])
    assert error_of(dataset).startswith(f"{paths['semantic']} has a palette of grays")
    as_palette(ids, np.repeat(np.arange(256)[:, None], 3, axis=1)).save(paths["semantic"])
    assert (dataset[0]["semantic"] == ids.astype(int) - 1).all()


def test_16_bit_label_id(opened):
    dataset, paths = opened("MP3D")
    Image.fromarray(np.full((HEIGHT, WIDTH), 256 + 5, np.uint16)).save(paths["semantic"])
    assert error_of(dataset) == f"{paths['semantic']} holds the label id 261, which MP3D does not have"


@pytest.mark.parametrize("kind", ["depth", "semantic", "normal"])
@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF"])
def test_lossy_maps(opened, kind, form):
    """The content decides, not the suffix."""
    dataset, paths = opened()
    Image.open(paths[kind]).convert("RGB").save(paths[kind], format=form)
    message = error_of(dataset)
    assert message.startswith(f"{paths[kind]} is a {form} file")


@pytest.mark.parametrize("kind", ["semantic", "normal"])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw"])
def test_tiff_maps(opened, kind, compression):
    dataset, paths = opened()
    expected = dataset[0][kind]
    image = Image.open(paths[kind])
    image.load()
    image.save(paths[kind], format="TIFF", compression=compression)
    if compression == "jpeg":
        assert error_of(dataset).startswith(f"{paths[kind]} is a TIFF file that may have lost precision")
    else:
        assert (dataset[0][kind] == expected).all()


@pytest.mark.parametrize("kind", ["semantic", "normal"])
def test_lossless_webp_maps(opened, kind):
    dataset, paths = opened()
    expected = dataset[0][kind]
    Image.open(paths[kind]).convert("RGB").save(paths[kind], format="WEBP", lossless=True)
    assert (dataset[0][kind] == expected).all()


def test_depth_formats(opened):
    dataset, paths = opened()
    expected = dataset[0]["depth"]
    depth = np.array(Image.open(paths["depth"]))
    for name, array in (("x.png", np.stack([depth] * 3, axis=-1)), ("x.tif", depth)):
        paths["depth"].write_bytes(cv2.imencode(name[1:], array)[1].tobytes())
        assert (dataset[0]["depth"] == expected).all()
    paths["depth"].write_bytes(cv2.imencode(".png", np.stack([depth, depth, depth + 1], axis=-1))[1].tobytes())
    assert error_of(dataset) == f"{paths['depth']} holds colors, not depth"
    paths["depth"].write_bytes(cv2.imencode(".tif", depth.astype(np.float32))[1].tobytes())
    assert error_of(dataset) == f"{paths['depth']} holds 32-bit gray pixels: expected 16-bit gray"
    as_palette((depth // 256).astype(np.uint8), COLORS).save(paths["depth"])
    assert error_of(dataset) == f"{paths['depth']} holds 8-bit palette pixels: expected 16-bit gray"


def test_normal_formats(opened):
    dataset, paths = opened()
    expected = dataset[0]["normal"]
    image = Image.open(paths["normal"]).convert("RGBA")
    image.save(paths["normal"])
    assert (dataset[0]["normal"] == expected).all()
    pixels = np.array(image)
    pixels[3, 5, 3] = 0
    Image.fromarray(pixels).save(paths["normal"])
    assert error_of(dataset).startswith(f"{paths['normal']} has transparent pixels")
    paths["normal"].write_bytes(cv2.imencode(".png", pixels[..., :3].astype(np.uint16) * 257)[1].tobytes())
    assert error_of(dataset) == f"{paths['normal']} holds 16-bit color pixels: expected 8-bit color"
    image.convert("RGB").quantize().save(paths["normal"])
    assert error_of(dataset) == f"{paths['normal']} holds 8-bit palette pixels: expected 8-bit color"


def test_transparent_labels(opened):
    dataset, paths = opened()
    ids = np.array(Image.open(paths["semantic"]))
    as_rgb(ids, ids, ids, 255 * (ids > 3)).save(paths["semantic"])
    assert error_of(dataset).startswith(f"{paths['semantic']} has transparent pixels")


def test_alpha_of_rgb_is_dropped(opened):
    dataset, paths = opened()
    expected = dataset[0]["rgb"]
    Image.open(paths["rgb"]).convert("RGBA").save(paths["rgb"])
    assert (dataset[0]["rgb"] == expected).all()


def test_resizing_does_not_interpolate_maps(opened):
    """Depth and labels are values of the files; normals stay unit vectors."""
    dataset, _ = opened()
    small = build_dataset("S2D3D", dataset.root, "test", 24, 48)[0]
    assert small["rgb"].shape == (3, 24, 48)
    assert np.isin(small["depth"], dataset[0]["depth"]).all()
    assert np.isin(small["semantic"], dataset[0]["semantic"]).all()
    assert np.abs(np.linalg.norm(small["normal"], axis=0) - 1).max() < 1e-6
