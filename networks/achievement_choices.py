"""Values of the options that choose the network of the achievement-based program. Imports nothing."""

ARCHITECTURES = ("VMM", "DeepLab")  # --arch
# VMM only:
HEAD_TYPES = ("mbconv", "dsconv")  # --head_type
ACTIVATIONS = ("relu6", "relu", "swish", "silu")  # --activation
CLS_HEADS = ("sigmoid", "softmax")  # --cls_head
