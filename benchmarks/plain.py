"""The network and its losses as plain formulas, the reference of benchmarks/model.py.

Same function and parameters as `networks.elite360m.Elite360M`, without optimization and without caching between calls:
every call searches neighbors, applies MLPs to all pairs of points, stores attention maps and runs the heads at full
resolution, as in the released code.

The functions below apply the layers; their forward methods are not used.
"""

import torch
import torch.nn.functional as F
from torch import nn

from losses.balancing.uncertainty import LOSS_SCALE
from losses.normal import COSINE_LIMIT
from networks.elite360m import Elite360M
from networks.point_hierarchy import PointHierarchy
from tasks import TASKS
from tasks.build import resize_targets
from utils.tasks import IGNORE_LABEL, MAX_DEPTH

NUM_NEIGHBORS = 32
NUM_HEADS = 4


class PlainElite360M(Elite360M):
    """`Elite360M` in plain formulas, with the same arguments, inputs, outputs and state dict.

    With a `hierarchy`, its tables replace the search, so that ties are broken in the same way.
    """

    def __init__(self, *arguments, hierarchy: PointHierarchy | None = None, **named):
        super().__init__(*arguments, hierarchy=hierarchy, **named)
        self.hierarchy = hierarchy

    def forward(self, rgb: torch.Tensor, icosap_colors: torch.Tensor | None = None) -> dict:
        """See `Elite360M.forward`."""
        erp = (rgb - self.rgb_mean) / self.rgb_std
        if icosap_colors is None:
            icosap_colors = sample_faces(erp, self.icosap_sampler)
        (*fine_skips, coarse_skip), deepest = resnet(erp, self.erp_encoder.backbone)
        bottleneck = conv(deepest, self.erp_encoder.down)
        points, point_xyz = self._encode_points(icosap_colors)
        fused = fuse(bottleneck, points, point_xyz, self.fusion)

        up = up_block(conv(fused, self.shared_decoder.expand), coarse_skip, self.shared_decoder.up)
        shared = conv(up, self.shared_decoder.out)
        preliminary = {task: conv_units(shared, self.preliminary[task]) for task in self.tasks}
        features = {task: torch.cat([shared, preliminary[task]], dim=1) for task in self.tasks}
        if len(self.tasks) > 1:
            features = collaborate(features, self.cross_task)

        predictions = {}
        for task in self.tasks:
            x = features[task]
            for skip, block in zip(reversed(fine_skips), self.decoders[task].ups, strict=True):
                x = up_block(x, skip, block)
            predictions[task] = HEADS[task](x, self.heads[task].conv)
        if self.training:
            intermediate = {task: conv(preliminary[task], self.intermediate_heads[task]) for task in self.tasks}
            if "depth" in intermediate:
                intermediate["depth"] = MAX_DEPTH * intermediate["depth"].sigmoid()
            predictions["intermediate"] = intermediate
        return predictions

    def _encode_points(self, colors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features (B, P/64, C) and coordinates (B, P/64, 3) of the coarsest points, from colors (B, P, 3)."""
        encoder = self.icosap_encoder
        xyz = encoder.coordinates.expand(len(colors), -1, -1)
        x = mlp(torch.cat([xyz, colors], dim=-1), encoder.fc1)
        x = transformer_block(x, xyz, self._table("neighbors", 0, xyz), encoder.transformers[0])
        for i, transition in enumerate(encoder.transition_downs):
            kept_xyz = gather(xyz, self._table("kept", i, xyz))
            x = transition_down(x, xyz, kept_xyz, self._table("groups", i, xyz, kept_xyz), transition)
            xyz = kept_xyz
            x = transformer_block(x, xyz, self._table("neighbors", i + 1, xyz), encoder.transformers[i + 1])
        return mlp(x, encoder.fc2), xyz

    def _table(self, name: str, level: int, xyz: torch.Tensor, kept_xyz: torch.Tensor | None = None) -> torch.Tensor:
        """An index table of the points xyz (B, P, 3), named as in `PointHierarchy`, with a batch axis."""
        if self.hierarchy is not None:
            table = torch.from_numpy(getattr(self.hierarchy, name)[level]).to(xyz.device)
            return table.expand(len(xyz), *table.shape)
        if name == "kept":
            return farthest_point_sampling(xyz, xyz.shape[1] // 4)
        return nearest(xyz if kept_xyz is None else kept_xyz, xyz)


def linear(x: torch.Tensor, layer: nn.Linear) -> torch.Tensor:
    """(..., in) to (..., out)."""
    return F.linear(x, layer.weight, layer.bias)


def mlp(x: torch.Tensor, layers: nn.Sequential) -> torch.Tensor:
    """Linear layers with ReLU between them, (..., in) to (..., out)."""
    first, *others = layers[::2]
    x = linear(x, first)
    for layer in others:
        x = linear(F.relu(x), layer)
    return x


def conv(x: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """(B, in, h, w) to (B, out, h', w')."""
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, layer.padding)


def batch_norm(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """(B, c, h, w) to (B, c, h, w)."""
    statistics = norm.running_mean, norm.running_var
    return F.batch_norm(x, *statistics, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps)


def conv_units(x: torch.Tensor, layers: nn.Sequential) -> torch.Tensor:
    """Convolution, BatchNorm and LeakyReLU, repeated over the layers: (B, in, h, w) to (B, out, h, w)."""
    for layer, norm in zip(layers[::3], layers[1::3], strict=True):
        x = F.leaky_relu(batch_norm(conv(x, layer), norm), 0.01)
    return x


def resnet(erp: torch.Tensor, backbone: nn.Module) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Skips at strides 4, 8, 16 and the deepest feature, at stride 32, of an image (B, 3, H, W)."""
    x = F.relu(batch_norm(conv(erp, backbone.conv1), backbone.bn1), inplace=True)
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    features = []
    for layer in (backbone.layer1, backbone.layer2, backbone.layer3, backbone.layer4):
        for block in layer:
            x = residual_block(x, block)
        features.append(x)
    return features[:-1], features[-1]


def residual_block(x: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """A basic block (two convolutions) or a bottleneck (three): (B, in, h, w) to (B, out, h', w')."""
    shortcut = x if block.downsample is None else batch_norm(conv(x, block.downsample[0]), block.downsample[1])
    num_convs = 3 if hasattr(block, "conv3") else 2
    for i in range(1, num_convs + 1):
        x = batch_norm(conv(x, getattr(block, f"conv{i}")), getattr(block, f"bn{i}"))
        if i < num_convs:
            x = F.relu(x, inplace=True)
    return F.relu(x + shortcut, inplace=True)


def sample_faces(erp: torch.Tensor, sampler: nn.Module) -> torch.Tensor:
    """Colors (B, P, 3) of the faces, means over their vertices, from (B, 3, H, W); longitude wraps around."""
    width = erp.shape[-1]
    grid = torch.stack([sampler.u / torch.pi * width / (width + 2), sampler.v / torch.pi * 2], dim=-1)
    grid = grid.expand(len(erp), 1, -1, 2)
    wrapped = F.pad(erp, (1, 1, 0, 0), mode="circular")
    colors = F.grid_sample(wrapped, grid, padding_mode="border", align_corners=False)  # (B, 3, 1, V)
    return colors[:, :, 0, sampler.faces].mean(dim=-1).transpose(1, 2)


def gather(x: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Rows of x (B, P, c) at indices (B, ...): (B, ..., c)."""
    flat = indices.flatten(1)[..., None].expand(-1, -1, x.shape[-1])
    return x.gather(1, flat).unflatten(1, indices.shape[1:])


def nearest(queries: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Indices (B, Q, k) of the points (B, P, 3) nearest to each query (B, Q, 3), nearest first."""
    squared = (queries[:, :, None] - points[:, None]).square().sum(dim=-1)  # (B, Q, P)
    return squared.argsort(dim=-1)[:, :, :NUM_NEIGHBORS]


def farthest_point_sampling(xyz: torch.Tensor, num_samples: int) -> torch.Tensor:
    """Indices (B, num_samples) of points (B, P, 3): point 0, then always the one farthest from all chosen."""
    chosen = torch.zeros(len(xyz), num_samples, dtype=torch.long, device=xyz.device)
    distance_to_chosen = torch.full(xyz.shape[:2], torch.inf, device=xyz.device)
    for i in range(1, num_samples):
        squared = (xyz - gather(xyz, chosen[:, i - 1 : i])).square().sum(dim=-1)
        distance_to_chosen = torch.minimum(distance_to_chosen, squared)
        chosen[:, i] = distance_to_chosen.argmax(dim=-1)
    return chosen


def transformer_block(
    features: torch.Tensor, xyz: torch.Tensor, neighbors: torch.Tensor, block: nn.Module
) -> torch.Tensor:
    """Vector attention of points (B, P, c) at xyz (B, P, 3) over their neighbors (B, P, k): (B, P, c)."""
    x = linear(features, block.fc1)
    query = linear(x, block.query)[:, :, None]  # (B, P, 1, d)
    key, value = (gather(linear(x, layer), neighbors) for layer in (block.key, block.value))  # (B, P, k, d)
    position = mlp(xyz[:, :, None] - gather(xyz, neighbors), block.position_code)
    logits = mlp(query - key + position, block.attention)
    weights = (logits / logits.shape[-1] ** 0.5).softmax(dim=2)
    return linear((weights * (value + position)).sum(dim=2), block.fc2) + features


def transition_down(
    features: torch.Tensor, xyz: torch.Tensor, kept_xyz: torch.Tensor, groups: torch.Tensor, block: nn.Module
) -> torch.Tensor:
    """Maxima over groups (B, Q, k) of points (B, P, c) at xyz (B, P, 3), around kept_xyz (B, Q, 3): (B, Q, out)."""
    offsets = gather(xyz, groups) - kept_xyz[:, :, None]
    x = torch.cat([offsets, gather(features, groups)], dim=-1).permute(0, 3, 2, 1)  # (B, 3 + c, k, Q)
    for layer, norm in zip(block.linears, block.norms, strict=True):
        x = F.relu(batch_norm(F.conv2d(x, layer.weight[..., None, None], layer.bias), norm))
    return x.max(dim=2).values.transpose(1, 2)


def fuse(bottleneck: torch.Tensor, points: torch.Tensor, point_xyz: torch.Tensor, fusion: nn.Module) -> torch.Tensor:
    """Bottleneck (B, C, h, w) and points (B, P, C) at point_xyz (B, P, 3) to (B, C, h, w)."""
    height, width = bottleneck.shape[-2:]
    tokens = bottleneck.flatten(2).transpose(1, 2)
    token_xyz = token_rays(height, width, bottleneck).expand(len(tokens), -1, -1)
    semantic = semantic_aware_attention(tokens, points, fusion.semantic_aware)
    distance = distance_aware_attention(tokens, points, token_xyz, point_xyz, fusion.distance_aware)
    both = torch.cat([semantic, distance], dim=-1)
    semantic_gate, distance_gate = (linear(both, g).sigmoid() for g in (fusion.semantic_gate, fusion.distance_gate))
    return (semantic_gate * semantic + distance_gate * distance).transpose(1, 2).unflatten(2, (height, width))


def token_rays(height: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """Unit rays (h * w, 3) of the tokens in the released code: one cell off the pixel centers."""
    v = (torch.arange(height, device=like.device, dtype=like.dtype) - (height / 2 + 0.5)) / height * torch.pi
    u = (torch.arange(width, device=like.device, dtype=like.dtype) - (width / 2 + 0.5)) / width * 2 * torch.pi
    v, u = torch.meshgrid(v, u, indexing="ij")
    return torch.stack([v.cos() * u.sin(), v.sin(), v.cos() * u.cos()], dim=-1).flatten(0, 1)


def semantic_aware_attention(tokens: torch.Tensor, points: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """Tokens (B, N, C) over points (B, P, C): (B, N, C), in the released code's order."""
    query = linear(tokens, block.query)
    key, value = linear(points, block.key_value).chunk(2, dim=-1)
    attended = (query @ key.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(dim=-1) @ value
    return linear(attended.transpose(1, 2).reshape(attended.shape), block.project)


def distance_aware_attention(
    tokens: torch.Tensor, points: torch.Tensor, token_xyz: torch.Tensor, point_xyz: torch.Tensor, block: nn.Module
) -> torch.Tensor:
    """Tokens (B, N, C) at token_xyz (B, N, 3) over points (B, P, C) at point_xyz (B, P, 3): (B, N, C)."""
    query = linear(tokens, block.query)
    key, value = linear(points, block.key_value).chunk(2, dim=-1)
    by_feature = torch.exp(-(query[:, :, None] - key[:, None]).abs())  # (B, N, P, C)
    by_position = linear(torch.exp(-(token_xyz[:, :, None] - point_xyz[:, None]).abs()), block.position)
    weights = (by_feature + by_position).mean(dim=-1).softmax(dim=-1)
    return linear(weights @ value, block.project)


def up_block(x: torch.Tensor, skip: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """Features (B, in, h, w) and skip (B, skip, H, W): (B, out, H, W)."""
    resized = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=True)
    return conv_units(torch.cat([resized, skip], dim=1), block.net)


def collaborate(features: dict[str, torch.Tensor], block: nn.Module) -> dict[str, torch.Tensor]:
    """Cross-task attention between the tasks' features, (B, c, h, w) each, to the same shapes."""
    height, width = next(iter(features.values())).shape[-2:]
    tokens, maps, collaborated = {}, {}, {}
    for task, x in features.items():
        norm, query_key = block.norms[task], block.query_keys[task]
        x = x.flatten(2).transpose(1, 2)
        tokens[task] = F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        query, key = (split_heads(linear(tokens[task], layer)) for layer in (query_key.query, query_key.key))
        maps[task] = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=-1)  # (B, heads, N, N)
    for task, layers in block.collaborations.items():
        value = split_heads(linear(tokens[task], layers.value))
        attended = {source: (maps[source] @ value).transpose(1, 2).flatten(2) for source in tokens}
        own = linear(attended.pop(task), layers.own)
        others = [linear(x, layer) for x, layer in zip(attended.values(), layers.others, strict=True)]
        y = linear(torch.cat([own, *others], dim=-1), layers.join) + own
        collaborated[task] = y.transpose(1, 2).unflatten(2, (height, width))
    return collaborated


def split_heads(x: torch.Tensor) -> torch.Tensor:
    """(B, N, heads * d) to (B, heads, N, d)."""
    return x.unflatten(-1, (NUM_HEADS, -1)).transpose(1, 2)


def resize4(x: torch.Tensor) -> torch.Tensor:
    """(B, c, H/4, W/4) to (B, c, H, W)."""
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


def depth_head(x: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Depth (B, 1, H, W) in meters, from (B, C, H/4, W/4)."""
    return MAX_DEPTH * conv(resize4(x), layer).sigmoid()


def normal_head(x: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Unit normals (B, 3, H, W), from (B, C, H/4, W/4)."""
    normal = conv(resize4(x), layer)
    return normal / (normal.norm(dim=1, keepdim=True) + 1e-10)


def segmentation_head(x: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Logits (B, K, H, W), from (B, C, H/4, W/4)."""
    return F.avg_pool2d(F.pixel_shuffle(conv(resize4(x), layer), 3), 3)


HEADS = {"depth": depth_head, "normal": normal_head, "segmentation": segmentation_head}


def plain_losses(predictions: dict, batch: dict, log_variances: torch.Tensor) -> dict[str, torch.Tensor]:
    """As `TrainingObjective.losses` in one process: ``total``, and ``TASK`` and ``intermediate_TASK`` of each task."""
    intermediate = predictions["intermediate"]
    tasks = list(intermediate)
    small_batch = resize_targets(batch, intermediate[tasks[0]].shape[-2:])
    losses = {task: LOSSES[task](predictions[task], batch) for task in tasks}
    small_losses = {f"intermediate_{task}": LOSSES[task](intermediate[task], small_batch) for task in tasks}
    weighted = [
        LOSS_SCALE * TASKS[task].loss_weight * torch.exp(-s) * losses[task] + s
        for task, s in zip(tasks, log_variances, strict=True)
    ]
    return {"total": sum(weighted) + sum(small_losses.values()), **losses, **small_losses}


def depth_loss(prediction: torch.Tensor, batch: dict) -> torch.Tensor:
    """berHu of depth (B, 1, H, W)."""
    mask = batch["depth_mask"]
    error = (prediction[mask] - batch["depth"][mask]).abs()
    delta = 0.2 * error.max().detach()
    return torch.where(error <= delta, error, (error**2 + delta**2) / (2 * delta)).mean()


def normal_loss(prediction: torch.Tensor, batch: dict) -> torch.Tensor:
    """Mean angle between normals (B, 3, H, W), in radians."""
    cosine = F.cosine_similarity(prediction, batch["normal"], dim=1)[batch["normal_mask"][:, 0]]
    return torch.arccos(cosine[cosine.abs() < COSINE_LIMIT]).mean()


def segmentation_loss(prediction: torch.Tensor, batch: dict) -> torch.Tensor:
    """Cross-entropy of logits (B, K, H, W)."""
    return F.cross_entropy(prediction, batch["semantic"], ignore_index=IGNORE_LABEL)


LOSSES = {"depth": depth_loss, "normal": normal_loss, "segmentation": segmentation_loss}
