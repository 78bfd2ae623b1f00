"""What analytics saw happen: typed records that outlive the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.core.errors import UsageError

Value = float | int | str | bool


class EventKind(StrEnum):
    """What kind of thing happened."""

    OBJECT = "object"
    """An object was in view: from its first to its last sighting. Counting these counts unique objects."""
    CROSSING = "crossing"
    """An object crossed a line. `values`: direction (`in`, `out`), label."""
    VISIT = "visit"
    """An object was in a zone: from enter to exit. `values` at its end: dwell_s, object_dwell_s, visit (1, 2, ...)."""
    LOITERING = "loitering"
    """A visit went on for longer than the zone allows. `values`: threshold_s, dwell_s."""
    CROWDING = "crowding"
    """More objects in a zone than it allows. `values`: threshold, peak."""
    EMPTY = "empty"
    """Nobody in a zone for longer than it allows. `values`: threshold_s, empty_s."""
    SPEEDING = "speeding"
    """Faster than a zone allows. `values`: limit, peak, unit."""
    WRONG_WAY = "wrong_way"
    """Motion against the direction of a zone. `values`: heading_deg, speed, unit."""
    STOPPED = "stopped"
    """An object that stands still in a zone for longer than it allows. `values`: threshold_s, stopped_s."""
    SUDDEN_STOP = "sudden_stop"
    """An object that lost speed faster than a zone allows. `values`: from_speed, to_speed, unit."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. A lasting event is told twice under one id: when it begins and when it has ended.

    Attributes:
        event_id: 16 hexadecimal digits, the same whenever the same footage is analysed with the same rules.
        kind: what happened.
        rule: name of the line, zone or other rule; unique within the source.
        source_id: where.
        start_s: when it began (s): media time of a recorded source, capture time of a live one.
        end_s: when it ended (s); None while it goes on; equal to `start_s` for what has no duration.
        captured_ns: `Frame.captured_ns` of the frame at `start_s`; a live source's records get their wall time from it.
        frame: index of the frame that tells it.
        track_ids: the tracker's ids of the objects involved; of one object, the ids it had, the first one first, and no
            more than 256.
        class_id: of the object, -1 where the event is of no single object.
        class_name: the same in words, empty where there is none.
        box: xyxy px in that frame, the evidence; None where the event is of no single object.
        predicted: the box is the tracker's prediction, no detection.
        values: what belongs to the kind.
        snapshot: path or address of a picture of it, empty where there is none.
        clip: where footage of it is, empty where there is none.

    Raises:
        UsageError: it ends before it starts.
    """

    event_id: str
    kind: EventKind
    rule: str
    source_id: str
    start_s: float
    end_s: float | None
    captured_ns: int
    frame: int
    track_ids: tuple[int, ...] = ()
    class_id: int = -1
    class_name: str = ""
    box: tuple[float, float, float, float] | None = None
    predicted: bool = False
    values: Mapping[str, Value] = field(default_factory=dict)
    snapshot: str = ""
    clip: str = ""

    def __post_init__(self) -> None:
        if self.end_s is not None and self.end_s < self.start_s:
            raise UsageError(f"Event {self.rule}: wanted an end at or after {self.start_s} s, found {self.end_s} s")

    @property
    def phase(self) -> str:
        """`begin` while it goes on, `end` once a lasting event is over, `instant` for what has no duration."""
        if self.end_s is None:
            return "begin"
        return "instant" if self.kind in INSTANT else "end"

    def to_json(self) -> dict[str, object]:
        """Plain values; times with 6 decimals, pixels with 2, other floats with 4."""
        return {
            "event_id": self.event_id,
            "kind": str(self.kind),
            "phase": self.phase,
            "rule": self.rule,
            "source": self.source_id,
            "start_s": round(self.start_s, 6),
            "end_s": None if self.end_s is None else round(self.end_s, 6),
            "frame": self.frame,
            "track_ids": list(self.track_ids),
            "class_id": None if self.class_id < 0 else self.class_id,
            "class": self.class_name or None,
            "box": None if self.box is None else [round(value, 2) for value in self.box],
            "predicted": self.predicted,
            "values": {k: round(v, 4) if isinstance(v, float) else v for k, v in self.values.items()},
            "snapshot": self.snapshot or None,
            "clip": self.clip or None,
        }


INSTANT = frozenset({EventKind.CROSSING, EventKind.SUDDEN_STOP})
"""Kinds without a duration."""


def event_id(source_id: str, kind: EventKind, rule: str, start_s: float, track_ids: Sequence[int]) -> str:
    """The id of an event: a digest of where, what, when (to the microsecond) and, of one object, its first id."""
    first = track_ids[0] if track_ids else 0
    text = f"{source_id}\0{kind}\0{rule}\0{round(start_s * 1e6)}\0{first}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
