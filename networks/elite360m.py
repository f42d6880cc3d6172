"""Elite360M: depth, surface normals and semantics from one panorama (Ai & Wang, arXiv 2408.09336).

The blocks of the paper's overview figure, in the order of `Elite360M.forward`:

* ERP encoder (`networks.erp_encoder`): the panorama as an image, in equirectangular projection (ERP);
* ICOSAP encoder (`networks.icosap_encoder`): the faces of an icosphere, the icosahedral projection (ICOSAP);
* B2F, bi-projection bi-attention fusion (`networks.fusion`): ERP tokens attend to ICOSAP points;
* shared decoder, a preliminary feature per task and intermediate heads on these (`networks.decoders`,
  `networks.heads`);
* CoCo, cross-task collaboration (`networks.cross_task`): each task attends with the attention maps of all tasks;
* a decoder and a head per task (`networks.decoders`, `networks.heads`).
"""

from pathlib import Path

import torch
from torch import nn

from networks.cross_task import CrossTaskAttention
from networks.decoders import SHARED_CHANNELS, SharedDecoder, TaskDecoder, conv_norm_act
from networks.erp_encoder import ERPEncoder
from networks.fusion import FUSIONS
from networks.heads import HEADS, INTERMEDIATE_HEADS
from networks.icosap_encoder import ICOSAPEncoder, ICOSAPSampler, TransitionDown
from networks.point_hierarchy import PointHierarchy, build_point_hierarchy
from utils.cpu_kernels import use_cpu_kernels
from utils.tasks import TASK_NAMES


