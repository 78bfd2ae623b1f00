"""What this process has used so far."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def cpu_s() -> float:
    """CPU time of all threads of this process, and of its children that have ended (s)."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def peak_memory_mb() -> float | None:
    """The most memory that this process ever held at once (10^6 bytes), or None where the system tells nothing."""
    try:
        # Not ru_maxrss: on Linux a process inherits it from the one that started it.
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return None
