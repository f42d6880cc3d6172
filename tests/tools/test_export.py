"""What is exported runs elsewhere, and predicts what the network does, also when the README's code feeds it."""

import functools
import json
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from networks.checkpoint import load_checkpoint
from networks.elite360m import Elite360M
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
SAME = 2e-5  # largest deviation of depth from prediction's that rounding explains; any other way has more
SNIPPETS = [code for _, code in runpy.run_path(str(ROOT / ".ci/readme_commands.py"))["blocks"]("export-python")]
CODES = [pytest.param(code, id="onnx" if "onnx" in code else "torch") for code in SNIPPETS]


def write_checkpoint(path, settings):
    """A network whose every part matters to what it predicts."""
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
    return write_checkpoint(tmp_path_factory.mktemp("triple") / "model.pth", SMALL)


@pytest.fixture(scope="module")
def large_checkpoint(tmp_path_factory):
    """The same network, made for images of the size of `exported`."""
    return write_checkpoint(tmp_path_factory.mktemp("large") / "model.pth", LARGE)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """Gives the file of a form, by its suffix: of all parts of the network, at another size than the checkpoint's.

    The network is traced once for both forms, which takes long.
    """
    folder, programs = tmp_path_factory.mktemp("exported"), []

    def traced_once(network, *how):
        if not programs:
            programs.append(traced(network, *how))
        return programs[0]

    @functools.cache
    def file(suffix):
        if suffix == ".onnx":
            pytest.importorskip("onnxruntime")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tools.export.traced", traced_once)
            out = folder / f"elite360m{suffix}"
            return export(
                checkpoint, out, "--dynamic_batch", "--height", str(LARGE.height), "--width", str(LARGE.width)
            )

    return file


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported(".onnx")


@pytest.fixture(scope="module")
def torch_file(exported):
    return exported(".pt2")


@pytest.fixture(scope="module")
def torch_program(torch_file):
    """Loaded once, which takes long, with its metadata."""
    content = {"metadata.json": ""}
    return torch.export.load(torch_file, extra_files=content), content["metadata.json"]


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def run_file(request):
    """Runs one of the files: predictions of colors (B, 3, H, W)."""
    if request.param == ".onnx":
        return functools.partial(run, request.getfixturevalue("onnx_file"))
    return request.getfixturevalue("torch_program")[0].module()


@pytest.mark.slow
def test_any_batch_at_another_size(run_file, checkpoint):
    network = network_of(checkpoint)
    for batch in (1, 2, 3):
        rgb = torch.rand(batch, 3, LARGE.height, LARGE.width)
        with torch.no_grad():
            expected = network(rgb)
        assert list(expected) == ["depth", "normal", "segmentation"]
        assert_same(run_file(rgb), expected)


@pytest.mark.slow
def test_other_tasks(tmp_path):
    """At the checkpoint's size, one panorama at a time."""
    checkpoint = write_checkpoint(
        tmp_path / "model.pth", replace(SMALL, fusion="none", tasks=("depth", "segmentation"))
    )
    path, rgb = export(checkpoint, tmp_path / "model.pt2"), torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        assert_same(run(path, rgb), network_of(checkpoint)(rgb))


@pytest.mark.slow
def test_colors_are_normalised_inside(run_file, checkpoint):
    rgb = torch.rand(1, 3, LARGE.height, LARGE.width)
    unnormalised = network_of(checkpoint)
    normalised = (rgb - unnormalised.rgb_mean) / unnormalised.rgb_std
    unnormalised.rgb_mean.zero_()
    unnormalised.rgb_std.fill_(1)
    with torch.no_grad():
        predicted = run_file(rgb)
        assert_same(predicted, unnormalised(normalised))
        raw = unnormalised(rgb)["depth"]
    assert (predicted["depth"] - raw).abs().max() > 1e-2 * raw.abs().max(), "or this test would tell nothing"


def position_codes(checkpoint):
    """Of the finest points: (320, 32, 64)."""
    encoder = network_of(checkpoint).icosap_encoder
    xyz = encoder.coordinates
    with torch.no_grad():
        return encoder.transformers[0].position_code(xyz[:, None] - xyz[encoder.neighbors_0])


@pytest.mark.slow
def test_every_operation_in_onnx_depends_on_the_input(exported, checkpoint):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(exported(".onnx")).graph
    depend = {"rgb"}
    for node in graph.node:
        assert depend.intersection(node.input), f"{node.name} could be worked out once"
        depend.update(node.output)
    constants = {each.name: torch.tensor(onnx.numpy_helper.to_array(each)) for each in graph.initializer}
    assert not [name for name in constants if "position" in name], "weights that only constants depend on"
    codes = position_codes(checkpoint)  # those of keys and of values are one constant
    joint = [x for x in constants.values() if x.shape == (*codes.shape[:-1], 2 * codes.shape[-1])]
    assert [x for x in joint if torch.allclose(x.chunk(2, dim=-1)[1], codes, atol=1e-6)]


def operations(program):
    targets = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    return [name for name in targets if "getitem" not in name]  # loading adds some that nothing uses


