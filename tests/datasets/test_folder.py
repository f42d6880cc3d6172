"""--dataset Folder: file formats of maps; splits by names, patterns and text files."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from datasets import build_dataset
from datasets.synthetic import SyntheticRooms
from tests.utils.test_openexr import write_openexr
from utils.errors import UserError
from utils.tasks import METERS, RELATIVE

HEIGHT, WIDTH = 32, 64
IDS = np.arange(13) + 1


@pytest.fixture(scope="module")
def room():
    room = SyntheticRooms("train", 1, HEIGHT, WIDTH).read(0)
    room.depth[:3] = 0
    room.normal[:3] = 0
    return room


def save_png16(path, depth):
    Image.fromarray(depth).save(path)


def save_exr(path, array):
    write_openexr(path, dict(zip("RGB", np.moveaxis(array, -1, 0), strict=True)) if array.ndim == 3 else {"Z": array})


def save_hdr(path, array):
    image = array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=-1)
    cv2.imwrite(str(path), np.ascontiguousarray(image[..., ::-1], dtype=np.float32))


def save_npz(path, array):
    np.savez_compressed(path, values=array)


def save_normal_png16(path, array):
    cv2.imwrite(str(path), np.ascontiguousarray(array[..., ::-1]))


# Suffix, meters per unit, function that saves depth to a path, largest relative error.
DEPTHS = {
    "16-bit PNG": (".png", 0.001, lambda d, path: save_png16(path, np.rint(d * 1000).astype(np.uint16)), 6e-4),
    "npy": (".npy", 1.0, lambda d, path: np.save(path, d), 1e-6),
    "npy, float16, one channel": (".npy", 1.0, lambda d, path: np.save(path, d[..., None].astype(np.float16)), 1e-3),
    "npz, centimeters": (".npz", 0.01, lambda d, path: save_npz(path, np.float64(d) * 100), 1e-6),
    "hdr": (".hdr", 1.0, lambda d, path: save_hdr(path, d), 1 / 128),
    "exr": (".exr", 1.0, lambda d, path: save_exr(path, d), 1e-6),
    "exr, three channels": (".EXR", 1.0, lambda d, path: save_exr(path, np.stack([d] * 3, axis=-1)), 1e-6),
}
# Suffix, stored values of -1 and 1, function that saves normals to a path, largest angle in degrees.
NORMALS = {
    "8-bit PNG": (".png", [0, 255], lambda n, path: Image.fromarray(coded(n, 255).astype(np.uint8)).save(path), 0.5),
    "16-bit PNG": (".png", [0, 65535], lambda n, path: save_normal_png16(path, coded(n, 65535).astype("u2")), 0.05),
    "npy": (".npy", [-1, 1], lambda n, path: np.save(path, n), 0.05),
    "npz": (".npz", [-1, 1], lambda n, path: save_npz(path, n), 0.05),
    "hdr": (".hdr", [0, 1], lambda n, path: save_hdr(path, coded(n, 1)), 1.0),
    "exr": (".exr", [-1, 1], lambda n, path: save_exr(path, n), 0.05),
}


def coded(normal, largest):
    """Codes from 0 to `largest`; missing normals are black."""
    values = (normal + 1) / 2 * largest
    return (np.rint(values) if largest > 1 else values) * normal.any(axis=-1, keepdims=True)


def description(depth=".png", unit=0.001, normal=".png", normal_range=(0, 255), **more):
    return {
        "files": {"rgb": "rgb/*.png", "depth": f"d/*{depth}", "semantic": "s/*.png", "normal": f"n/*{normal}"},
        "depth": {"unit": unit},
        "normal": {"frame": "camera", "range": list(normal_range)},
        "classes": [{"id": int(id_), "name": f"class {id_}"} for id_ in IDS],
        "splits": {"train": ["*"]},
        **more,
    }


def write(root, room, save_depth=DEPTHS["16-bit PNG"][2], save_normal=NORMALS["8-bit PNG"][2], names="a", **content):
    content = description(**content)
    for name in names:
        paths = {kind: root / pattern.replace("*", name) for kind, pattern in content["files"].items()}
        for path in paths.values():
            path.parent.mkdir(exist_ok=True)
        Image.fromarray(room.rgb).save(paths["rgb"])
        save_depth(room.depth, paths["depth"])
        save_normal(room.normal, paths["normal"])
        Image.fromarray(IDS[room.semantic].astype(np.uint8)).save(paths["semantic"])
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def opened(root, split="train", **special):
    return build_dataset("Folder", str(root), split, HEIGHT, WIDTH, **special)


@pytest.mark.parametrize("kind", DEPTHS)
def test_depth(tmp_path, room, kind):
    suffix, unit, save, error = DEPTHS[kind]
    dataset = opened(write(tmp_path, room, save_depth=save, depth=suffix, unit=unit))
    sample = dataset[0]
    np.testing.assert_allclose(sample["depth"][0], room.depth, rtol=error)
    assert not sample["depth_mask"][0, :3].any()
    assert sample["depth_mask"][0, 3:].all()
    assert dataset.depth_unit == METERS


@pytest.mark.parametrize("kind", NORMALS)
def test_normals(tmp_path, room, kind):
    suffix, normal_range, save, degrees = NORMALS[kind]
    dataset = opened(write(tmp_path, room, save_normal=save, normal=suffix, normal_range=normal_range))
    sample = dataset[0]
    cosine = (sample["normal"].numpy() * room.normal.transpose(2, 0, 1)).sum(axis=0)[3:]
    assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < degrees
    assert not sample["normal_mask"][0, :3].any()
    assert sample["normal_mask"][0, 3:].all()


def test_labels_and_frame(tmp_path, room):
    normal = {"frame": "world", "range": [0, 255], "axes": ["left", "up", "backward"]}
    content = {"normal": normal} | {"classes": [{"id": int(id_), "name": f"{id_}"} for id_ in IDS[::-1]]}
    root = write(tmp_path, room)
    (root / "dataset.json").write_text(json.dumps(description() | content))
    dataset = opened(root)
    assert dataset.normal_frame == "world"
    sample = dataset[0]
    assert (sample["semantic"].numpy() == 12 - room.semantic).all()
    assert (sample["normal"].numpy() * room.normal.transpose(2, 0, 1)).sum(axis=0)[3:].max() < -0.99


def test_relative_depth(tmp_path, room):
    """The largest depth is 10, also where stored values are below 1; missing depth is excluded."""
    stored = room.depth / 100
    stored[3, 3], stored[3, 4], stored[3, 5] = 7, np.nan, np.inf
    depth = {"unit": "relative", "missing": 7}
    root = write(tmp_path, room, save_depth=lambda d, path: np.save(path, stored), depth=".npy")
    (root / "dataset.json").write_text(json.dumps(description(".npy") | {"depth": depth}))
    dataset = opened(root)
    assert dataset.depth_unit == RELATIVE
    expected = 10 * room.depth / np.delete(room.depth[3:].ravel(), [3, 4, 5]).max()
    expected[3, 3:6] = 0
    np.testing.assert_allclose(dataset[0]["depth"][0], expected, rtol=1e-6)
    assert dataset[0]["depth"].max() <= 10


def test_depth_only(tmp_path, room):
    root = write(tmp_path, room)
    files = {"rgb": "rgb/*.png", "depth": "d/*.png"}
    (root / "dataset.json").write_text(json.dumps({"files": files, "depth": {"unit": 1}, "splits": {"train": ["*"]}}))
    assert len(opened(root, tasks=("depth",))[0]["depth"]) == 1
    with pytest.raises(UserError, match=r"dataset\.json .*--task depth,.*files\.semantic"):
        opened(root, tasks=("depth", "segmentation"))


@pytest.mark.parametrize("kind", ["8-bit PNG", "16-bit PNG", "npy"])
def test_absent_and_stored_maps_stack(tmp_path, room, kind):
    suffix, normal_range, save, _ = NORMALS[kind]
    root = write(tmp_path, room, normal=suffix, normal_range=normal_range, save_normal=save)
    (root / "list.txt").write_text(f"rgb/a.png d/a.png s/a.png n/a{suffix}\nrgb/a.png - - -\n")
    dataset = opened(root, list_file=root / "list.txt")
    batch = torch.utils.data.default_collate([dataset.packed(index) for index in range(2)])
    decoded = dataset.unpack(batch)
    for key in ("depth_mask", "normal_mask"):
        assert decoded[key].flatten(1).any(dim=1).tolist() == [True, False]
    assert (decoded["semantic"][1] == -1).all()


def test_list_with_other_formats(tmp_path, room):
    """Rejected, as panoramas could not be stacked."""
    root = write(tmp_path, room)
    (root / "list.txt").write_text("rgb/a.png d/a.npy s/a.png n/a.png\n")
    with pytest.raises(UserError, match=r"list\.txt: d/a\.npy .*files\.depth"):
        opened(root, list_file=root / "list.txt")


def paths_of(dataset):
    return [files.rgb for files in dataset.files]


def with_splits(root, splits, pattern="rgb/*.png"):
    content = {"files": {"rgb": pattern, "depth": pattern.replace("rgb", "d")}, "depth": {"unit": 1}}
    (root / "dataset.json").write_text(json.dumps(content | {"splits": splits}))
    return lambda split: paths_of(opened(root, split, tasks=("depth",)))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_splits(tmp_path):
    touch(tmp_path, *(f"rgb/{name}.png" for name in ("a1", "a2", "b1", "b[2]", "c1", ".hidden")), "rgb/a1.jpg")
    (tmp_path / "val.txt").write_text("# held out\nb1\n\nb[2]\n")
    paths = with_splits(tmp_path, {"train": "rest", "val": "val.txt", "test": ["a*"]})
    assert paths("train") == ["rgb/c1.png"]
    assert paths("val") == ["rgb/b1.png", "rgb/b[2].png"]
    assert paths("test") == ["rgb/a1.png", "rgb/a2.png"]
    # Any of its files identifies a panorama; panoramas listed by name need no files.
    touch(tmp_path, "d/d1.png")
    assert paths("train") == ["rgb/c1.png", "rgb/d1.png"]
    assert with_splits(tmp_path, {"test": ["nowhere"]})("test") == ["rgb/nowhere.png"]


def test_names_with_several_parts(tmp_path):
    touch(tmp_path, "s1/rgb/x_rgb.png", "s1/rgb/y_rgb.png", "s2/rgb/x_rgb.png")
    paths = with_splits(tmp_path, {"train": ["s1/*"], "val": ["s2/x"]}, "*/rgb/*_rgb.png")
    assert paths("train") == ["s1/rgb/x_rgb.png", "s1/rgb/y_rgb.png"]
    assert paths("val") == ["s2/rgb/x_rgb.png"]


@pytest.mark.parametrize(
    ("splits", "words"),
    [
        ({"val": ["a"]}, "dataset.json: splits.train"),
        ({"train": ["a*"], "val": ["a1"]}, "splits.val and splits.train both have a1"),
        ({"train": ["x/y"]}, "splits.train has the name x/y"),
        ({"train": "none.txt"}, "none.txt"),
        ({"train": ["z*"]}, "holds no panorama"),
    ],
)
def test_wrong_splits(tmp_path, splits, words):
    touch(tmp_path, "rgb/a1.png", "rgb/a2.png")
    with pytest.raises(UserError) as error:
        with_splits(tmp_path, splits)("train")
    assert words in str(error.value)


def test_fingerprint(tmp_path, room):
    """Depends on the panoramas and on the meaning of their files."""
    prints = {opened(write(tmp_path, room, unit=unit)).fingerprint() for unit in (0.001, 0.002)}
    assert len(prints | {opened(write(tmp_path, room, names="ab")).fingerprint()}) == 3


def test_wrong_normal_range(tmp_path, room):
    root = write(tmp_path, room, normal=".npy", normal_range=[0, 1], save_normal=NORMALS["npy"][2])
    with pytest.raises(UserError, match=r"n/a\.npy .*normal\.range in .*dataset\.json"):
        opened(root)[0]
    root = write(tmp_path, room, normal_range=[0, 65535])
    with pytest.raises(UserError, match=r"n/a\.png .*8-bit color.*expected 16-bit"):
        opened(root)[0]


def test_unknown_label_id(tmp_path, room):
    root = write(tmp_path, room)
    (root / "dataset.json").write_text(json.dumps(description(classes=[{"id": 9, "name": "floor"}])))
    with pytest.raises(UserError, match=r"s/a\.png .*label id.*ignored_ids in dataset\.json"):
        opened(root)[0]
