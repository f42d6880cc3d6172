"""Whether a graph is being made."""

import torch


def exporting() -> bool:
    """Whether torch.export is tracing: its graph is for any machine, not for the one at hand.

    Not so under torch.compile, which is for the machine at hand.
    """
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
