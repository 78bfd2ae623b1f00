"""Events with all that is known of the object or zone they are about."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.analytics.objects import ObjectTable
from pipeline.core.event import Event, EventKind, Value, event_id


class EventMaker:
    """Makes the events of one source.

    Args:
        source_id: the source.
        class_names: names by class_id.
        objects: what is known of each object.
    """

    def __init__(self, source_id: str, class_names: tuple[str, ...], objects: ObjectTable) -> None:
        self._source_id = source_id
        self._class_names = class_names
        self._objects = objects

    def of_object(
        self,
        kind: EventKind,
        rule: str,
        slot: int,
        frame: int,
        *,
        start: tuple[float, int],
        end_s: float | None,
        values: Mapping[str, Value] | None = None,
    ) -> Event:
        """An event of the object in a slot; its box is the one at the last sighting.

        Args:
            kind: what happened.
            rule: name of the rule.
            slot: the object's.
            frame: index of the frame that tells it.
            start: when it began: seconds, and `captured_ns` of that frame.
            end_s: when it ended, or None while it goes on.
            values: what belongs to the kind.
        """
        objects = self._objects
        class_id = int(objects.class_id[slot])
        known = 0 <= class_id < len(self._class_names)
        x1, y1, x2, y2 = objects.last_xyxy[slot].tolist()
        ids = objects.track_ids(slot)
        return Event(
            event_id(self._source_id, kind, rule, start[0], ids),
            kind,
            rule,
            self._source_id,
            start[0],
            end_s,
            start[1],
            frame,
            ids,
            class_id,
            self._class_names[class_id] if known else f"class {class_id}",
            (x1, y1, x2, y2),
            bool(objects.last_predicted[slot]),
            dict(values or {}),
        )

    def of_zone(
        self,
        kind: EventKind,
        rule: str,
        frame: int,
        *,
        start: tuple[float, int],
        end_s: float | None,
        track_ids: tuple[int, ...] = (),
        values: Mapping[str, Value] | None = None,
    ) -> Event:
        """An event of a zone and no single object. Arguments as in `of_object`; `track_ids`: who is in it."""
        return Event(
            event_id(self._source_id, kind, rule, start[0], ()),
            kind,
            rule,
            self._source_id,
            start[0],
            end_s,
            start[1],
            frame,
            track_ids,
            values=dict(values or {}),
        )
