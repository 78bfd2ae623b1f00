"""One `annotate` at a time in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.archive.layout import LOCK
from pipeline.core.errors import UsageError


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder while inside. The system lets it go with the process, however that ends.

    Raises:
        UsageError: another process holds it.
        OSError: the system refused.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{out}: wanted this folder for ourselves, found another annotate at work in it; wait for it, or name "
                "another folder"
            ) from None
        yield
