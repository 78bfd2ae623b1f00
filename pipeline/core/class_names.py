"""Choosing classes by name or number."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pipeline.core.errors import ConfigError


def class_ids(wanted: Sequence[str | int], class_names: Sequence[str]) -> tuple[int, ...]:
    """Numbers of the classes that are named, ascending, each once.

    Args:
        wanted: names, or numbers as int or text. A name goes before a number: a class may be called "7".
        class_names: the names by number.

    Raises:
        ConfigError: a name or a number that is not there; tells the nearest name. Nothing is left out in silence:
            a misspelt filter must not become a wider one.
    """
    chosen: set[int] = set()
    for item in wanted:
        text = str(item).strip()
        if text in class_names:
            chosen.add(list(class_names).index(text))
        elif text.isdecimal() and int(text) < len(class_names):
            chosen.add(int(text))
        elif text.lstrip("-").isdecimal():
            raise ConfigError(f"classes: wanted a number from 0 to {len(class_names) - 1}, found {text}")
        else:
            raise ConfigError(
                f"classes: wanted names that the model or the data have, found {text!r}; {_hint(text, class_names)}"
            )
    return tuple(sorted(chosen))


def _hint(text: str, class_names: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in class_names}
    near = difflib.get_close_matches(text.lower(), by_lower, n=1, cutoff=0.5)
    if near:
        return f"did you mean {by_lower[near[0]]!r}?"
    shown = ", ".join(class_names[:10])
    return f"there are: {shown}{', ...' if len(class_names) > 10 else ''}"
