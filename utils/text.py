"""Formatting of metrics."""

_ABSOLUTE_ERROR = "abs_"  # the released code's key, which files keep


def metric_title(name: str) -> str:
    """Display name of a metric, from its key in files, which may end in a protocol (``abs__median``)."""
    if name != _ABSOLUTE_ERROR and not name.startswith(f"{_ABSOLUTE_ERROR}_"):
        return name
    protocol = name.removeprefix(_ABSOLUTE_ERROR).lstrip("_")
    return f"mean absolute error{f' ({protocol})' if protocol else ''}"


def metrics_line(metrics: dict[str, float], for_people: bool = False) -> str:
    """Format metrics of one task as one line, without the solid-angle variants, which are only in the result files.

    Args:
        metrics: values by key.
        for_people: whether to write display names instead of keys.
    """
    shown = {name: value for name, value in metrics.items() if not name.endswith("_solid_angle")}
    named = {metric_title(name) if for_people else name: value for name, value in shown.items()}
    return "  ".join(f"{name} {value:.4f}" for name, value in named.items()) or "no valid pixels"
