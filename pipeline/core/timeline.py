"""When each thing happened to one frame."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.errors import UsageError

STAMPS = ("captured", "dequeued", "detect_begin", "detect_end", "track_end", "emitted")
"""The instants of a timeline in the order in which they happen."""


@dataclass(slots=True)
class Timeline:
    """Instants in integer nanoseconds on the run's one clock. Each is set once, by the worker that owns the frame.

    Attributes:
        captured: `Frame.captured_ns`.
        dequeued: the detector thread took the frame from its channel.
        detect_begin: detection of the frame's batch began.
        detect_end: boxes are on the host.
        track_end: tracks are known.
        emitted: the result was handed to the sinks.
    """

    captured: int | None = None
    dequeued: int | None = None
    detect_begin: int | None = None
    detect_end: int | None = None
    track_end: int | None = None
    emitted: int | None = None

    def stamp(self, name: str, at_ns: int) -> None:
        """Set one instant.

        Raises:
            UsageError: the name is unknown, the instant is set already, or it lies before one that comes earlier.
        """
        if name not in STAMPS:
            raise UsageError(f"Timeline.stamp: wanted one of {', '.join(STAMPS)}, found {name!r}")
        if getattr(self, name) is not None:
            raise UsageError(f"Timeline.stamp: {name!r} is set already; an instant is set once")
        for earlier in STAMPS[: STAMPS.index(name)]:
            before_ns = getattr(self, earlier)
            if before_ns is not None and before_ns > at_ns:
                raise UsageError(f"Timeline.stamp: {name!r} at {at_ns} ns lies before {earlier!r} at {before_ns} ns")
        setattr(self, name, at_ns)

    def between_ms(self, first: str, last: str) -> float | None:
        """Milliseconds from `first` to `last`, or None while either is not set."""
        begin_ns, end_ns = getattr(self, first), getattr(self, last)
        if begin_ns is None or end_ns is None:
            return None
        return float(end_ns - begin_ns) / 1e6
