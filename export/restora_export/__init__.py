"""Export checkpoints to ONNX artifacts and verify them against PyTorch."""
