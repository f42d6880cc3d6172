"""Cross-task collaboration (CoCo): each task attends to its own values with the attention maps of all tasks."""

import torch
from torch import nn

from networks.ops.attention import shared_map_attention
from networks.ops.linear import Linear, tokens_to_map

NUM_HEADS = 4


def split_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, N, heads * d) to (B, heads, N, d)."""
    return x.unflatten(-1, (NUM_HEADS, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, heads, N, d) to (B, N, heads * d): the inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


class TaskQueryKey(nn.Module):
    """Queries and keys of task s, for its attention map A_s = softmax(Q_s K_s^T / sqrt(d)), which all tasks use."""

    def __init__(self, dim: int):
        super().__init__()
        self.query = Linear(dim, dim)
        self.key = Linear(dim, dim)


class TaskCollaboration(nn.Module):
    """Values V_t of task t, and the layers that merge its attended values A_s V_t:

    own = self.own(A_t V_t)
    y_t = self.join(cat(own, self.others[0](A_s1 V_t), self.others[1](A_s2 V_t))) + own
    """

    def __init__(self, dim: int, num_others: int):
        super().__init__()
        self.value = Linear(dim, dim)
        self.own = Linear(dim, dim)
        self.others = nn.ModuleList([Linear(dim, dim // 2) for _ in range(num_others)])
        self.join = Linear(dim + num_others * (dim // 2), dim)

    def forward(self, own: torch.Tensor, others: list[torch.Tensor]) -> torch.Tensor:
        """Attended values A_t V_t, and A_s V_t for each other task s, all (B, N, dim): y_t (B, N, dim)."""
        own = self.own(own)
        others = [linear(other) for linear, other in zip(self.others, others, strict=True)]
        return self.join(torch.cat([own, *others], dim=-1)) + own


class CrossTaskAttention(nn.Module):
    """CoCo: the tokens x_t of each task become y_t (see `TaskCollaboration`).

        x_t = LayerNorm_t(features of task t);  Q_t, K_t, V_t are linear in x_t
        A_t = softmax(Q_t K_t^T / sqrt(d)), in each of 4 heads of d = dim / 4 channels

    Args:
        dim: number of channels of the tokens (256).
        tasks: two or three task names, in the order of `utils.tasks.TASK_NAMES`.
    """

    def __init__(self, dim: int, tasks: tuple[str, ...]):
        super().__init__()
        self.tasks = tasks
        self.norms = nn.ModuleDict({task: nn.LayerNorm(dim) for task in tasks})
        self.query_keys = nn.ModuleDict({task: TaskQueryKey(dim) for task in tasks})
        self.collaborations = nn.ModuleDict({task: TaskCollaboration(dim, len(tasks) - 1) for task in tasks})

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Features (B, dim, h, w) of each task: new features of the same shapes."""
        tokens = {task: self.norms[task](features[task].flatten(2).transpose(1, 2)) for task in self.tasks}
        attended = self._attend(tokens)
        collaborated = {}
        for task in self.tasks:
            others = [attended[source, task] for source in self.tasks if source != task]
            y = self.collaborations[task](attended[task, task], others)
            collaborated[task] = tokens_to_map(y, features[task])
        return collaborated

    def _attend(self, tokens: dict[str, torch.Tensor]) -> dict[tuple[str, str], torch.Tensor]:
        """A_s V_t (B, N, dim) for every pair (s, t): the attention map of task s applied to the values of task t."""
        values = [split_heads(self.collaborations[task].value(tokens[task])) for task in self.tasks]
        values = torch.cat(values, dim=-1)  # (B, heads, N, tasks * d)
        attended = {}
        for source in self.tasks:
            query = split_heads(self.query_keys[source].query(tokens[source]))  # (B, heads, N, d)
            key = split_heads(self.query_keys[source].key(tokens[source]))
            for task, result in zip(self.tasks, shared_map_attention(query, key, values), strict=True):
                attended[source, task] = merge_heads(result)
        return attended
