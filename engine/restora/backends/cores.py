"""Count the CPU cores that this process may use."""

import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = (
    Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
    Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)


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
