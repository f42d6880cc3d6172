"""Tracing a network to a portable graph."""

import torch
from torch.export import Dim, ExportedProgram, export

from networks.elite360m import Elite360M


@torch.no_grad()
def traced(network: Elite360M, height: int, width: int, dynamic_batch: bool) -> ExportedProgram:
    """Trace a network to a graph without in-place operations.

    It maps ``rgb`` (B, 3, H, W) float32 in [0, 1] to predictions by task, see `Elite360M.forward`. Neighbor tables and
    the points of the icosphere are constants.

    Args:
        network: on the CPU, in eval mode.
        height, width: H and W, fixed in the graph.
        dynamic_batch: whether B is arbitrary instead of 1.
    """
    rgb = torch.zeros(2 if dynamic_batch else 1, 3, height, width)  # with 1, B would be traced as a constant
    shapes = {"rgb": {0: Dim("batch", min=1)}} if dynamic_batch else None
    program = export(network, (rgb,), dynamic_shapes=shapes).run_decompositions({})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains file names of this machine
    return program
