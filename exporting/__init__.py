"""Networks as files that other programs run: the traced graph in ONNX or torch.export's form."""
