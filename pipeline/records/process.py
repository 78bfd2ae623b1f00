"""Which process writes a run, and whether it still lives."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

SILENT_FOR_DEAD = timedelta(seconds=60)
"""A run on another machine that has said nothing for so long is over."""


def this_process() -> str:
    """Host, number and start of this process: together never used again."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def is_dead(process: str, alive_utc: datetime) -> bool:
    """Whether the process of a run has ended: looked up on this machine, by its silence where it ran elsewhere."""
    host, _, rest = process.partition("/")
    number, _, started = rest.partition("/")
    if host != socket.gethostname() or not number.isdecimal() or not Path("/proc/self/stat").exists():
        return datetime.now(UTC) - alive_utc > SILENT_FOR_DEAD
    return _started(int(number)) != started


def _started(number: int) -> str:
    """Ticks since the machine started, empty where there is no such process or no /proc."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    # The name in brackets may hold spaces; a zombie has ended.
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
