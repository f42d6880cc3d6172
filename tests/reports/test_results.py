"""Printed metrics and notes of evaluations."""

import pytest

from metrics.protocol import PRESETS, DepthProtocol, Protocol, aligned
from reports.results import complete, describe_protocols, write_results
from tasks import FOLDERS
from training.run_folder import RunFolder

PROTOCOL = Protocol(
    depth=aligned(("median",), DepthProtocol(), False), pool_pixels=True, more=("consistency", "cube_seams")
)


def printed(folder, capsys, results: dict[str, dict[str, float]], protocol: Protocol = PROTOCOL) -> list[str]:
    """The printed lines for these results."""
    summary = {
        "protocol": describe_protocols(protocol),
        "results": {task: complete(task, values) for task, values in results.items()},
        "depth_unit": "meters",
        "normal_frame": "camera",
        "notes": [],
    }
    write_results(RunFolder(folder, FOLDERS), summary, rows=[{"index": 0, "id": "a"}])
    return capsys.readouterr().out.splitlines()


def test_lines_of_protocols(tmp_path, capsys):
    """One line for each depth protocol; consistency_median of normals is not a metric of the protocol median."""
    results = {
        "depth": {"rms": 0.5, "abs_": 0.1, "rms_solid_angle": 0.6, "rms_median": 0.25, "rms_per_pixel": 1.0},
        "normal": {"mean": 9.0, "consistency_median": 3.0, "median_per_pixel": 8.0},
    }
    assert printed(tmp_path, capsys, results) == [
        "depth: mean absolute error 0.1000  rms 0.5000",
        "depth (median): rms 0.2500",
        "depth (per_pixel): rms 1.0000",
        "normal: mean 9.0000  consistency_median 3.0000",
        "normal (per_pixel): median 8.0000",
    ]


def test_lines_of_protocols_with_nested_suffixes(tmp_path, capsys):
    """rms_pager_scale is a metric of the protocol pager_scale, not of scale."""
    protocol = Protocol(depth=(*aligned(("scale",), DepthProtocol(), False), *PRESETS["pager"]("MP3D")))
    results = {"depth": {"rms": 2.0, "rms_scale": 0.5, "rms_pager": 0.25, "rms_pager_scale": 1.0}}
    lines = [
        "depth: rms 2.0000",
        "depth (scale): rms 0.5000",
        "depth (pager): rms 0.2500",
        "depth (pager_scale): rms 1.0000",
    ]
    assert printed(tmp_path, capsys, results, protocol) == lines


@pytest.mark.parametrize("results", [{"depth": {"seam": 1.0}}, {"depth": {"cube_defects": 0.5, "seam": 1.0}}])
def test_no_ground_truth(tmp_path, capsys, results):
    """Even with extra metrics that need none."""
    assert "no panorama has ground truth" in printed(tmp_path, capsys, results)[0]
    assert "no panorama has ground truth" in (tmp_path / "depth" / "result.txt").read_text()
