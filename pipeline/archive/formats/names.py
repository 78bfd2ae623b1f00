"""Names of videos as plain file names, for layouts that have no folders below."""

from __future__ import annotations

from collections.abc import Sequence


def flat_names(names: Sequence[str]) -> list[str]:
    """Each name with `__` in place of `/`; where two become equal but for their case, the later gets `-2`."""
    taken: set[str] = set()
    flat = []
    for name in names:
        plain = name.replace("/", "__")
        free, count = plain, 1
        while free.casefold() in taken:
            count += 1
            free = f"{plain}-{count}"
        taken.add(free.casefold())
        flat.append(free)
    return flat
