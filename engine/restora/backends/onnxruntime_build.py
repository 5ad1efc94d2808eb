"""How this ONNX Runtime was built."""

import onnxruntime


def cuda_version() -> str:
    """The CUDA version that it was built for, such as "12.8"; empty for a build without CUDA."""
    return str(getattr(onnxruntime, "cuda_version", "") or "")
