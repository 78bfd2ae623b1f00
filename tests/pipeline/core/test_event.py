"""Events: ids, phases and their JSON."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.event import INSTANT, Event, EventKind, event_id


def make(kind: EventKind = EventKind.VISIT, start_s: float = 1.0, end_s: float | None = None, **more: Any) -> Event:
    return Event(event_id("cam", kind, "door", start_s, (4,)), kind, "door", "cam", start_s, end_s, 0, 0, **more)


def test_one_event_keeps_its_id_from_begin_to_end() -> None:
    assert make(end_s=None).event_id == make(end_s=3.0, track_ids=(4, 9)).event_id


@pytest.mark.parametrize(
    "other",
    [
        event_id("cam2", EventKind.VISIT, "door", 1.0, (4,)),
        event_id("cam", EventKind.LOITERING, "door", 1.0, (4,)),
        event_id("cam", EventKind.VISIT, "gate", 1.0, (4,)),
        event_id("cam", EventKind.VISIT, "door", 1.000001, (4,)),
        event_id("cam", EventKind.VISIT, "door", 1.0, (5,)),
        event_id("cam", EventKind.VISIT, "door", 1.0, ()),
    ],
)
def test_different_events_have_different_ids(other: str) -> None:
    assert other != event_id("cam", EventKind.VISIT, "door", 1.0, (4, 8))
    assert len(other) == 16
    assert int(other, 16) >= 0


def test_names_do_not_run_into_each_other() -> None:
    assert event_id("ab", EventKind.VISIT, "c", 0, ()) != event_id("a", EventKind.VISIT, "bc", 0, ())


@pytest.mark.parametrize(
    ("kind", "end_s", "phase"),
    [
        (EventKind.VISIT, None, "begin"),
        (EventKind.VISIT, 2.0, "end"),
        # A visit of a single frame has ended, even though it took no time.
        (EventKind.VISIT, 1.0, "end"),
        (EventKind.CROSSING, 1.0, "instant"),
        (EventKind.SUDDEN_STOP, 1.0, "instant"),
    ],
)
def test_phase(kind: EventKind, end_s: float | None, phase: str) -> None:
    assert make(kind, end_s=end_s).phase == phase
    assert (phase == "instant") == (kind in INSTANT)


def test_an_event_cannot_end_before_it_starts() -> None:
    with pytest.raises(UsageError, match=r"wanted an end at or after 1\.0 s, found 0\.5 s"):
        make(end_s=0.5)


def test_json_rounds_and_says_what_is_not_known() -> None:
    values = {"dwell_s": 0.123456, "label": "a", "n": 3, "late": True}
    record = make(box=(1.239, 2.0, 3.0, 4.0), values=values).to_json()
    assert record["box"] == [1.24, 2.0, 3.0, 4.0]
    assert record["values"] == {"dwell_s": 0.1235, "label": "a", "n": 3, "late": True}
    assert [record[key] for key in ("end_s", "class_id", "class", "snapshot", "clip")] == [None] * 5
