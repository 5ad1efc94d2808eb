"""Facts about a GPU and its software that decide whether a plan can run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """The GPU and the software that a plan is built for.

    capability: compute capability, such as "9.0"
    multiprocessors, memory_bytes: their number and the memory of the GPU
    cuda_runtime: version of CUDA that PyCUDA was compiled for, in the form of CUDA_VERSION (12040
        is 12.4)
    driver: for information only, since plans work with other drivers
    """

    name: str
    capability: str
    multiprocessors: int
    memory_bytes: int
    cuda_runtime: int
    tensorrt: str
    driver: str = ""