class Elite360M(nn.Module):
    """One panorama in, a dense prediction per task out.

    Args:
        backbone: a key of `networks.backbones.BACKBONES`, or ``timm:NAME``.
        num_classes: K, the number of semantic classes.
        tasks: any of depth, normal and segmentation. No modules are built for omitted tasks; with a single task
            there is no cross-task attention.
        ico_level: level of the icosphere, which has 20 * 4^level ICOSAP points; 4 is the paper's.
        pretrained: start the ERP encoder from ImageNet weights, downloaded at first use, or from a file at this path.
        hierarchy: tables of the ICOSAP branch; by default built for `ico_level`.
        fusion: ``b2f`` (the paper's), only one of its attentions (``semantic`` or ``distance``), or ``none`` (no
            ICOSAP branch).
        b2f: ``released`` or ``corrected``, see `networks.fusion.TokenFusion`; both have the same parameters.
        cross_task: ``coco`` (the paper's) or ``none`` (no cross-task attention).
        intermediate: build intermediate heads, for the intermediate losses.

    Raises:
        UserError: when the ImageNet weights cannot be downloaded, or the backbone is unknown or unsuitable.
    """

    def __init__(
        self,
        backbone: str = "Elite360M_Res18",
        num_classes: int = 13,
        tasks: tuple[str, ...] = TASK_NAMES,
        ico_level: int = 4,
        pretrained: bool | Path = True,
        hierarchy: PointHierarchy | None = None,
        *,
        fusion: str = "b2f",
        b2f: str = "released",
        cross_task: str = "coco",
        intermediate: bool = True,
    ):
        super().__init__()
        self.tasks = tuple(task for task in TASK_NAMES if task in tasks)
        self.erp_encoder = ERPEncoder(backbone, pretrained)
        embed_dim = self.erp_encoder.embed_dim
        # Not called mean and std: ONNX graphs name folded constants like operations.
        self.register_buffer("rgb_mean", torch.tensor(self.erp_encoder.mean)[:, None, None], persistent=False)
        self.register_buffer("rgb_std", torch.tensor(self.erp_encoder.std)[:, None, None], persistent=False)

        self.fuses = fusion != "none"
        if self.fuses:
            self.icosap_sampler = ICOSAPSampler(ico_level)
            self.icosap_encoder = ICOSAPEncoder(embed_dim, hierarchy or build_point_hierarchy(ico_level))
            self.fusion = FUSIONS[fusion](embed_dim, corrected=b2f == "corrected")

        *fine_channels, coarse_channels = self.erp_encoder.skip_channels
        self.shared_decoder = SharedDecoder(embed_dim, coarse_channels)
        self.preliminary = self._per_task(lambda task: nn.Sequential(*conv_norm_act(SHARED_CHANNELS, SHARED_CHANNELS)))
        self.intermediate_heads = nn.ModuleDict()
        if intermediate:
            self.intermediate_heads = self._per_task(lambda task: INTERMEDIATE_HEADS[task](num_classes))
        self.collaborates = len(self.tasks) > 1 and cross_task == "coco"
        # Without CoCo, the concatenation of shared and preliminary feature is decoded as it is.
        self.cross_task = CrossTaskAttention(2 * SHARED_CHANNELS, self.tasks) if self.collaborates else nn.Identity()
        self.decoders = self._per_task(lambda task: TaskDecoder(embed_dim, fine_channels))
        self.heads = self._per_task(lambda task: HEADS[task](embed_dim, num_classes))
        self._initialize_linear_layers()

    def forward(self, rgb: torch.Tensor, icosap_colors: torch.Tensor | None = None) -> dict:
        """Predict from panoramas.

        Args:
            rgb: (B, 3, H, W) colors in [0, 1]; H and W multiples of 32, W = 2H.
            icosap_colors: (B, P, 3) normalized colors of the ICOSAP points; sampled from `rgb` when not given.

        Returns:
            For each task of the network: ``depth`` (B, 1, H, W) meters along the ray, ``normal`` (B, 3, H, W) unit
            vectors in the camera frame, ``segmentation`` (B, K, H, W) logits. In training mode the logits are
            (B, K, H/4, W/4), to be upsampled by the loss, and ``intermediate`` is a dict with the same keys:
            predictions at (H/16, W/16) from the preliminary features, with normals of any length; empty without
            intermediate heads.

        Raises:
            ValueError: when `rgb` has another shape (W = 2H is not checked).
        """
        _check_shape(rgb)
        erp = (rgb - self.rgb_mean) / self.rgb_std
        if use_cpu_kernels(erp):  # CPUs pool and resize several times faster in this layout
            erp = erp.contiguous(memory_format=torch.channels_last)

        # Encode both projections of the panorama and fuse them (B2F).
        (*fine_skips, coarse_skip), bottleneck = self.erp_encoder(erp)  # bottleneck: (B, C, H/32, W/32)
        fused = bottleneck
        if self.fuses:
            colors = self.icosap_sampler(erp) if icosap_colors is None else icosap_colors  # (B, P, 3)
            point_features, point_xyz = self.icosap_encoder(colors)  # (B, 80, C), (80, 3) at level 4
            fused = self.fusion(bottleneck, point_features, point_xyz)  # (B, C, H/32, W/32)

        # Shared feature, preliminary feature of each task, cross-task collaboration (CoCo).
        shared = self.shared_decoder(fused, coarse_skip)  # (B, 128, H/16, W/16)
        preliminary = {task: self.preliminary[task](shared) for task in self.tasks}
        collaborated = self.cross_task({task: torch.cat([shared, preliminary[task]], dim=1) for task in self.tasks})

        # Decode each task to (B, C, H/4, W/4) and predict.
        predictions = {
            task: self.heads[task](self.decoders[task](collaborated[task], fine_skips)) for task in self.tasks
        }
        if self.training:
            predictions["intermediate"] = {
                task: head(preliminary[task]) for task, head in self.intermediate_heads.items()
            }
        return predictions

    @property
    def last_shared_weight(self) -> nn.Parameter:
        """Weight of the last layer that all tasks depend on before their branches begin.

        With CoCo, the branches share their layers up to the attention maps, which GradNorm and --log_grad_norms ignore.
        """
        return self.shared_decoder.out.weight

    def own_parameters(self, task: str) -> list[nn.Parameter]:
        """Parameters that get gradients only from the losses of this task."""
        own = [self.decoders[task], self.heads[task]]
        if task in self.intermediate_heads:
            own.append(self.intermediate_heads[task])
        # Every task uses all attention maps, so the layers that produce them are shared.
        own.append(self.cross_task.collaborations[task] if self.collaborates else self.preliminary[task])
        return [parameter for module in own for parameter in module.parameters()]

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters that get gradients from the losses of all tasks."""
        own = {id(parameter) for task in self.tasks for parameter in self.own_parameters(task)}
        return [parameter for parameter in self.parameters() if id(parameter) not in own]

    def _per_task(self, build) -> nn.ModuleDict:
        return nn.ModuleDict({task: build(task) for task in self.tasks})

    def _initialize_linear_layers(self) -> None:
        """Truncated normal weights and zero biases, as in the released code; convolutions keep torch's defaults.

        So do the layers of `TransitionDown`, which are 1x1 convolutions there, and the backbone: the linear layers of a
        transformer may be pretrained.
        """
        kept = set(self.erp_encoder.backbone.modules())
        for module in self.modules():
            if isinstance(module, TransitionDown):
                kept.update(module.linears)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module not in kept:
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def _check_shape(rgb: torch.Tensor) -> None:
    if rgb.ndim != 4 or rgb.shape[1] != 3 or rgb.shape[2] % 32 or rgb.shape[3] % 32 or not rgb.shape[2]:
        raise ValueError(f"rgb must be (B, 3, H, W) with H and W multiples of 32, got {tuple(rgb.shape)}")
