"""What a figure was measured on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from detector.cpu_features import cpu_flags
from pipeline.runtime.report import environment

FEATURES = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""Instructions that networks run faster with, as Linux names them."""

_ROOT = Path(__file__).resolve().parents[2]


def machine() -> dict[str, object]:
    """Hardware, versions, and the commit of this program, ready for JSON."""
    return {
        **environment(),
        "cpu_features": cpu_features(),
        "memory_gb": memory_gb(),
        "gpu": gpu_names(),
        "commit": commit(),
        "load_before": load(),
    }


def cpu_features() -> list[str]:
    """Those of FEATURES that this CPU has; none where the system is not Linux."""
    return [name for name in FEATURES if name in cpu_flags()]


def memory_gb() -> float | None:
    """Memory of the machine (10^9 bytes), or None where the system tells nothing."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def gpu_names() -> list[str]:
    """CUDA devices that PyTorch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def commit() -> str | None:
    """Commit of the checkout that runs, with `+` where files of it are changed; None for an installed package."""
    if not (_ROOT / ".git").exists():
        return None
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def load() -> float | None:
    """Mean number of threads that wanted a core in the last minute, those of other programs included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
