"""Exported files reproduce the network's predictions, also with the code of docs/export.md."""

import functools
import json
import runpy
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from networks.checkpoint import load_checkpoint
from networks.point_hierarchy import NUM_LEVELS
from networks.saved_network import save_checkpoint
from options.panorama_prediction import EXPORT_FORMATS, export_parser
from prediction import load_elite360m
from prediction.export_formats import FORMATS
from prediction.export_graph import traced
from tests.networks.test_checkpoint import SETTINGS
from tools.export import main
from utils.errors import UserError
from utils.provenance import sha256

ROOT = Path(__file__).parents[2]
SMALL = replace(SETTINGS, backbone="timm:test_efficientnet", height=32, width=64)
LARGE = replace(SMALL, height=64, width=128)
IMAGE = "docs/example_room.png"
ROUNDING = 2e-5  # relative deviation of depth that rounding explains; other preprocessing deviates more
SNIPPETS = [code for _, code in runpy.run_path(str(ROOT / ".ci/readme_commands.py"))["blocks"]("export-python")]
CODES = [pytest.param(code, id="onnx" if "onnx" in code else "torch") for code in SNIPPETS]


def write_checkpoint(path, settings):
    """Save a network whose weights let all its parts affect the predictions."""
    torch.manual_seed(0)
    network = settings.build_network()
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.75, 1.25)
    save_checkpoint(path, settings, network, nn.Module(), epoch=1)
    return path


def export(checkpoint, out, *more):
    file_format = "onnx" if out.suffix == ".onnx" else "torch-export"
    arguments = ["--checkpoint", str(checkpoint), "--out", str(out), "--format", file_format, *more]
    main(export_parser().parse_args(arguments))
    return out


def trace_once():
    """A replacement of `traced` that traces once, as it is slow. Chunks, if there were any, would be small."""
    programs = []

    def shared_trace(*arguments):
        if not programs:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("utils.chunks.CHUNK_ELEMENTS", 2**17)
                programs.append(traced(*arguments))
        return programs[0]

    return shared_trace


def run(path, rgb):
    return next(each for each in FORMATS.values() if each.suffix == path.suffix).run(path, rgb)


def network_of(checkpoint):
    return load_checkpoint(checkpoint).build_network().eval()


def assert_same(predicted, expected):
    assert list(predicted) == list(expected)
    for task, values in expected.items():
        assert predicted[task].shape == values.shape
        assert (predicted[task] - values).abs().max() < 1e-3 * values.abs().max(), task


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("small") / "model.pth", SMALL)


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory):
    """The same network, for images of the size of `exported`."""
    return write_checkpoint(tmp_path_factory.mktemp("large") / "model.pth", LARGE)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """Exports the whole network, at another size than the checkpoint's; returns the file with a suffix."""
    folder, shared_trace = tmp_path_factory.mktemp("exported"), trace_once()
    size = ["--height", str(LARGE.height), "--width", str(LARGE.width)]

    @functools.cache
    def file(suffix):
        if suffix == ".onnx":
            pytest.importorskip("onnxruntime")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tools.export.traced", shared_trace)
            return export(checkpoint, folder / f"elite360m{suffix}", "--dynamic_batch", *size)

    return file


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported(".onnx")


