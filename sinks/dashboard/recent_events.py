"""What happened last, of all sources, each with a small picture."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from pipeline.core.arrays import ImageArray
from pipeline.core.event import Event, EventKind
from sinks.dashboard.thumbnail import thumbnail

MOST = 300


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """One event.

    Attributes:
        event: as it was told last.
        wall_s: when it began, seconds since 1970.
        jpeg: of the object, empty where there is none.
    """

    event: Event
    wall_s: float
    jpeg: bytes


class RecentEvents:
    """Keeps the newest `MOST`; an event told twice stands once. Not for several threads at once."""

    def __init__(self) -> None:
        self._events: OrderedDict[str, RecentEvent] = OrderedDict()

    def take(self, event: Event, image: ImageArray | None) -> RecentEvent | None:
        """Note an event.

        Args:
            event: of any source.
            image: the frame that tells it, uint8 (h, w, 3) BGR.

        Returns:
            How it is kept; None for what is no news: that an object is in view stands in the list of tracks.
        """
        if event.kind is EventKind.OBJECT:
            return None
        before = self._events.pop(event.event_id, None)
        jpeg = before.jpeg if before else b""
        if not jpeg and image is not None and event.box is not None:
            jpeg = thumbnail(image, event.box)
        wall_s = time.time() - (time.monotonic_ns() - event.captured_ns) / 1e9
        kept = RecentEvent(event, before.wall_s if before else wall_s, jpeg)
        self._events[event.event_id] = kept
        if len(self._events) > MOST:
            self._events.popitem(last=False)
        return kept

    def newest(self, limit: int, source_id: str | None = None) -> list[RecentEvent]:
        """The one that began last first; of one source, or of all."""
        kept = [one for one in self._events.values() if source_id in (None, one.event.source_id)]
        return sorted(kept, key=lambda one: one.wall_s, reverse=True)[:limit]

    def picture(self, event_id: str) -> bytes:
        """A JPEG of what it is about, empty where there is none."""
        kept = self._events.get(event_id)
        return kept.jpeg if kept else b""

    def forget(self, source_id: str) -> None:
        """Let the events of a source go."""
        for event_id in [key for key, one in self._events.items() if one.event.source_id == source_id]:
            del self._events[event_id]
