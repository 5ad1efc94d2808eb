"""Facts about the machine that a figure was measured on."""

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from restora.backends.cores import count_allowed_cores
from restora.backends.driver import list_pci_bus_ids
from restora.version import __version__

_PACKAGES = (
    "numpy",
    "onnxruntime",
    "openvino",
    "torch",
    "ncnn",
    "tensorrt",
    "opencv-python-headless",
    "pillow",
)


def describe_machine() -> dict[str, object]:
    """CPU and its clock as it is now, cores allowed, memory, the GPUs with driver and clocks, and
    versions, as JSON-ready values."""
    return {
        "cpu": _cpu_fact("model name", "Hardware") or platform.processor() or "unknown",
        "cpu_mhz": _cpu_mhz(),
        "gpus": describe_gpus(),
        "cores_allowed": count_allowed_cores(),
        "cores_online": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "restora": __version__,
        **{name: _version(name) for name in _PACKAGES},
    }


def describe_gpus() -> list[dict[str, object]]:
    """Name, driver and clocks in MHz of each NVIDIA GPU that this process may use; none without a
    driver or NVML."""
    try:
        addresses = list_pci_bus_ids()
        import pynvml

        pynvml.nvmlInit()
    except ImportError:  # MissingBackendError is one
        return []
    except pynvml.NVMLError:
        return []
    found = []
    for address in addresses:
        handle = pynvml.nvmlDeviceGetHandleByPciBusId(address.encode())
        facts: dict[str, object] = {
            "name": _text(pynvml.nvmlDeviceGetName(handle)),
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
        }
        for clock, number in (("sm", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM)):
            with contextlib.suppress(pynvml.NVMLError):
                facts[f"{clock}_mhz"] = pynvml.nvmlDeviceGetClockInfo(handle, number)
                facts[f"{clock}_mhz_most"] = pynvml.nvmlDeviceGetMaxClockInfo(handle, number)
        found.append(facts)
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _cpu_mhz() -> float | None:
    """Of one core, where the system says."""
    try:
        return round(float(_cpu_fact("cpu MHz") or ""))
    except ValueError:
        return None


def _cpu_fact(*names: str) -> str | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(names):
                return line.partition(":")[2].strip()
    return None


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
