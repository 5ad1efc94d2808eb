"""Options of the backends. This module imports none of their packages."""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from restora.checks import check_choice, check_flag, check_whole, set_checked
from restora.errors import OptionError

Backend = Literal["tensorrt", "cuda", "openvino", "cpu", "ncnn", "ncnn-vulkan"]
BackendChoice = Literal["auto", "tensorrt", "cuda", "openvino", "cpu", "ncnn", "ncnn-vulkan"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "mixed", "bf16", "int8", "fp8"]
GpuWait = Literal["auto", "spin", "block"]

# those that "auto" tries, in this order
GPU_BACKENDS: tuple[Backend, ...] = ("tensorrt", "cuda")
CPU_BACKENDS: tuple[Backend, ...] = ("openvino", "cpu")
# those that run upsamplers only
NCNN_BACKENDS: tuple[Backend, ...] = ("ncnn", "ncnn-vulkan")
# all that run there
_ON_GPU: tuple[Backend, ...] = (*GPU_BACKENDS, "ncnn-vulkan")
_ON_CPU: tuple[Backend, ...] = (*CPU_BACKENDS, "ncnn")
MAX_THREADS = 1024
MAX_GPU = 255
_DEVICE = re.compile(r"auto|cpu|gpu(?::([0-9]{1,9}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CpuOptions:
    """Options of CPU sessions. ONNX Runtime uses all of them, OpenVINO and ncnn only `threads`.

    threads: number of threads; 0 uses all cores that this process may use
    spinning: idle threads wait actively as long as ONNX Runtime likes, which is much slower in a
        shared container; otherwise for 0.2 ms at most, or not at all before ONNX Runtime 1.26
    memory_arena: keep freed memory for the next call; 1.2 to 1.4 times slower without
    memory_pattern: plan memory for each shape; useful only if all tiles have the same shape
    arm64_bf16: use bfloat16 matrix products on arm64, which is faster and less accurate
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
            threads=check_whole("threads", self.threads, minimum=0, maximum=MAX_THREADS),
            **{name: check_flag(name, getattr(self, name)) for name in flags},
        )


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Which TensorRT engines a session uses. Engines that are not in the cache are built.

    any_built: use the engines that were built last for this model, of any size; the other fields
        apply only if there are none
    tile: side of full tiles, in pixels; None is 512, or less if max_tile is
    batches: batch sizes of full tiles; one engine is built for each; None is (1,), for a network
        with a fixed side (1, 4)
    max_tile: the largest side of any tile, in pixels; None is what the memory of the GPU allows, at
        most 1024
    workspace_bytes: limit of scratch memory for one layer during a build, in bytes
    opt_level: optimization level of the builder, 0 (fast build) to 5 (fast engine)
    graphs: launch the network through CUDA graphs
    """

    any_built: bool = False
    tile: int | None = None
    batches: tuple[int, ...] | None = None
    max_tile: int | None = None
    workspace_bytes: int = 4 << 30
    opt_level: int = 3
    graphs: bool = True

    def __post_init__(self) -> None:
        batches = self.batches
        if batches is not None and (not isinstance(batches, tuple | list) or not batches):
            raise OptionError(f"batches must be numbers of tiles such as (1, 4), got {batches!r}")
        set_checked(
            self,
            any_built=check_flag("any_built", self.any_built),
            tile=None
            if self.tile is None
            else check_whole("the tile of plans", self.tile, minimum=1),
            batches=None
            if batches is None
            else tuple(check_whole("a batch of plans", size, minimum=1) for size in batches),
            max_tile=None
            if self.max_tile is None
            else check_whole("max_tile", self.max_tile, minimum=1),
            workspace_bytes=check_whole("workspace_bytes", self.workspace_bytes, minimum=1),
            opt_level=check_whole("opt_level", self.opt_level, minimum=0, maximum=5),
            graphs=check_flag("graphs", self.graphs),
        )


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The backend, the precision and the device of a session.

    backend: "auto" uses the first of TensorRT, ONNX Runtime with CUDA, OpenVINO (in bfloat16) and
        ONNX Runtime on the CPU that works on this machine; behind CUDA, what `restora tune` found
        fastest for this artifact. Any other value never falls back. "ncnn" runs on the CPU,
        "ncnn-vulkan" on a GPU of any vendor
    precision: "auto" uses FP16 on a GPU if there is an FP16 artifact, bfloat16 with OpenVINO if the
        CPU supports it and the self-check of the artifact passes, FP16 with Vulkan if the
        self-check passes, and otherwise FP32; any other value never falls back, except that with
        the backend "auto", 8 bits that fail their self-check give way to "auto"
    device: "auto" uses a GPU if possible and otherwise the CPU; "cpu", "gpu" (the first one) and
        "gpu:1" (a numbered one) never fall back. Vulkan numbers GPUs in an order of its own
    gpu_wait: how a thread waits for TensorRT's GPU: "spin" has the lowest latency and keeps a core
        busy, "block" sleeps; "auto" sleeps only on a GPU that shares its memory with the CPU, such
        as a Jetson, whose cores are few
    pinned_bytes: TensorRT writes results to pinned host memory, which is kept for the next results,
        up to this many bytes; None is 2 GiB, but at most an eighth of the memory. Results beyond
        are copied once more.
    """

    backend: BackendChoice = "auto"
    precision: PrecisionChoice = "auto"
    device: str = "auto"
    gpu_wait: GpuWait = "auto"
    pinned_bytes: int | None = None
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
            gpu_wait=check_choice("gpu_wait", self.gpu_wait, get_args(GpuWait)),
            pinned_bytes=None
            if self.pinned_bytes is None
            else check_whole("pinned_bytes", self.pinned_bytes, minimum=0),
        )
        allowed = self.allowed_backends()
        if self.backend not in ("auto", *allowed):
            raise OptionError(
                f"the device {self.device!r} and the backend {self.backend!r} contradict each "
                f"other: on this device run {', '.join(map(repr, allowed))}"
            )

    @property
    def gpu(self) -> int | None:
        """The number of the GPU that is asked for; None if none is."""
        return gpu_of_device(self.device)

    def backends(self) -> tuple[Backend, ...]:
        """Those that "auto" tries on the device, in this order."""
        if self.device == "auto":
            return GPU_BACKENDS + CPU_BACKENDS
        return CPU_BACKENDS if self.device == "cpu" else GPU_BACKENDS

    def allowed_backends(self) -> tuple[Backend, ...]:
        """All that run on the device."""
        if self.device == "auto":
            return _ON_GPU + _ON_CPU
        return _ON_CPU if self.device == "cpu" else _ON_GPU


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
