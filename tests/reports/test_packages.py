"""Packages that only reports need are checked before the evaluation, and not needed without --report."""

import subprocess
import sys
from pathlib import Path

import pytest

import eval_elite360m
from options.elite360m import eval_parser
from utils.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", ["jinja2", "matplotlib", "matplotlib.figure"])
def test_missing_packages(module, monkeypatch, tmp_path):
    """They are reported before the checkpoint is read, which does not exist."""
    for name in list(sys.modules):
        if name.startswith(("jinja2", "matplotlib")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # its import fails
    arguments = ["--dataset", "Synthetic", "--load_weights_dir", str(tmp_path), "--log_dir", str(tmp_path / "out")]
    with pytest.raises(UserError, match=rf"--report.*{module.partition('.')[0]}.*requirements-extra\.txt") as caught:
        eval_elite360m.main(eval_parser().parse_args([*arguments, "--report"]))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError) as caught:
        eval_elite360m.main(eval_parser().parse_args(arguments))
    assert "requirements-extra.txt" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_imports_without_extra_packages():
    """Charts need neither a display nor pyplot, which would select a backend."""
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['markupsafe'] = None; import eval_elite360m\n"
        "del sys.modules['matplotlib'], sys.modules['markupsafe']; import numpy, reports.charts as charts\n"
        "charts.iou_chart('x', numpy.eye(2, dtype=int), ('a', 'b'), ((0, 0, 0), (1, 1, 1)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {"MPLBACKEND": "TkAgg", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
