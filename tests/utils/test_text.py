"""Display names of metrics."""

from utils.text import metrics_line


def test_metrics_line():
    metrics = {"abs_rel": 0.05, "abs_": 0.125, "abs__solid_angle": 0.2, "abs__median": 0.25}
    assert metrics_line(metrics) == "abs_rel 0.0500  abs_ 0.1250  abs__median 0.2500", "as in files"
    assert (
        metrics_line(metrics, for_people=True)
        == "abs_rel 0.0500  mean absolute error 0.1250  mean absolute error (median) 0.2500"
    )
    assert metrics_line({}) == "no valid pixels"
