"""What a misspelt path may have meant."""

from __future__ import annotations

import difflib
from pathlib import Path


def nearest_path(path: Path) -> str:
    """How to go on where `path` does not exist: `; did you mean '…'?`, or what there is."""
    folder, name = path.parent, path.name
    while not folder.is_dir() and folder != folder.parent:
        folder, name = folder.parent, folder.name
    try:
        names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        names = []
    by_lower = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {str(folder / by_lower[close[0]])!r}?"
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"; in {folder} there is: {shown or 'nothing'}"
