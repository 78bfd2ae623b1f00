from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.event import Event, EventKind
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.clips import clip_path
from sinks.recorder import RecorderConfig, RecorderSink

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
FPS = 25


def event(number: int, start_s: float, end_s: float | None, kind: EventKind = EventKind.VISIT) -> Event:
    return Event(f"{number:016x}", kind, "door", "cam", start_s, end_s, 0, round(start_s * FPS))


class Footage:
    """Records 10 s (unless told otherwise) with events, and reads clips back: the times that they show."""

    def __init__(self, folder: Path, make_result: Make, info: StreamInfo, read: Callable[[Path], Any]) -> None:
        self._folder, self._make, self._info, self._read = folder, make_result, info, read
        self.counters: dict[str, int] = {}

    def record(self, told: dict[float, list[Event]], n_frames: int = 250, **clips: Any) -> None:
        settings = {"kinds": ["visit", "crossing"], "pre_s": 2.0, "post_s": 1.0} | clips
        config = RecorderConfig(
            path=self._folder, min_free_gb=0, threads=1, crf=10, annotated=False, segment_s=60, clips=settings
        )
        sink = RecorderSink(config, class_names=())
        sink.open(self._info)
        at = {round(at_s * FPS): tuple(events) for at_s, events in told.items()}
        for i in range(n_frames):
            image = np.full((48, 64, 3), i, np.uint8)
            sink.write(self._make(i, image=image, pts_s=i / FPS, events=at.get(i, ())))
        sink.close()
        self.counters = dict(sink.counters)

    def shown(self, number: int) -> tuple[float, float]:
        """First and last time (s) in the clip of an event, to a frame."""
        pictures = self._read(self.path(number)).pictures
        first, last = (round(float(picture.mean())) / FPS for picture in (pictures[0], pictures[-1]))
        assert len(pictures) == pytest.approx((last - first) * FPS + 1, abs=2)
        return first, last

    def path(self, number: int) -> Path:
        return clip_path(self._folder, "cam", f"{number:016x}")

    def names(self) -> set[str]:
        return {path.name for path in (self._folder / "clips").rglob("*.mp4")}


@pytest.fixture
def footage(tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]) -> Footage:
    return Footage(tmp_path, make_result, make_info(), read_video)


def near(first: float, last: float) -> Any:
    return pytest.approx((first, last), abs=0.081)


def test_a_moment_gets_what_was_before_and_after(footage: Footage) -> None:
    footage.record({5.0: [event(1, 5.0, 5.0, EventKind.CROSSING)]})
    # It begins with the key frame at or before 3 s; there is one every second.
    assert footage.shown(1) == near(3.0, 6.0)
    assert footage.counters["clips"] == 1


def test_what_begins_between_key_frames_begins_with_the_one_before(footage: Footage) -> None:
    footage.record({5.6: [event(1, 5.6, 5.6, EventKind.CROSSING)]})
    assert footage.shown(1) == near(3.0, 6.6)


def test_a_lasting_event_is_shown_to_its_end(footage: Footage) -> None:
    footage.record({4.0: [event(1, 4.0, None)], 7.0: [event(1, 4.0, 7.0)]})
    assert footage.shown(1) == near(2.0, 8.0)
    assert footage.counters["clips"] == 1


def test_an_event_that_is_told_at_its_end_only(footage: Footage) -> None:
    footage.record({6.0: [event(1, 5.0, 6.0)]}, pre_s=3.0)
    assert footage.shown(1) == near(2.0, 7.0)


def test_events_that_overlap_share_a_clip(footage: Footage) -> None:
    told = {
        3.0: [event(1, 3.0, None)],
        3.6: [event(2, 3.6, 3.6, EventKind.CROSSING)],
        4.0: [event(1, 3.0, 4.0)],
        4.8: [event(3, 4.8, 4.8, EventKind.CROSSING)],
        8.6: [event(4, 8.6, 8.6, EventKind.CROSSING)],
    }
    footage.record(told)
    assert [footage.shown(n) for n in (1, 2, 3)] == [near(1.0, 5.8)] * 3
    assert footage.shown(4) == near(6.0, 9.6)
    assert len({footage.path(n).stat().st_ino for n in (1, 2, 3)}) == 1
    assert footage.counters["clips"] == 4


def test_a_clip_ends_at_its_longest_and_the_end_of_its_event_begins_no_other(footage: Footage) -> None:
    footage.record({2.0: [event(1, 2.0, None)], 9.0: [event(1, 2.0, 9.0)]}, max_s=5.0)
    assert footage.shown(1) == near(0.0, 5.0)
    assert footage.names() == {f"{1:016x}.mp4"}


def test_other_kinds_get_none(footage: Footage) -> None:
    footage.record({2.0: [event(1, 2.0, 2.0, EventKind.OBJECT)]})
    assert footage.names() == set()


def test_an_event_at_the_very_beginning_and_one_that_the_end_cuts_off(footage: Footage) -> None:
    footage.record({0.4: [event(1, 0.4, 0.4, EventKind.CROSSING)], 9.0: [event(2, 9.0, None)]})
    assert footage.shown(1) == near(0.0, 1.4)
    assert footage.shown(2) == near(7.0, 9.96)


def test_without_kinds_nothing_is_made(footage: Footage) -> None:
    footage.record({2.0: [event(1, 2.0, 2.0)]}, kinds=[])
    assert footage.names() == set()