@pytest.fixture(scope="module")
def torch_export(exported):
    """The .pt2 file, its program and its metadata, as the export loaded them for its check: loading is slow."""
    load, loaded, metadata = torch.export.load, [], {"metadata.json": ""}

    def recorded_load(path):
        loaded.append(load(path, extra_files=metadata))
        return loaded[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.export.load", recorded_load)
        path = exported(".pt2")
    return path, loaded[-1], metadata["metadata.json"]


@pytest.fixture(scope="module")
def torch_file(torch_export):
    return torch_export[0]


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def run_file(request):
    """Runs one of the files on ``rgb`` (B, 3, H, W)."""
    if request.param == ".onnx":
        return functools.partial(run, request.getfixturevalue("onnx_file"))
    return request.getfixturevalue("torch_export")[1].module()


@pytest.mark.slow
def test_batch_sizes(run_file, checkpoint):
    network = network_of(checkpoint)
    for batch in (1, 2, 3):
        rgb = torch.rand(batch, 3, LARGE.height, LARGE.width)
        with torch.no_grad():
            expected = network(rgb)
        assert list(expected) == ["depth", "normal", "segmentation"]
        assert_same(run_file(rgb), expected)


@pytest.mark.slow
def test_other_tasks(tmp_path, monkeypatch):
    """Two tasks without ICOSAP branch, at the checkpoint's size, with a fixed batch size."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("tools.export.traced", trace_once())
    checkpoint = write_checkpoint(
        tmp_path / "model.pth", replace(SMALL, fusion="none", tasks=("depth", "segmentation"))
    )
    rgb = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        expected = network_of(checkpoint)(rgb)
    for name in ("model.pt2", "model.onnx"):
        assert_same(run(export(checkpoint, tmp_path / name), rgb), expected)


@pytest.mark.slow
def test_graph_normalizes_colors(run_file, checkpoint):
    rgb = torch.rand(1, 3, LARGE.height, LARGE.width)
    unnormalized = network_of(checkpoint)
    normalized = (rgb - unnormalized.rgb_mean) / unnormalized.rgb_std
    unnormalized.rgb_mean.zero_()
    unnormalized.rgb_std.fill_(1)
    with torch.no_grad():
        predicted = run_file(rgb)
        assert_same(predicted, unnormalized(normalized))
        raw = unnormalized(rgb)["depth"]
    assert (predicted["depth"] - raw).abs().max() > 1e-2 * raw.abs().max(), "normalization must matter"


def position_codes(checkpoint):
    """Position codes of the finest points, (320, 32, 64)."""
    encoder = network_of(checkpoint).icosap_encoder
    xyz = encoder.coordinates
    with torch.no_grad():
        return encoder.transformers[0].position_code(xyz[:, None] - xyz[encoder.neighbors_0])


@pytest.mark.slow
def test_onnx_constants_are_folded(onnx_file, checkpoint):
    """Every operation depends on the input."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(onnx_file).graph
    dependent = {"rgb"}
    for node in graph.node:
        assert dependent.intersection(node.input), f"{node.name} is constant"
        dependent.update(node.output)
    constants = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
    assert not [name for name in constants if "position" in name], "weights used only by constants"
    codes = position_codes(checkpoint)  # one constant holds those of keys and of values
    joint = [x for x in constants.values() if x.shape == (*codes.shape[:-1], 2 * codes.shape[-1])]
    assert [x for x in joint if torch.allclose(x.chunk(2, dim=-1)[1], codes, atol=1e-6)]


@pytest.mark.slow
def test_plain_graph(torch_export):
    """No checkpointing, no in-place operations, and no chunks, which would repeat operations for groups of rows."""
    counts = Counter(str(node.target) for node in torch_export[1].graph.nodes if node.op == "call_function")
    assert not [name for name in counts if "checkpoint" in name or "autograd" in name or name.endswith("_.default")]
    assert counts["aten.softmax.int"] == NUM_LEVELS + 2, "levels of the point transformer, both attentions of B2F"
    assert counts["aten.exp.default"] == 2, "distance-aware attention: features and positions"


@pytest.mark.slow
def test_metadata(torch_export, checkpoint):
    metadata = json.loads(torch_export[2])
    assert metadata["checkpoint_sha256"] == sha256(checkpoint)
    assert json.loads(metadata["class_names"]) == list(SMALL.class_names)
    assert json.loads(metadata["tasks"]) == ["depth", "normal", "segmentation"]
    assert (metadata["height"], metadata["width"]) == ("64", "128")
    assert (metadata["depth_unit"], metadata["normal_frame"]) == ("metres along the ray", "camera")
    assert metadata["axes"].startswith("x right, y down, z forward")


@pytest.mark.slow
def test_onnx_metadata(onnx_file, torch_export):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model)
    assert {each.key: each.value for each in model.metadata_props} == json.loads(torch_export[2])
    sizes = {
        each.name: [dim.dim_param or dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in (*model.graph.input, *model.graph.output)
    }
    assert sizes == {
        "rgb": ["batch", 3, 64, 128],
        "depth": ["batch", 1, 64, 128],
        "normal": ["batch", 3, 64, 128],
        "segmentation": ["batch", len(SMALL.class_names), 64, 128],
    }


@pytest.mark.slow
@pytest.mark.parametrize("file", ["onnx_file", "torch_file"])
def test_no_local_paths_in_files(file, request):
    assert str(ROOT).encode() not in request.getfixturevalue(file).read_bytes()


@pytest.mark.parametrize("off", [2e-3, float("nan")])
def test_wrong_predictions_are_not_written(checkpoint, tmp_path, monkeypatch, off):
    network = network_of(checkpoint)
    monkeypatch.setattr("tools.export.traced", lambda *_: None)
    monkeypatch.setattr(FORMATS["torch-export"], "write", lambda *arguments: arguments[-1].write_text("wrong"))

    def run_wrongly(path, rgb):
        predictions = network(rgb)
        return predictions | {"depth": predictions["depth"] * (1 + off)}

    monkeypatch.setattr(FORMATS["torch-export"], "run", run_wrongly)
    out = tmp_path / "model.pt2"
    out.write_text("earlier export")
    with pytest.raises(UserError, match=r"not written: depth .* deviates by"):
        export(checkpoint, out)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert out.read_text() == "earlier export"


def test_user_errors(checkpoint, tmp_path, monkeypatch):
    damaged = tmp_path / "damaged.pth"
    damaged.write_bytes(checkpoint.read_bytes()[:1000])
    out = tmp_path / "out" / "model.pt2"
    for wrong, message in (
        ([tmp_path / "none.pth", out], "none.pth does not exist"),
        ([damaged, out], "damaged.pth .*damaged"),
        ([checkpoint, out.with_suffix(".pth")], "model.pth: a file of this format ends in .pt2"),
        ([checkpoint, out, "--height", "64"], "--height 64 --width None"),
        ([checkpoint, out, "--height", "48", "--width", "96"], "multiples of 32"),
    ):
        with pytest.raises(UserError, match=message) as error:
            export(*wrong)
        assert "\n" not in str(error.value)
    monkeypatch.setattr("prediction.export_formats.find_spec", lambda name: None)
    with pytest.raises(UserError, match="onnxruntime not found: pip install onnx onnxscript onnxruntime"):
        export(checkpoint, out.with_suffix(".onnx"))
    assert not out.parent.exists()


def test_help_without_torch():
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "sys.argv = ['export.py', '--help']; runpy.run_module('tools.export', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dynamic_batch" in " ".join(done.stdout.split())


def test_formats():
    """All formats are options, and have code in docs/export.md."""
    assert tuple(FORMATS) == EXPORT_FORMATS
    assert len(SNIPPETS) == len(FORMATS)


@pytest.fixture
def snippet_folder(request, code, tmp_path):
    """A folder with the files that the documented code reads."""
    file = request.getfixturevalue("onnx_file" if "onnx" in code else "torch_file")
    for path in (file, ROOT / "docs"):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(large_checkpoint):
    return load_elite360m(large_checkpoint, device="cpu").predict(ROOT / IMAGE)


def predicted_by(code: str) -> tuple[np.ndarray, np.ndarray]:
    """Run a snippet; returns its depth and labels, (H, W) each."""
    variables: dict = {}
    exec(code, variables)
    depth, labels = (np.asarray(torch.as_tensor(variables[name])) for name in ("depth", "labels"))
    return depth[0, 0], labels[0]


def deviation(depth: np.ndarray, expected) -> float:
    """Maximum difference from the predicted depth, relative to the largest depth."""
    return float(np.abs(depth - expected.depth).max() / expected.depth.max())


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_documented_code(snippet_folder, expected, monkeypatch, code):
    monkeypatch.chdir(snippet_folder)
    depth, labels = predicted_by(code)
    assert deviation(depth, expected) < ROUNDING
    assert (labels != expected.labels).mean() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("correct", "wrong"),
    [("INTER_AREA", "INTER_LINEAR"), ("INTER_AREA", "INTER_NEAREST"), ("COLOR_RGB", "COLOR_BGR"), ("/ 255", "/ 256")],
)
def test_other_preprocessing_differs(snippet_folder, expected, torch_export, monkeypatch, code, correct, wrong):
    """Otherwise `test_documented_code` could not fail."""
    monkeypatch.chdir(snippet_folder)

    def loaded_before(path, extra_files):
        extra_files["metadata.json"] = torch_export[2]
        return torch_export[1]

    monkeypatch.setattr("torch.export.load", loaded_before)
    assert deviation(predicted_by(code.replace(correct, wrong))[0], expected) > ROUNDING
