"""Settings of the runtimes, apart from them so that they can be named without being installed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """Settings of ONNX Runtime's CPU provider.

    threads          0 = all cores that this process may use
    spinning         idle threads burn time waiting: a little faster alone on a machine, much
                     slower in a shared container
    memory_arena     keep freed memory for the next call (1.2-1.4x slower without)
    memory_pattern   plan memory by shape: of use only if all tiles have one shape
    arm64_bf16       bfloat16 matrix products on arm64: faster, less exact
    """

    threads: int = 0
    spinning: bool = False
    memory_arena: bool = True
    memory_pattern: bool = False
    arm64_bf16: bool = False
