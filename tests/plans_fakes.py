"""TensorRT and CUDA doubles whose plans compute what a tiny artifact computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fakes import open_on_cpu, tiny_artifact, with_selfcheck
from pycuda_double import FakeCuda
from restora.artifact import Artifact, SelfCheck
from restora.backends.tensorrt.module import features_of
from restora.backends.tensorrt.profiles import Profile
from tensorrt_double import FakeTensorRT

WIDE = Profile((1, 8, 8, 3), (1, 32, 32, 3), (1, 64, 64, 3))
HOT = Profile((2, 64, 64, 3), (2, 64, 64, 3), (2, 64, 64, 3))


def working_tensorrt(version: str, *, gpus: int = 1) -> FakeTensorRT:
    module = FakeTensorRT(version)
    module.world.cuda = FakeCuda(gpus=gpus)
    module.world.network = open_on_cpu(tiny_artifact()).run
    return module


def checked_artifact(precision: str = "fp32") -> Artifact:
    """A tiny artifact with a picture and its right answer."""
    artifact = tiny_artifact(precision=precision)
    image = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    answer = open_on_cpu(tiny_artifact()).run(image)
    return with_selfcheck(artifact, SelfCheck(image, answer))


def artifacts_for(trt: FakeTensorRT) -> list[Artifact]:
    """The artifacts that plans in FP16 and FP32 need."""
    precisions = ["fp32", "fp16"] if features_of(trt).strongly_typed else ["fp32"]
    return [checked_artifact(precision) for precision in precisions]


def spoil(trt: FakeTensorRT, *precisions: str) -> None:
    """Let plans of these precisions compute something else."""
    right, builds = trt.world.network, trt.world.builds

    def network(image: np.ndarray) -> np.ndarray:
        build = builds[-1]
        typed = any(f'"precision": "{name}"'.encode() in build["onnx"] for name in precisions)
        flagged = "FP16" in build["flags"] and "fp16" in precisions
        return np.full_like(right(image), 100) if typed or flagged else right(image)

    trt.world.network = network


def files_in(folder: Path | None, suffix: str) -> list[Path]:
    assert folder is not None
    return sorted(folder.glob(f"*{suffix}"))
