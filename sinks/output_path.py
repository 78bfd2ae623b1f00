"""Whether a file may be written, and claiming it: nothing is overwritten unless that was asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pipeline.core.errors import SinkError, UsageError


def check_output(path: Path, *, exist_ok: bool) -> None:
    """Tell before a run what would keep its output from being written. Changes nothing on disk.

    Args:
        path: the file; folders that do not exist yet are no problem.
        exist_ok: whether a file that exists may be replaced.

    Raises:
        UsageError: the file exists, is a folder, pipe or device, or lies where nothing can be written.
    """
    try:
        problem = _problem(path, exist_ok)
    except OSError as error:
        problem = write_failure(path, error)
    if problem is not None:
        raise UsageError(problem)


def claim_output(path: Path, *, exist_ok: bool) -> int:
    """Create the folders and the empty file, so that no other run takes it.

    Returns:
        A file descriptor open for writing; the caller closes it.

    Raises:
        SinkError: as for `check_output`, or the file system refuses.
    """
    problem = _problem(path, exist_ok)
    if problem is not None:
        raise SinkError(problem)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | (os.O_TRUNC if exist_ok else os.O_EXCL)
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise SinkError(write_failure(path, error)) from error


def write_failure(path: Path, error: OSError) -> str:
    """One line for a write that the system refused."""
    if error.errno == errno.ENOSPC:
        return f"{path}: the disk is full; what was written so far is kept, free some space and run again"
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return f"{path}: wanted to write this file, found: {reason}; check the folder's permissions and space"


def _problem(path: Path, exist_ok: bool) -> str | None:
    if path.is_dir():
        return f"{path}: wanted a file to write, found a folder; name a file in it, such as {path / 'out'}{path.suffix}"
    if path.exists() and not path.is_file():
        return f"{path}: wanted a file to write, found a pipe or device; name a file"
    if path.exists() and not exist_ok:
        return f"{path}: wanted a new file, found one that exists; name another, or overwrite it with --exist-ok"
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{path}: wanted to create it, found that {folder} is a file, not a folder; name another path"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{path}: wanted to create it, found that the folder {folder} is not writable; name another path"
    return None
