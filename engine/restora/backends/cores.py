"""The CPU: its name, and how many of its cores this process may use."""

import os
import platform
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = (
    Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
_CPU_INFO = Path("/proc/cpuinfo")
_NAME_LENGTH = 200


def count_allowed_cores() -> int:
    """Cores in the affinity mask, limited by the quota of the container (cgroup v2 or v1); >= 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    quota = _read_quota()
    if quota is not None:
        cores = min(cores, max(1, round(quota)))
    return max(1, cores)


def name_cpu() -> str:
    """The name of the CPU's model, or of its architecture where the system does not tell."""
    try:
        lines = _CPU_INFO.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = next(iter(names), "") or platform.processor() or platform.machine()
    return "".join(filter(str.isprintable, name))[:_NAME_LENGTH]


def _read_quota() -> float | None:
    """CPU quota of the control group in cores, or None without a limit."""
    try:
        if _CGROUP_V2.exists():
            granted, period = _CGROUP_V2.read_text().split()
        else:
            granted, period = (path.read_text().strip() for path in _CGROUP_V1)
        share = float(granted) / float(period)
    except (OSError, ValueError):  # "max", or no such controller
        return None
    return share if share > 0 else None
