"""A run of the real pipeline at 50 frames/s with an event at every frame, for tests that kill it.

    python store_child.py SETTINGS.json

Settings: `store`, `n_frames`, `is_live`, and `sink` (settings of the store). Each event is printed as it is handed
over: its id and the monotonic time (s).
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.run_facts import RunFacts
from pipeline.core.scene import Closing
from pipeline.core.tracks import Tracks
from pipeline.runtime.runner import Runner
from pipeline.runtime.sink_worker import SinkBinding
from sinks.event_store import EventStoreConfig, EventStoreSink

FPS = 50
VISIT_FRAMES = 25


class PacedSource:
    """Frames of one colour at their own rate."""

    source_id = "gate"
    counters: dict[str, int] = {}  # noqa: RUF012 - as in the protocol

    def __init__(self, n_frames: int, is_live: bool) -> None:
        self._n_frames = n_frames
        self._is_live = is_live
        self._index = 0
        self._stopped = threading.Event()
        self._clock = MonotonicClock()
        self._image = np.full((48, 64, 3), 90, np.uint8)

    def open(self) -> StreamInfo:
        self._began_ns = self._clock.now_ns()
        return StreamInfo(self.source_id, 64, 48, FPS, self._is_live, None)

    def read(self) -> Frame | None:
        due_ns = self._began_ns + self._index * 10**9 // FPS
        if self._index >= self._n_frames or not self._clock.wait_until(due_ns, self._stopped):
            return None
        index, self._index = self._index, self._index + 1
        pts_s = None if self._is_live else index / FPS
        return Frame(self.source_id, index, self._image, pts_s, self._clock.now_ns(), CaptureClock.RECEIVE)

    def interrupt(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        pass


class NoDetector:
    """Sees nothing."""

    class_names = ("person",)

    def warmup(self) -> None:
        pass

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [Detections.empty() for _ in frames]

    def close(self) -> None:
        pass


class EventfulAnalyst:
    """A crossing at every frame, and a visit that begins and one that ends every half second."""

    def __init__(self, info: StreamInfo) -> None:
        self._info = info
        self._visit: Event | None = None
        self._last: Frame | None = None
        self._period = -1

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], None]:
        self._last = frame
        events = [self._event(frame, EventKind.CROSSING, "line", self._time_s(frame), None)]
        # A camera's frames may be dropped, and among them the one at which a visit would begin.
        if frame.index // VISIT_FRAMES != self._period:
            self._period = frame.index // VISIT_FRAMES
            events += self._end_visit(frame)
            self._visit = self._event(frame, EventKind.VISIT, "zone", None, None)
            events.append(self._visit)
        for event in events:
            print(event.event_id, time.monotonic(), flush=True)
        return tuple(events), None

    def finish(self) -> Closing:
        frame = self._last
        if frame is None:
            return Closing(self._info.source_id, 0.0, 0)
        return Closing(
            self._info.source_id,
            self._time_s(frame),
            frame.captured_ns,
            tuple(self._end_visit(frame)),
            summary={"zone": {"occupancy_mean": 1.0, "occupancy_max": 2.0}},
        )

    def _end_visit(self, frame: Frame) -> list[Event]:
        return (
            []
            if self._visit is None
            else [self._event(frame, EventKind.VISIT, "zone", self._time_s(frame), self._visit)]
        )

    def _event(self, frame: Frame, kind: EventKind, rule: str, end_s: float | None, begun: Event | None) -> Event:
        start_s, start_ns = (begun.start_s, begun.captured_ns) if begun else (self._time_s(frame), frame.captured_ns)
        ids = begun.track_ids if begun else (frame.index + 1,)
        return Event(
            event_id(self._info.source_id, kind, rule, start_s, ids),
            *(kind, rule, self._info.source_id, start_s, end_s, start_ns, frame.index, ids, 0, "person"),
            box=(5.0, 6.0, 30.0, 40.0),
            values={"direction": "in", "n": frame.index},
        )

    def _time_s(self, frame: Frame) -> float:
        return frame.captured_ns / 1e9 if frame.pts_s is None else frame.pts_s


def main() -> None:
    """Run to the end, or until killed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    settings = json.loads(Path(sys.argv[1]).read_text())
    sink = EventStoreSink(EventStoreConfig(url=settings["store"], **settings["sink"]), class_names=("person",))
    sink.begin_run(
        RunFacts("child", "digest", {"gate": "rtsp://gate/1" if settings["is_live"] else "/videos/gate.mp4"})
    )
    source = PacedSource(settings["n_frames"], settings["is_live"])
    runner = Runner(
        [source], NoDetector(), sinks=[SinkBinding("store", sink)], analyst_factory=lambda info: EventfulAnalyst(info)
    )
    report = runner.run()
    print("done", json.dumps(report.to_json()["sinks"]["store"]["counters"]), flush=True)


if __name__ == "__main__":
    main()
