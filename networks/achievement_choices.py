"""Values of options that choose the networks of the achievement-based program. Imports nothing."""

ARCHITECTURES = ("VMM", "DeepLab")  # --arch
# Those of VMM:
HEAD_TYPES = ("mbconv", "dsconv")  # --head_type
ACTIVATIONS = ("relu6", "relu", "swish", "silu")  # --activation
CLS_HEADS = ("sigmoid", "softmax")  # --cls_head
