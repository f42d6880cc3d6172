"""Reference values computed with the released code of Yun & Cho, and the inputs that they were computed from.

See tests/golden/achievement/README.md. If the environment variable ACHIEVEMENT_GOLDEN is set, the files of that folder
are used instead.
"""

import gzip
import json
import math
import os
import re
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from networks.deeplab import DeepLab
from networks.released_achievement import convert_released_weights
from networks.vmm import VMM

FOLDER = Path(os.environ.get("ACHIEVEMENT_GOLDEN") or Path(__file__).parent / "golden" / "achievement")
# An entry by which each kind of file is recognized.
_MARKS = {
    "losses": "seg_loss_smoothing_0",
    "metrics": "seg_intersection",
    "combination": "model_A",
    "evaluation": "metric_mIoU",
    "transform": "cases",
    "detection": "anchors640_stride",
    "average precision": "ap_area",
}
# The last biases of VMM's classification heads.
_PRIOR = re.compile(r"conf\.\d\.(blocks\.proj_conv\.normal|pointwise)\.bias")


def kind_of(path: Path) -> str:
    """The kind of a file: the architecture of a model case, a key of _MARKS, or "unknown"."""
    with np.load(path) as file:
        if "meta" in file.files:
            return json.loads(str(file["meta"]))["arch"]
        return next((kind for kind, mark in _MARKS.items() if mark in file.files), "unknown")


FILES = {path: kind_of(path) for path in sorted(FOLDER.glob("*.npz"))}


def files_of(kind: str) -> list[Path]:
    """The files of this kind."""
    return [path for path in FILES if FILES[path] == kind]


def load(path: Path) -> dict[str, np.ndarray]:
    """The entries of a file."""
    with np.load(path) as file:
        return dict(file)


def load_meta(arrays: dict[str, np.ndarray]) -> SimpleNamespace:
    """The settings of a model case."""
    return SimpleNamespace(**json.loads(str(arrays["meta"])))


