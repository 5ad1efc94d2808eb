"""Import TensorRT, or say in one line what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from restora.errors import MissingBackendError

_INSTALL = "pip install 'restora[gpu]' (on Jetson: the system's own TensorRT)"


@dataclass(frozen=True, slots=True)
class Features:
    """What this TensorRT has; told by looking, never by its version.

    strongly_typed: types come from the graph: FP16 needs an FP16 artifact
    fp16_flag: precision is a flag of the builder: FP16 is built from the FP32 artifact
    explicit_batch: networks must be created with the EXPLICIT_BATCH flag
    progress: builds report their steps and can be canceled
    strip: plans can leave the weights out and be refitted from the ONNX file
    same_capability: plans can be made for all GPUs of one compute capability
    version_compatible: plans can be made for later versions
    profile_sharing_flag: several contexts may use one profile only if the build says so (8.6)
    external_tactics: kernels of cuBLAS and cuDNN are among the builder's choice (8.6)
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


def import_tensorrt() -> Any:
    """The tensorrt module.

    Raises MissingBackendError if it is not installed, cannot be loaded or has no builder.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise MissingBackendError(f"TensorRT is not here: {_INSTALL} ({error})") from error
    except OSError as error:
        raise MissingBackendError(
            f"TensorRT is installed, but its libraries cannot be loaded: {error}"
        ) from error
    if not hasattr(tensorrt, "Builder"):
        raise MissingBackendError(
            "this TensorRT is the lean runtime, which cannot build plans: install the full one"
        )
    return tensorrt


def features_of(trt: Any) -> Features:
    """What the module `trt` has."""
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
    )
