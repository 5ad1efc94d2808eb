"""Stage `device`: what the engine stands on loads, and the GPU is the one of earlier results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from restora.backends.tensorrt.bindings import call
from restora.backends.tensorrt.tile_kernels import TileKernels
from restora.errors import RestoraError
from restora_benchmarks.machine import describe_machine
from restora_tools.gpu.machine import Modules
from restora_tools.gpu.nvml import watch_gpu
from restora_tools.gpu.places import Places, Row
from restora_tools.gpu.states import StateName


def check_device(modules: Modules, places: Places, report: Callable[[str], None]) -> StateName:
    """Write the facts of the machine and one row a check; "failed" if one does not hold.

    Results of two GPUs never share a folder: the stage fails if earlier ones are another card's.
    """
    device = modules.open_device()
    facts = asdict(device.facts(str(modules.trt.__version__)))
    earlier = {row["name"] for row in places.rows("device")} - {facts["name"]}
    if earlier:
        report(f"{places.root} holds results of {', '.join(earlier)}: use another --out")
        return "failed"
    with watch_gpu(device.pci_bus_id) as watch:
        checks = list(_checks(modules, device))
    state = watch.summary()
    row = {**facts, "pci_bus_id": device.pci_bus_id, "state": state}
    places.add_rows("device", [row], key=("name",))
    places.add_rows("machine", [dict(describe_machine())], key=("cpu",))
    places.add_rows("loads", checks, key=("check",))
    for check in checks:
        report(f"{check['check']}: {'holds' if check['passed'] else 'FAILS'}: {check['detail']}")
    return "done" if all(check["passed"] for check in checks) else "failed"


def _checks(modules: Modules, device: Any) -> Iterator[Row]:
    yield _row("PyCUDA opens the GPU", lambda: str(device.architecture))
    yield _row("CUDA graphs have their bindings", lambda: _present(modules, modules.driver))
    yield _row("NVRTC loads", lambda: _nvrtc_version(modules))
    yield _row("the kernels for tiles compile for this GPU", lambda: _compile(modules, device))


def _row(check: str, do: Callable[[], str]) -> Row:
    try:
        return {"check": check, "passed": True, "detail": do()}
    except RestoraError as error:
        return {"check": check, "passed": False, "detail": str(error)}


def _present(modules: Modules, module: Any) -> str:
    if module is None:
        raise RestoraError("; ".join(modules.missing) or "the module is missing")
    return str(getattr(module, "__name__", module.__class__.__name__))


def _nvrtc_version(modules: Modules) -> str:
    _present(modules, modules.nvrtc)
    major, minor = call(modules.nvrtc.nvrtcVersion)
    return f"{major}.{minor}"


def _compile(modules: Modules, device: Any) -> str:
    _present(modules, modules.nvrtc)
    with device.current():
        TileKernels(device, modules.nvrtc, "uint8")
    return str(device.architecture)
