"""Stage `device`: what the engine stands on loads, and the GPU is the one of earlier results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from restora.backends.cuda_versions import describe_mismatch, find_cuda_parts
from restora.backends.tensorrt.bindings import call
from restora.backends.tensorrt.cuda import Device
from restora.backends.tensorrt.start import require_tensorrt_starts, start_tensorrt
from restora.backends.tensorrt.tile_kernels import TileKernels
from restora.errors import MissingBackendError, RestoraError
from restora_benchmarks.machine import describe_machine
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName


def check_device(modules: Modules, places: Places, report: Callable[[str], None]) -> StateName:
    """Write the facts of the machine and one row a check; "failed" if one that must hold fails."""
    device = modules.open_device()
    facts = asdict(device.facts(str(modules.trt.__version__)))
    places = Places(places.root, facts["name"])
    with watch_gpu(device.pci_bus_id) as watch:
        checks = list(_checks(modules, device))
    state = watch.summary()
    row = {**facts, "pci_bus_id": device.pci_bus_id, "state": state}
    places.add_rows("device", [row], key=("name",))
    places.add_rows("machine", [dict(describe_machine())], key=("cpu",))
    places.add_rows("loads", checks, key=("check",))
    # the last line is the reason of the step
    for check in sorted(checks, key=lambda check: (not check["passed"], check["must"])):
        report(f"{check['check']}: {'holds' if check['passed'] else 'FAILS'}: {check['detail']}")
    return "done" if all(check["passed"] or not check["must"] for check in checks) else "failed"


def _checks(modules: Modules, device: Device) -> Iterator[Row]:
    yield _row("PyCUDA opens the GPU", lambda: str(device.architecture))
    yield _row("TensorRT starts on the GPU", lambda: _start_tensorrt(modules, device))
    yield _row("CUDA graphs have their bindings", lambda: _present(modules, modules.driver))
    yield _row("NVRTC loads", lambda: _nvrtc_version(modules))
    yield _row("the kernels for tiles compile for this GPU", lambda: _compile(modules, device))
    # a mixture can work, and is the first suspect if something else fails
    yield _row("all packages are of one CUDA version", lambda: _one_cuda(device), must=False)


def _row(check: str, do: Callable[[], str], *, must: bool = True) -> Row:
    row: Row = {"check": check, "must": must}
    try:
        return {**row, "passed": True, "detail": do()}
    except RestoraError as error:
        return {**row, "passed": False, "detail": str(error)}


def _start_tensorrt(modules: Modules, device: Device) -> str:
    require_tensorrt_starts(modules.trt, device)  # it would end the process
    start_tensorrt(modules.trt, device)
    return str(modules.trt.__version__)


def _one_cuda(device: Device) -> str:
    version = device.cuda.get_driver_version()
    parts = find_cuda_parts()
    mismatch = describe_mismatch(parts, (version // 1000, version % 1000 // 10))
    if mismatch is not None:
        raise MissingBackendError(": ".join(mismatch))
    return ", ".join(map(str, parts)) or "no package tells its version"


def _present(modules: Modules, module: Any) -> str:
    if module is None:
        raise MissingBackendError("; ".join(modules.missing) or "the module is missing")
    return str(getattr(module, "__name__", module.__class__.__name__))


def _nvrtc_version(modules: Modules) -> str:
    _present(modules, modules.nvrtc)
    major, minor = call(modules.nvrtc.nvrtcVersion)
    return f"{major}.{minor}"


def _compile(modules: Modules, device: Device) -> str:
    _present(modules, modules.nvrtc)
    with device.current():
        TileKernels(device, modules.nvrtc, "uint8")
    return str(device.architecture)
