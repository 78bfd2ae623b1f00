"""Times, lengths of time and numbers as a reader wants them."""

from __future__ import annotations

from datetime import tzinfo

from pipeline.core.event import EventKind
from pipeline.records.buckets import utc_of
from pipeline.records.rows import StoredEvent

KINDS = {
    EventKind.OBJECT: "object",
    EventKind.CROSSING: "crossing",
    EventKind.VISIT: "visit",
    EventKind.LOITERING: "loitering",
    EventKind.CROWDING: "crowding",
    EventKind.EMPTY: "empty",
    EventKind.SPEEDING: "speeding",
    EventKind.WRONG_WAY: "wrong way",
    EventKind.STOPPED: "stopped",
    EventKind.SUDDEN_STOP: "sudden stop",
}


def time_text(time_s: float, zone: tzinfo | None, *, seconds: bool = True) -> str:
    """Local date and time of seconds since 1970; without a zone the time in the footage, h:mm:ss."""
    if zone is not None:
        return utc_of(time_s).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
    sign, whole = ("-" if time_s < 0 else ""), int(abs(time_s))
    return f"{sign}{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def length_text(seconds: float) -> str:
    """How long something lasted, to two or three digits."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


def step_text(step_s: int) -> str:
    """The length of a span, as in `per hour`."""
    names = {86400: "day", 3600: "hour", 60: "minute", 1: "second"}
    if step_s in names:
        return names[step_s]
    return f"{step_s // 60} minutes" if step_s % 60 == 0 else f"{step_s} seconds"


def number_text(number: float) -> str:
    """Whole numbers with thin spaces between thousands, others with one decimal."""
    if isinstance(number, int) or float(number).is_integer():
        return f"{int(number):,}".replace(",", "\u202f")
    return f"{number:.1f}" if number >= 0.95 else f"{number:.2f}"


def details_text(event: StoredEvent) -> str:
    """What belongs to the kind of an event, in words."""
    values = event.values
    if event.kind is EventKind.CROSSING:
        direction, label = str(values.get("direction", "")), str(values.get("label", ""))
        return label if label in ("", direction) else f"{label} ({direction})"
    parts = []
    for name, value in values.items():
        text = f"{value:.1f}" if isinstance(value, float) else str(value)
        parts.append(f"{name.removesuffix('_s').replace('_', ' ')} {text}{' s' if name.endswith('_s') else ''}")
    return ", ".join(parts)
