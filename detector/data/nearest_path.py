"""What a misspelt path may have meant."""

from __future__ import annotations

import difflib
from pathlib import Path

_SHOWN = 5


def nearest_path(path: Path) -> str:
    """How to go on where `path` does not exist: `; did you mean '…'?`, or what there is where it ends."""
    folder, name, rest = path.parent, path.name, Path()
    while not folder.is_dir() and folder != folder.parent:
        rest = Path(name) / rest
        folder, name = folder.parent, folder.name
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        names = []
    by_lower = {known.lower(): known for known in names}
    for close in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6):
        meant = folder / by_lower[close] / rest
        if meant.exists():
            return f"; did you mean {str(meant)!r}?"
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"; in {folder} there is: {shown or 'nothing'}"
