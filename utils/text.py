"""Formatting of metrics."""

_TITLES = {"abs_": "mean absolute error"}  # files keep the released keys


def metric_title(name: str) -> str:
    """A metric's name as people are shown it, given its key in files."""
    return _TITLES.get(name, name)


def metrics_line(metrics: dict[str, float]) -> str:
    """Metrics of one task as one line of text, without the solid-angle variants, which are only in the result files."""
    shown = {metric_title(name): value for name, value in metrics.items() if not name.endswith("_solid_angle")}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items()) or "no valid pixels"
