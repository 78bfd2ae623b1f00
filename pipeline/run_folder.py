"""Where a run goes that must not overwrite another one."""

from __future__ import annotations

from pathlib import Path


def free_folder(project: Path, name: str, *, exist_ok: bool = False) -> Path:
    """`project/name`, or `project/name2`, `name3`, … where it is taken and not `exist_ok`. Nothing is made yet."""
    folder, n = project / name, 1
    while folder.exists() and not exist_ok:
        n += 1
        folder = project / f"{name}{n}"
    return folder