@pytest.mark.slow
def test_plain_graph(exported):
    """Nothing that saves memory in training, and no chunks: there are as many operations at any size."""
    names = operations(torch.export.load(exported(".pt2")))
    assert not [name for name in names if "checkpoint" in name or "autograd" in name or name.endswith("_.default")]
    network = replace(SMALL, ico_level=3).build_network().eval()
    assert operations(traced(network, LARGE.height, LARGE.width, dynamic_batch=True)) == names


@pytest.mark.slow
def test_metadata(torch_program, checkpoint):
    ours = json.loads(torch_program[1])
    assert ours["checkpoint_sha256"] == sha256(checkpoint)
    assert json.loads(ours["class_names"]) == list(SMALL.class_names)
    assert json.loads(ours["tasks"]) == ["depth", "normal", "segmentation"]
    assert (ours["height"], ours["width"]) == ("64", "128")
    assert (ours["depth_unit"], ours["normal_frame"]) == ("metres along the ray", "camera")
    assert ours["axes"].startswith("x right, y down, z forward")


@pytest.mark.slow
def test_metadata_in_onnx(onnx_file, torch_program):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(onnx_file)
    onnx.checker.check_model(model)
    assert {each.key: each.value for each in model.metadata_props} == json.loads(torch_program[1])
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
def test_files_tell_nothing_of_the_machine(file, request):
    assert str(ROOT).encode() not in request.getfixturevalue(file).read_bytes()


@pytest.mark.parametrize("off", [2e-3, float("nan")])
def test_a_file_that_predicts_something_else_is_not_written(checkpoint, tmp_path, monkeypatch, off):
    network = network_of(checkpoint)
    monkeypatch.setattr("tools.export.traced", lambda *some: None)
    monkeypatch.setattr(FORMATS["torch-export"], "write", lambda *some: some[-1].write_text("wrong"))

    def run_wrongly(path, rgb):
        predictions = network(rgb)
        return predictions | {"depth": predictions["depth"] * (1 + off)}

    monkeypatch.setattr(FORMATS["torch-export"], "run", run_wrongly)
    out = tmp_path / "model.pt2"
    out.write_text("of an earlier export")
    with pytest.raises(UserError, match=r"not written: depth .* deviates by"):
        export(checkpoint, out)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert out.read_text() == "of an earlier export"


def test_what_users_get_wrong(checkpoint, tmp_path, monkeypatch):
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


def test_help_does_not_wait_for_torch():
    program = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "sys.argv = ['export.py', '--help']; runpy.run_module('tools.export', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dynamic_batch" in " ".join(done.stdout.split())


def test_formats_are_those_of_the_option():
    assert tuple(FORMATS) == EXPORT_FORMATS


@pytest.fixture
def readme_folder(exported, code, tmp_path):
    """With the files that the README's code names."""
    for path in (exported(".onnx" if "onnx" in code else ".pt2"), ROOT / "docs"):
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="module")
def expected(large_checkpoint):
    return load_elite360m(large_checkpoint, device="cpu").predict(ROOT / IMAGE)


def predicted_by(code: str) -> tuple[np.ndarray, np.ndarray]:
    """Depth and labels that a snippet ends with, (H, W) each."""
    variables: dict = {}
    exec(code, variables)
    depth, labels = (np.asarray(torch.as_tensor(variables[name])) for name in ("depth", "labels"))
    return depth[0, 0], labels[0]


def deviation(depth: np.ndarray, expected) -> float:
    """Largest difference of a depth from prediction's, relative to the largest depth."""
    return float(np.abs(depth - expected.depth).max() / expected.depth.max())


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
def test_snippets_predict_what_the_program_does(readme_folder, expected, monkeypatch, code):
    monkeypatch.chdir(readme_folder)
    depth, labels = predicted_by(code)
    assert deviation(depth, expected) < SAME
    assert (labels != expected.labels).mean() < 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    ("correct", "wrong"),
    [("INTER_AREA", "INTER_LINEAR"), ("INTER_AREA", "INTER_NEAREST"), ("COLOR_RGB", "COLOR_BGR"), ("/ 255", "/ 256")],
)
def test_any_other_way_differs(readme_folder, expected, torch_program, monkeypatch, code, correct, wrong):
    """Or the comparison would show nothing."""
    monkeypatch.chdir(readme_folder)

    def load_again(path, extra_files):
        extra_files["metadata.json"] = torch_program[1]
        return torch_program[0]

    monkeypatch.setattr("torch.export.load", load_again)
    assert deviation(predicted_by(code.replace(correct, wrong))[0], expected) > SAME


def test_there_is_a_snippet_for_each_format():
    assert len(SNIPPETS) == 2


@pytest.mark.slow
def test_names_of_the_graph_do_not_collide(tmp_path):
    """Without the ICOSAP branch the mean of the segmentation head's weights is the first of its name."""
    pytest.importorskip("onnxruntime")
    network = Elite360M(SMALL.backbone, 3, ("segmentation",), pretrained=False, fusion="none").eval()
    path = tmp_path / "model.onnx"
    FORMATS["onnx"].write(traced(network, 32, 64, dynamic_batch=False), network.tasks, {}, path)
    rgb = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        expected = network(rgb)["segmentation"]
    assert torch.allclose(FORMATS["onnx"].run(path, rgb)["segmentation"], expected, atol=1e-4)
