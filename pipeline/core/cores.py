"""How many processor cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Control groups version 2: microseconds of work allowed in each period of microseconds, or "max"."""


def usable_cores(quota_file: Path = _CGROUP_QUOTA) -> int:
    """Cores that this process may run on: its affinity mask, cut to its container's quota (rounded up); 1 or more.

    The number of cores of the machine would make a container of two cores on a large machine start dozens of threads
    for each decoder and encoder.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        allowed, period = quota_file.read_text().split()
        if allowed != "max":
            count = min(count, -(-int(allowed) // int(period)))
    except (OSError, ValueError):
        # No control groups here (another system), so there is no quota.
        pass
    return max(count, 1)


def restricted_cores() -> int | None:
    """`usable_cores()` where they are not all cores of the machine, else None.

    For libraries that choose a number of threads well by themselves, but know of no container's quota.
    """
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else None
