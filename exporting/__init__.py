"""Networks as files that other programs run: the traced graph, its constants folded, in ONNX or torch.export's form."""
