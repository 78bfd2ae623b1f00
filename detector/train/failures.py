"""What fails beneath a training, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pipeline.core.errors import TrainingError

_KNOWN = {
    "DataLoader worker": "a process that reads pictures was killed, mostly for want of memory; take --workers 1, or "
    "--set cache=false, or give a container more shared memory (docker run --shm-size 2g)",
    "DefaultCPUAllocator": "the memory is full; take a smaller --batch-size or --img-size",
}
"""Beginnings of what torch says, and what it means."""


@contextmanager
def told_plainly(folder: Path) -> Iterator[None]:
    """Raise TrainingError for memory or a disk that is full, and for processes that were killed.

    Args:
        folder: of the run.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError("the GPU's memory is full; take a smaller --batch-size or --img-size") from error
    except RuntimeError as error:
        known = next((text for sign, text in _KNOWN.items() if sign in str(error)), None)
        if known is None or isinstance(error, TrainingError):
            raise
        raise TrainingError(known) from error
    except OSError as error:
        raise TrainingError(f"{folder}: wanted to write the run there, found: {error.strerror or error}") from error
