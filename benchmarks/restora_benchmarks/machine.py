"""Facts about the machine that a figure was measured on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from restora.sessions.cores import count_allowed_cores
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
    """CPU, cores allowed, memory and versions, as JSON-ready values."""
    return {
        "cpu": _cpu_name(),
        "cores_allowed": count_allowed_cores(),
        "cores_online": os.cpu_count(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "restora": __version__,
        **{name: _version(name) for name in _PACKAGES},
    }


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
