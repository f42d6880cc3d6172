"""Formatting of metrics."""


def metrics_line(metrics: dict[str, float]) -> str:
    """Metrics of one task as one line of text, without the solid-angle variants, which are only in the result files."""
    shown = {name: value for name, value in metrics.items() if not name.endswith("_solid_angle")}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items()) or "no valid pixels"