def released_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of the released state dict of a model case, in order."""
    table = path.with_name(f"{path.stem}.state_dict.tsv")
    packed = table.with_name(f"{table.name}.gz")
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else table.read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()]
    return {key: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for key, shape, _ in rows}


def released_state(shapes: dict[str, tuple[int, ...]], gain: float) -> dict[str, torch.Tensor]:
    """A state dict in the released format, with the generated weights of the model cases."""
    return {key: torch.from_numpy(_weights(key, shape, gain)) for key, shape in shapes.items()}


def _weights(key: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    x = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32).astype(np.float64)
    if key.endswith("running_var"):
        x = 0.75 + 0.25 * np.abs(x)
    elif key.endswith("running_mean"):
        x = 0.1 * x
    elif len(shape) == 1 and key.endswith("weight"):
        x = 0.75 + 0.1 * x
    elif key.endswith("bias"):
        x = 0.05 * x
        if _PRIOR.fullmatch(key):
            x = x.astype(np.float32) - math.log(99)
    else:
        x = x * gain / np.sqrt(np.prod(shape[1:]))
    return x.astype(np.float32)


def model_inputs(meta: SimpleNamespace) -> dict[str, np.ndarray]:
    """Normalized images (B, 3, H, W), depth (B, 1, H, W), normals (B, 3, H, W), labels (B, H, W), 255 = ignore."""
    g = np.random.default_rng(meta.seed)
    count, (height, width) = meta.batch, meta.size
    b = np.arange(count)[:, None, None, None]
    images = g.standard_normal((count, 3, height, width)) * (0.75 + 0.25 * b) + 0.3 * (b - (count - 1) / 2)
    depth = (0.2 + 11 * g.random((count, 1, height, width))).astype(np.float32)
    depth[g.random((count, 1, height, width)) < 0.15] = 0
    normals = g.standard_normal((count, 3, height, width))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    normals = normals * (g.random((count, 1, height, width)) >= 0.15)
    labels = g.integers(0, meta.num_classes, (count, height, width))
    labels[g.random((count, height, width)) < 0.15] = 255
    for values, task, absent in ((labels, "segmentation", 255), (depth, "depth", 0), (normals, "normal", 0)):
        values[getattr(meta, f"no_{task}", [])] = absent
    return {"images": images.astype(np.float32), "depth": depth, "normals": normals, "labels": labels}


def targets(depth: np.ndarray, normals: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    """The ground truth of one of our batches, float64, from theirs, where labels of 255 and zero normals are invalid.

    Depths are compared with their limits in float32, in which 1 mm is not above 0.001 m.
    """
    depth, normals, labels = (torch.from_numpy(np.asarray(x)) for x in (depth, normals, labels))
    return {
        "depth": depth.double(),
        "depth_mask": (depth > 0.001) & (depth < 10),
        "normal": normals.double(),
        "normal_mask": (normals != 0).any(dim=1, keepdim=True),
        "semantic": torch.where(labels == 255, -1, labels.long()),
    }


def model_case(path: Path) -> SimpleNamespace:
    """A model case: the network with the released weights, in float64, and its inputs.

    Attributes:
        arrays, meta, shapes: see `load`, `load_meta`, `released_shapes`.
        network: the network, without dropout and stochastic depth.
        rgb: (B, 3, H, W), not normalized, unlike the inputs of the released code.
        batch: the dense ground truth, see `targets`.
        boxes: boxes (N, 5) of each image: corners (x1, y1, x2, y2) as fractions of the image, and class; N may be 0.
    """
    arrays, shapes = load(path), released_shapes(path)
    meta = load_meta(arrays)
    network = _build_network(meta)
    network.load_state_dict(convert_released_weights(released_state(shapes, meta.gain), network.state_dict()))
    network.double()
    for module in network.modules():
        if isinstance(module, (nn.Dropout2d, StochasticDepth)):
            module.p = 0.0

    inputs = model_inputs(meta)
    sums = [inputs["images"], np.abs(inputs["images"]), inputs["depth"], inputs["normals"], inputs["labels"]]
    sums = [x.sum(dtype=np.float64) for x in sums]
    np.testing.assert_allclose(sums, arrays["check_inputs"], rtol=1e-6, atol=1e-3)
    return SimpleNamespace(
        arrays=arrays,
        meta=meta,
        shapes=shapes,
        network=network,
        rgb=torch.from_numpy(inputs["images"]).double() * network.rgb_std + network.rgb_mean,
        batch=targets(inputs["depth"], inputs["normals"], inputs["labels"]),
        boxes=[torch.from_numpy(arrays.get(f"boxes_image{i}", np.zeros((0, 5)))) for i in range(meta.batch)],
    )


def _build_network(meta: SimpleNamespace) -> DeepLab | VMM:
    network, names = {
        "DeepLab": (DeepLab, ("output_stride", "skip_connection", "shared_head")),
        "VMM": (VMM, ("head_type", "activation")),
    }[meta.arch]
    arguments = {name: getattr(meta, name) for name in ("backbone", "normal_size", *names)}
    return network(tuple(meta.app), meta.num_classes, pretrained=False, **arguments)


def check_batch_statistics(state: dict[str, torch.Tensor], arrays: dict[str, np.ndarray], rtol: float) -> None:
    """Compare running statistics after one batch in training mode; `state` has the released names."""
    checked = [name.removesuffix("_key") for name in arrays if name.startswith("bn") and name.endswith("_key")]
    assert checked
    for name in checked:
        key = str(arrays[f"{name}_key"])
        for suffix, ours in (("var", state[key]), ("mean", state[key.replace("running_var", "running_mean")])):
            theirs = arrays[f"{name}_{suffix}"]
            error = np.abs(ours[:8].numpy() - theirs).max() / np.abs(theirs).max()
            print(f"{name}_{suffix}: {error:.1e}")  # shown with pytest -rP
            assert error < rtol, key
