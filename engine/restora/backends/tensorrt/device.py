"""The facts about a GPU and its software that decide whether a plan fits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a plan was, or is to be, made for.

    capability: compute capability, such as "9.0"
    multiprocessors, memory_bytes: of the GPU
    cuda_runtime: version of the CUDA runtime, such as 12040
    driver: only noted: plans outlive drivers
    """

    name: str
    capability: str
    multiprocessors: int
    memory_bytes: int
    cuda_runtime: int
    tensorrt: str
    driver: str = ""
