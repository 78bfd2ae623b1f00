"""What the CPU's instruction set offers for networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def cpu_flags() -> frozenset[str]:
    """Feature flags as Linux names them (`avx512_bf16`, `amx_int8`, ...); empty where it is not Linux."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def has_fast_bf16() -> bool:
    """Whether bf16 products are instructions here and not emulated."""
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})
