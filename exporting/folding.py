"""Folding: what depends on no input is worked out once, and stored in the graph."""

import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


def fold_constants(module: GraphModule) -> GraphModule:
    """A graph that gives the same outputs, in which every operation depends on an input.

    Values that operations on constants lead to become buffers ``folded_0``, ``folded_1``, ...; parameters and buffers
    that are left unused are dropped.

    Args:
        module: a graph without operations in place.
    """
    graph = module.graph
    constants = _constants(module)
    to_store = [
        node
        for node, value in constants.items()
        if node.op == "call_function" and torch.is_tensor(value) and node.users.keys() - constants.keys()
    ]
    for i, node in enumerate(to_store):
        module.register_buffer(f"folded_{i}", constants[node].clone(memory_format=torch.contiguous_format))
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(f"folded_{i}"))
    graph.eliminate_dead_code()
    used = {node.target for node in graph.nodes if node.op in ("get_attr", "call_module")}
    return GraphModule({name: _attribute(module, name) for name in used}, graph)


def _constants(module: GraphModule) -> dict[Node, object]:
    """The values of all nodes that depend on no input."""
    values = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(module, node.target)
        elif node.op == "call_function" and not node.is_impure() and values.keys() >= set(node.all_input_nodes):
            args, kwargs = map_arg((node.args, node.kwargs), values.get)
            values[node] = node.target(*args, **kwargs)
    return values


def _attribute(module: GraphModule, name: str) -> object:
    """A parameter, buffer or submodule by its dotted name."""
    for part in name.split("."):
        module = getattr(module, part)
    return module
