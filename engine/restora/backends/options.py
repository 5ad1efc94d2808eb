"""Settings of the runtimes, apart from them so that they can be named without being installed."""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_whole, set_checked
from restora.errors import OptionError

Backend = Literal["tensorrt", "cuda", "openvino", "cpu"]
BackendChoice = Literal["auto", "tensorrt", "cuda", "openvino", "cpu"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "mixed", "bf16", "int8"]

GPU_BACKENDS: tuple[Backend, ...] = ("tensorrt", "cuda")
CPU_BACKENDS: tuple[Backend, ...] = ("openvino", "cpu")
MAX_THREADS = 1024
MAX_GPU = 255
_DEVICE = re.compile(r"auto|cpu|gpu(?::([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """Settings of sessions on the CPU: OpenVINO heeds `threads`, ONNX Runtime all of them.

    threads: 0: all cores that this process may use
    spinning: idle threads burn time waiting: a little faster alone on a machine, much slower in a
        shared container
    memory_arena: keep freed memory for the next call (1.2-1.4x slower without)
    memory_pattern: plan memory by shape: of use only if all tiles have one shape
    arm64_bf16: bfloat16 matrix products on arm64: faster, less exact
    """

    threads: int = 0
    spinning: bool = False
    memory_arena: bool = True
    memory_pattern: bool = False
    arm64_bf16: bool = False

    def __post_init__(self) -> None:
        flags = ("spinning", "memory_arena", "memory_pattern", "arm64_bf16")
        set_checked(
            self,
            threads=check_whole("threads", self.threads, least=0, most=MAX_THREADS),
            **{name: check_flag(name, getattr(self, name)) for name in flags},
        )


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Which TensorRT plans a session uses; those that are not in the plan cache are built.

    any_built: take the plans that were built last for this model, of whatever sizes; the other
        fields then only matter if there are none
    tile: side of the tiles that most work is done in
    batches: how many of them at once, one plan for each number
    max_tile: largest side of any tile
    workspace: most bytes of scratch memory for one layer while a plan is built
    level: builder optimization level, 0 (fast build) to 5 (fast plan)
    graphs: launch work through CUDA graphs
    """

    any_built: bool = False
    tile: int = 256
    batches: tuple[int, ...] = (1, 4)
    max_tile: int = 1024
    workspace: int = 4 << 30
    level: int = 3
    graphs: bool = True

    def __post_init__(self) -> None:
        batches = self.batches
        if not isinstance(batches, tuple | list) or not batches:
            raise OptionError(f"batches must be numbers of tiles such as (1, 4), got {batches!r}")
        set_checked(
            self,
            any_built=check_flag("any_built", self.any_built),
            tile=check_whole("the tile of plans", self.tile, least=1),
            batches=tuple(check_whole("a batch of plans", size, least=1) for size in batches),
            max_tile=check_whole("max_tile", self.max_tile, least=1),
            workspace=check_whole("workspace", self.workspace, least=1),
            level=check_whole("level", self.level, least=0, most=5),
            graphs=check_flag("graphs", self.graphs),
        )


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """On what, and how, a model runs.

    backend: "auto": the first of TensorRT, ONNX Runtime on CUDA, OpenVINO (in bfloat16) and ONNX
        Runtime on the CPU that starts here; any other choice never falls back
    precision: "auto": FP16 on a GPU, if there is an artifact for it; bfloat16 through OpenVINO, if
        the CPU has it and the artifact's own picture passes the accuracy threshold; else FP32. Any
        other choice never falls back
    device: "auto": a GPU if one can be used, else the CPU; "cpu"; "gpu", the first one; or a
        numbered one, "gpu:1". With a GPU named, the CPU is never used instead
    """

    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    device: str = "auto"
    cpu: CpuOptions = field(default_factory=CpuOptions)
    plans: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        for name, value, kind in (
            ("cpu", self.cpu, CpuOptions),
            ("plans", self.plans, PlanOptions),
        ):
            if not isinstance(value, kind):
                raise OptionError(f"{name} must be {kind.__name__}, got {value!r}")
        set_checked(
            self,
            backend=check_choice("backend", self.backend, get_args(BackendChoice)),
            precision=check_choice("precision", self.precision, get_args(PrecisionChoice)),
            device=check_device(self.device),
        )
        if self.backend not in ("auto", *self.backends()):
            raise OptionError(
                f"the device {self.device!r} and the backend {self.backend!r} contradict each "
                f"other: on this device run {', '.join(map(repr, self.backends()))}"
            )

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that is asked for; None if none is."""
        return gpu_of_device(self.device)

    def backends(self) -> tuple[Backend, ...]:
        """Those that run on the device, in the order in which they are tried."""
        if self.device == "auto":
            return GPU_BACKENDS + CPU_BACKENDS
        return CPU_BACKENDS if self.device == "cpu" else GPU_BACKENDS


def check_device(value: object) -> str:
    """Raise OptionError unless the value names a device; "gpu:0" becomes "gpu"."""
    match = _DEVICE.fullmatch(value) if isinstance(value, str) else None
    if match is None or int(match[1] or 0) > MAX_GPU:
        raise OptionError(
            f"device must be one of 'auto', 'cpu', 'gpu' and 'gpu:N' with N in 0..{MAX_GPU}, "
            f"got {value!r}"
        )
    number = int(match[1] or 0)
    return f"gpu:{number}" if number else "gpu" if match[0].startswith("gpu") else match[0]


def gpu_of_device(device: str) -> int | None:
    """0 for "gpu", 1 for "gpu:1", None for "cpu" and "auto"."""
    if not device.startswith("gpu"):
        return None
    return int(device.partition(":")[2] or 0)
