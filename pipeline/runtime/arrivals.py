"""When frames of live sources arrive, and how fast: measured, whatever a source says of itself."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from pipeline.core.frame import Frame

REMEMBERED = 64
"""Frames of a source that its rate is measured over."""
LEAST = 8
"""Frames before a rate is told."""


@dataclass(slots=True)
class _Seen:
    """The last frames of one source."""

    n_breaks: int
    captured_ns: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    arrived_ns: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))


class Arrivals:
    """Notes every frame of the live sources. Called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, _Seen] = {}
        self._count = 0

    def note(self, frame: Frame, now_ns: int) -> None:
        """A frame is about to be handed to the detector. Call it before the detector can see the frame."""
        with self._lock:
            self._count += 1
            seen = self._seen.get(frame.source_id)
            restarted = seen is not None and seen.arrived_ns[-1][0] >= frame.index
            if seen is None or seen.n_breaks != frame.n_breaks or restarted:
                # The gap says nothing of the rate.
                seen = self._seen[frame.source_id] = _Seen(frame.n_breaks)
            seen.captured_ns.append(frame.captured_ns)
            seen.arrived_ns.append((frame.index, now_ns))

    def forget(self, source_id: str) -> None:
        """The source has ended."""
        with self._lock:
            self._seen.pop(source_id, None)

    @property
    def count(self) -> int:
        """Frames noted so far, of all sources."""
        with self._lock:
            return self._count

    def arrived_ns(self, frame: Frame) -> int | None:
        """When a frame was noted; None where that was too long ago."""
        with self._lock:
            seen = self._seen.get(frame.source_id)
            for index, at_ns in reversed(seen.arrived_ns if seen is not None else ()):
                if index == frame.index:
                    return at_ns
            return None

    def interval_ns(self, source_id: str) -> int | None:
        """Mean time between the last frames of a source as captured; None before LEAST of them."""
        with self._lock:
            seen = self._seen.get(source_id)
            return _interval_ns(seen.captured_ns) if seen is not None else None

    def rates(self) -> dict[str, float]:
        """Frames per second of every source whose rate is known."""
        with self._lock:
            intervals = {name: _interval_ns(seen.captured_ns) for name, seen in self._seen.items()}
        return {name: 1e9 / interval for name, interval in intervals.items() if interval}


def _interval_ns(captured_ns: deque[int]) -> int | None:
    if len(captured_ns) < LEAST:
        return None
    interval = (captured_ns[-1] - captured_ns[0]) // (len(captured_ns) - 1)
    return interval if interval > 0 else None
