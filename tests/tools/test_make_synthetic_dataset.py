"""Round trip: loaders read the rendered rooms from written trees, up to the quantization of the encoding."""

import cv2
import numpy as np
import pytest

from datasets import build_dataset
from datasets.preparation.synthetic_layouts import write_dataset
from datasets.synthetic import SyntheticRooms
from utils.errors import UserError

HEIGHT, WIDTH = 64, 128
# Ids on disk, and labels in training, of beam, board, bookcase, ceiling, chair, clutter, column, door, floor, sofa,
# table, wall and window. Whiteboards and bookshelves (30 and 10 of NYUv2-40) are not among Structured3D's 25 classes.
IDS = {
    "MP3D": [30, 36, 32, 18, 4, 40, 25, 5, 3, 11, 6, 2, 10],
    "S2D3D": list(range(13)),
    "Struc3D": [38, 30, 10, 22, 5, 40, 38, 8, 2, 6, 7, 1, 9],
    "Folder": list(range(1, 14)),
}
LABELS = {
    "MP3D": [29, 35, 31, 17, 3, 39, 24, 4, 2, 10, 5, 1, 9],
    "S2D3D": list(range(13)),
    "Struc3D": [22, -1, -1, 16, 4, 24, 22, 7, 1, 5, 6, 0, 8],
    "Folder": list(range(13)),
}
STEP = {"MP3D": 1 / 4000, "S2D3D": 1 / 512, "Struc3D": 1 / 1000, "Folder": 1 / 1000}  # meters


@pytest.fixture(scope="module", params=["MP3D", "S2D3D", "Struc3D", "Folder"])
def layout(request):
    return request.param


@pytest.fixture(scope="module")
def root(layout, tmp_path_factory):
    out = tmp_path_factory.mktemp(layout) / "tree"
    write_dataset(layout, num=3, out=out, height=HEIGHT)
    return out


def val_within_train(layout) -> bool:
    return layout in ("MP3D", "S2D3D")


def open_split(layout, root, split, **special):
    if layout == "Struc3D":
        special.setdefault("metric_depth", True)
    return build_dataset(layout, root, split, HEIGHT, WIDTH, **special)


def test_counts(layout, root):
    assert len(open_split(layout, root, "train")) == 3
    assert len(open_split(layout, root, "test")) == 3
    assert len(open_split(layout, root, "val")) == 1
    assert len(open_split(layout, root, "train", hold_out_val=True)) == (2 if val_within_train(layout) else 3)


def pairs(layout, root):
    """Yield each rendered test room with its sample; files are in another order than rooms."""
    rooms = SyntheticRooms("test", 3, HEIGHT, WIDTH)
    samples = [open_split(layout, root, "test")[i] for i in range(3)]
    for i in range(3):
        room = rooms.read(i)
        rgb = room.rgb.transpose(2, 0, 1)
        yield room, next(s for s in samples if np.array_equal((s["rgb"].numpy() * 255).round(), rgb))


def test_depth_labels_and_masks(layout, root):
    for room, sample in pairs(layout, root):
        assert np.abs(sample["depth"][0].numpy() - room.depth).max() <= STEP[layout] / 2 + 2e-6
        assert np.array_equal(sample["depth_mask"][0], sample["depth"][0] <= 10)
        assert np.array_equal(sample["semantic"], np.array(LABELS[layout])[room.semantic])
        assert sample["normal_mask"].all()


def test_normals(layout, root):
    """Errors of half a step per component are at most 0.4 degrees; of one step (256 is clipped) 0.45 degrees."""
    for room, sample in pairs(layout, root):
        cosine = (sample["normal"].movedim(0, -1).double().numpy() * room.normal).sum(-1)
        assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 0.45
        assert np.abs(np.linalg.norm(sample["normal"], axis=0) - 1).max() < 1e-6


def test_stored_values(layout, root):
    """The images, decoded with OpenCV and the formulas of the datasets' owners."""
    dataset = open_split(layout, root, "test")
    rooms = {room.rgb.tobytes(): room for room in map(SyntheticRooms("test", 3, HEIGHT, WIDTH).read, range(3))}
    files = dataset.files[1]
    rgb = cv2.imread(str(root / files.rgb), cv2.IMREAD_UNCHANGED)[..., ::-1]
    room = rooms[rgb.tobytes()]
    depth = cv2.imread(str(root / files.depth), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    assert np.abs(depth * STEP[layout] - room.depth).max() <= STEP[layout] / 2 + 2e-6
    ids = cv2.imread(str(root / files.semantic), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(ids, np.array(IDS[layout])[room.semantic])
    normal = cv2.imread(str(root / files.normal), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(float)
    if layout == "Struc3D":  # axes: look-at (our z), up (-y), left (-x)
        x, y, z = -(normal[..., 2] / 128 - 1), -(normal[..., 1] / 128 - 1), normal[..., 0] / 128 - 1
        assert np.abs(np.stack([x, y, z], -1) - room.normal).max() < 1.01 / 128
    else:
        assert np.abs(normal / 127.5 - 1 - room.normal).max() < 0.51 / 127.5


def test_relative_depth_of_structured3d(tmp_path):
    write_dataset("Struc3D", num=1, out=tmp_path / "tree", height=HEIGHT)
    relative, metric = (
        open_split("Struc3D", tmp_path / "tree", "test", metric_depth=metric)[0]["depth"] for metric in (False, True)
    )
    assert relative.max() == pytest.approx(10, abs=1e-5)
    assert relative.max() <= 10, "the farthest point must be valid"
    assert np.allclose(relative, metric / metric.max() * 10, atol=1e-5)


def test_deterministic(layout, root, tmp_path):
    write_dataset(layout, num=3, out=tmp_path, height=HEIGHT)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    assert len(files) == 4 * (6 if val_within_train(layout) else 7) + (2 if layout == "Folder" else 1)
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for path in files:
        assert (root / path).read_bytes() == (tmp_path / path).read_bytes()


def test_other_folders_are_rejected(tmp_path):
    write_dataset("S2D3D", num=1, out=tmp_path, height=32)
    write_dataset("S2D3D", num=1, out=tmp_path, height=32)
    with pytest.raises(UserError, match="holds something else"):
        write_dataset("S2D3D", num=2, out=tmp_path, height=32)
