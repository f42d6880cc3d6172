"""Prediction of panorama files: metadata, flags, masks, black bars and sizes."""

import json
import re

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from options.panorama_prediction import predict_parser
from prediction.masks import black_bars
from utils.errors import UserError
from visual.drawing import save_image

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
    'GPano:FullPanoWidthPixels="64" GPano:FullPanoHeightPixels="32" GPano:CroppedAreaImageWidthPixels="64" '
    'GPano:CroppedAreaImageHeightPixels="16" GPano:CroppedAreaLeftPixels="0" GPano:CroppedAreaTopPixels="8" '
    'GPano:PoseHeadingDegrees="200"/></rdf:RDF></x:xmpmeta>'
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(30, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def result(tmp_path):
    """Reads the result of room.* with an ending."""

    def result(ending: str):
        path = tmp_path / "out" / f"room{ending}"
        if path.suffix == ".npy":
            return np.load(path)
        return json.loads(path.read_text()) if path.suffix == ".json" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    return result


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_gpano_metadata(predict, result, tmp_path, suffix):
    """Metadata of a part of the sphere need no flags; pixels outside the image are marked in all results."""
    path = tmp_path / f"room{suffix}"
    image = Image.fromarray(noise(16, 64))
    if suffix == ".png":
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP)
        image.save(path, pnginfo=info)
    elif suffix == ".tif":
        image.save(path, tiffinfo={700: XMP.encode()})
    else:
        image.save(path, xmp=XMP.encode())
    assert predict("--input", path) == 0
    seen = np.zeros((32, 64), bool)
    seen[8:24] = True
    np.testing.assert_array_equal(result("_valid.png"), np.where(seen, 255, 0))
    assert not result("_depth.npy")[~seen].any()
    assert result("_depth.npy")[seen].all()
    assert not result("_normal.npy")[~seen].any()
    assert (result("_labels.png")[~seen] == 255).all()
    assert (result("_labels.png")[seen] < 3).all()
    assert result("_rgb.png").shape == (32, 64, 3)
    assert len(trimesh.load(tmp_path / "out" / "room_points.ply").vertices) == seen.sum()
    description = result(".json")
    assert description["valid"] == 0.5
    placement = description["placement"]
    assert (placement["source"], placement["top"], placement["bottom"]) == ("GPano", 45, -45)
    assert placement["heading"] == 200
    assert {"room_valid.png", "room_rgb.png"} <= set(description["files"])


def test_flags_instead_of_metadata(predict, result, tmp_path, capsys):
    save_image(tmp_path / "room.png", noise(16, 64))
    assert predict("--input", tmp_path / "room.png", "--save", "depth") == 1
    error = capsys.readouterr().err
    assert "--vfov" in error
    assert "--crop" in error
    assert predict("--input", tmp_path / "room.png", "--save", "depth", "--vfov", 90, "--upright", 5, -3) == 0
    assert result(".json")["placement"]["pitch"] == 5
    with pytest.raises(UserError, match="--overwrite"):
        predict("--input", tmp_path / "room.png", "--save", "depth", "--vfov", 80)
    assert predict("--input", tmp_path / "room.png", "--save", "depth", "--force", "--overwrite") == 0
    assert not (tmp_path / "out" / "room_valid.png").exists(), "files of the earlier prediction are removed"
    assert not (tmp_path / "out" / "room_rgb.png").exists()


def test_masks(predict, result, tmp_path, monkeypatch):
    """Masked pixels are predicted but not valid; a changed mask is noticed, also with relative paths."""
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "photos" / "room.png", noise(64, 128))
    mask = np.full((64, 128), 255, np.uint8)
    mask[32:] = 0
    save_image(tmp_path / "masks" / "room.png", mask)
    command = ("--input", "photos", "--mask", "masks", "--save", "depth", "ply")
    assert predict(*command) == 0
    valid = result("_valid.png") == 255
    assert valid[:16].all()
    assert not valid[16:].any()
    assert result("_depth.npy")[16:].all(), "predicted"
    assert len(trimesh.load(tmp_path / "out" / "room_points.ply").vertices) == 16 * 64
    written = (tmp_path / "out" / "room.json").stat().st_mtime_ns
    assert predict(*command) == 0
    assert (tmp_path / "out" / "room.json").stat().st_mtime_ns == written
    mask[40:] = 255
    save_image(tmp_path / "masks" / "room.png", mask)
    assert predict(*command) == 0
    assert (result("_valid.png") == 255)[20:].all()


