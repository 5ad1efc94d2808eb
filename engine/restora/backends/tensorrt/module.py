"""Import TensorRT and detect its features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from restora.backends.cuda_packages import comes_with_system, find_tensorrt, name_gpu_extra
from restora.errors import MissingBackendError


@dataclass(frozen=True, slots=True)
class Features:
    """Features of this TensorRT, detected from its attributes and not from its version.

    strongly_typed: types come from the graph, so FP16 needs an FP16 artifact
    fp16_flag: precision is a builder flag, so FP16 is built from the FP32 artifact
    explicit_batch: networks must be created with the EXPLICIT_BATCH flag
    progress: builds report their steps and can be canceled
    strip: plans can be built without weights and refitted from the ONNX file
    same_capability: plans can be built for all GPUs of one compute capability
    version_compatible: plans can be built for later versions
    profile_sharing_flag: sharing a profile between contexts must be enabled in the build (8.6)
    external_tactics: the builder can use kernels of cuBLAS and cuDNN (8.6)
    activation_resize: contexts can need less scratch memory for smaller shapes (from 10.10)
    fp8: FP8 artifacts can be read
    """

    version: str
    strongly_typed: bool
    fp16_flag: bool
    explicit_batch: bool
    progress: bool
    strip: bool
    same_capability: bool
    version_compatible: bool
    profile_sharing_flag: bool
    external_tactics: bool
    activation_resize: bool
    fp8: bool


def import_tensorrt() -> Any:
    """Import the tensorrt module.

    Raises MissingBackendError if it is not installed, cannot be loaded or has no builder.
    """
    try:
        import tensorrt
    except ModuleNotFoundError as error:
        raise MissingBackendError(f"{_describe_absence()} ({error})") from error
    except (ImportError, OSError) as error:
        raise MissingBackendError(
            f"TensorRT is installed, but its libraries cannot be loaded: {error}"
        ) from error
    if not hasattr(tensorrt, "Builder"):
        raise MissingBackendError(
            "this TensorRT is the lean runtime, which cannot build plans: install the full one"
        )
    return tensorrt


def features_of(trt: Any) -> Features:
    """Detect the features of a tensorrt module."""
    creation = trt.NetworkDefinitionCreationFlag
    typed = hasattr(creation, "STRONGLY_TYPED")
    preview = getattr(trt, "PreviewFeature", None)
    return Features(
        version=str(trt.__version__),
        strongly_typed=typed,
        fp16_flag=hasattr(trt.BuilderFlag, "FP16") and not typed,
        explicit_batch=hasattr(creation, "EXPLICIT_BATCH") and not typed,
        progress=hasattr(trt, "IProgressMonitor"),
        strip=hasattr(trt.BuilderFlag, "STRIP_PLAN"),
        same_capability=hasattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY"),
        version_compatible=hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE"),
        profile_sharing_flag=hasattr(preview, "PROFILE_SHARING_0806") and not typed,
        external_tactics=hasattr(trt.TacticSource, "CUDNN") and not typed,
        activation_resize=hasattr(preview, "RUNTIME_ACTIVATION_RESIZE_10_10"),
        # 8.6 has the type but its parser does not read it
        fp8=typed and hasattr(trt.DataType, "FP8"),
    )


def _describe_absence() -> str:
    if comes_with_system(find_tensorrt()):
        return (
            "this Python does not see the system's TensorRT: apt-get install python3-libnvinfer, "
            "and make the environment with python3 -m venv --system-site-packages"
        )
    return f"TensorRT is not installed: pip install 'restora[{name_gpu_extra()}]'"
