"""Numbers in words."""


def metrics_line(metrics: dict[str, float]) -> str:
    """Metrics of one task as one line of text; the solid-angle ones are left to the files that hold them all."""
    shown = {name: value for name, value in metrics.items() if not name.endswith("_solid_angle")}
    return "  ".join(f"{name} {value:.4f}" for name, value in shown.items()) or "no valid pixels"
