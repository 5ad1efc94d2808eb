"""Build time: checkpoint -> PyTorch reference -> ONNX artefact, checked against PyTorch."""