@pytest.mark.parametrize(("mask", "message"), [(None, "no file named room"), (noise(32, 32), "--mask .* 32x32")])
def test_wrong_masks(predict, tmp_path, capsys, mask, message):
    save_image(tmp_path / "photos" / "room.png", noise(32, 64))
    (tmp_path / "masks").mkdir()
    if mask is not None:
        save_image(tmp_path / "masks" / "room.png", mask)
    assert predict("--input", tmp_path / "photos", "--mask", tmp_path / "masks") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed")]
    assert re.search(message, line)
    with pytest.raises(UserError, match="--mask"):
        predict("--input", tmp_path / "photos", "--mask", tmp_path / "gone")


def test_mask_for_images_in_two_folders(predict, tmp_path, capsys):
    """Images with the same name in different folders do not share a mask, unless it is the only one."""
    for folder in "ab":
        save_image(tmp_path / "photos" / folder / "room.png", noise(32, 64))
    for name in ("room", "roof"):
        save_image(tmp_path / "masks" / f"{name}.png", np.full((32, 64), 255, np.uint8))
    assert predict("--input", tmp_path / "photos", "--mask", tmp_path / "masks", "--save", "depth") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed")]
    assert re.search("--mask: .*room.png would be the mask of .*b/room.png and of an image in .*a:", line)
    only_mask = ("--mask", tmp_path / "masks" / "room.png")
    assert predict("--input", tmp_path / "photos", *only_mask, "--save", "depth") == 0


def test_partly_black_rows():
    rgb = noise(8, 1000)
    rgb[:3] = 3
    rgb[2, :2] = 100
    assert black_bars(rgb) == (2, 0)
    assert black_bars(np.zeros_like(rgb)) == (8, 8)


def test_black_bars(predict, result, tmp_path, capsys):
    """A note names them, unless they are marked as not valid on request."""
    rgb = noise(64, 128)
    rgb[:8] = rgb[-4:] = 3
    save_image(tmp_path / "room.png", rgb)
    assert predict("--input", tmp_path / "room.png", "--save", "depth") == 0
    assert "(8 rows at the top, 4 at the bottom): --black_bars" in capsys.readouterr().out
    assert predict("--input", tmp_path / "room.png", "--save", "depth", "--black_bars", "--overwrite") == 0
    assert "--black_bars" not in capsys.readouterr().out
    valid = result("_valid.png") == 255
    assert valid[4:30].all()
    assert not valid[:4].any()
    assert not valid[30:].any()


@pytest.mark.parametrize("height", ["tall", "0", "16385"])
def test_wrong_heights(height, capsys):
    with pytest.raises(SystemExit):
        predict_parser().parse_args(["--checkpoint", "default", "--input", "a.png", "--out", "b", "--height", height])
    error = capsys.readouterr().err
    assert "--height" in error
    assert "16384" in error


@pytest.mark.parametrize(("height", "rows"), [("own", 50), (64, 64), (16, 16)])
def test_height_and_up(predict, result, tmp_path, height, rows):
    save_image(tmp_path / "room.png", noise(50, 100))
    assert predict("--input", tmp_path / "room.png", "--height", height, "--up", "z", "--save", "depth", "ply") == 0
    assert result("_depth.npy").shape == (rows, 2 * rows)
    assert result(".json")["maps"] == {"width": 2 * rows, "height": rows}
    with pytest.raises(UserError, match="--height"):
        predict("--input", tmp_path / "room.png", "--save", "depth")
    points = trimesh.load(tmp_path / "out" / "room_points.ply").vertices
    assert len(points) == 2 * rows * rows
    assert points[: 2 * rows, 2].min() > 0, "the first row of pixels is up"
    assert "z up" in result(".json")["axes"]


@pytest.mark.parametrize("flags", [["--video"], ["--up", "y", "--save", "depth"]], ids=" ".join)
def test_flags_without_effect(predict, tmp_path, flags):
    save_image(tmp_path / "room.png", np.zeros((32, 64, 3), np.uint8))
    with pytest.raises(UserError, match=flags[0]):
        predict("--input", tmp_path / "room.png", *flags)
