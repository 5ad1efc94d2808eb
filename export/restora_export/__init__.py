"""Build time: checkpoint -> PyTorch reference -> ONNX artifact, checked against PyTorch."""
