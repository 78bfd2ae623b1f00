"""Stores with events that nobody had to film."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.scene import Closing, Heatmap, SceneLayout
from pipeline.records.making import closing_records, event_record, layout_records, run_record, source_record
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import Record
from pipeline.records.store import Store, open_store

BEGAN = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


@dataclass
class Footage:
    """One source of one run, and its events."""

    source_id: str = "gate"
    run_id: str = "20260501-080000-000-aaaa"
    is_live: bool = False
    began: datetime = BEGAN
    """Of a live source: wall time of its first frame, which its own clock calls 1000 s."""
    length_s: float = 100.0
    address: str = ""
    status: str = "completed"
    records: list[Record] = field(default_factory=list)

    @property
    def first_s(self) -> float:
        return 1000.0 if self.is_live else 0.0

    def add(self, kind: EventKind, at_s: float, lasted_s: float | None = 0.0, **given: Any) -> Event:
        """An event so long after the first frame; `lasted_s` None: it goes on."""
        rule = given.pop("rule", "objects" if kind is EventKind.OBJECT else "door")
        track_ids = given.pop("track_ids", (len(self.records) + 1,))
        snapshot = given.pop("snapshot", "")
        values = {"class_id": 0, "class_name": "person", "box": (1.0, 2.0, 30.0, 40.0), **given}
        start_s = self.first_s + at_s
        name = event_id(self.source_id, kind, rule, start_s, track_ids)
        end_s = None if lasted_s is None else start_s + lasted_s
        event = Event(name, kind, rule, self.source_id, start_s, end_s, 0, int(at_s * 10), track_ids, **values)
        start_utc = self.began + timedelta(seconds=at_s) if self.is_live else None
        self.records.append(event_record(self.run_id, event, start_utc, snapshot, ""))
        return event

    def cross(self, at_s: float, direction: str = "in", **given: Any) -> Event:
        return self.add(EventKind.CROSSING, at_s, values={"direction": direction, "label": direction}, **given)

    def visit(self, at_s: float, lasted_s: float | None, **given: Any) -> Event:
        return self.add(EventKind.VISIT, at_s, lasted_s, **{"rule": "hall", **given})

    def begin(self, lines: tuple[str, ...] = (), zones: tuple[str, ...] = ()) -> None:
        """The source's rules, as its first frame tells them."""
        labels = (("enter", "leave"),) * len(lines)
        layout = SceneLayout(lines, labels, np.zeros((len(lines), 2, 2)), zones, (np.zeros((3, 2)),) * len(zones))
        self.records += layout_records(self.run_id, self.source_id, layout)

    def heat(self) -> None:
        presence = np.zeros((9, 16), np.float32)
        presence[4, 2:14] = np.linspace(0.5, 3, 12)
        flow = np.zeros((9, 16, 2), np.float32)
        flow[4, 2:14, 0] = 40
        closing = Closing(self.source_id, self.length_s, 0, heatmap=Heatmap(40.0, presence, flow))
        self.records += closing_records(self.run_id, closing)

    def all_records(self) -> list[Record]:
        ended = None if self.status == "running" else self.began + timedelta(seconds=self.length_s)
        run = StoredRun(
            *(self.run_id, self.began, ended, self.began, self.status, "0", "digest", "tracklight run", "elsewhere")
        )
        source = StoredSource(
            self.run_id,
            self.source_id,
            self.address or f"/videos/{self.source_id}.mp4",
            self.is_live,
            640,
            360,
            self.began if self.is_live else None,
            self.first_s,
            self.first_s + self.length_s,
            int(self.length_s * 10),
            True,
        )
        return [run_record(run), source_record(source), *self.records]


@pytest.fixture
def footage() -> type[Footage]:
    return Footage


@pytest.fixture
def make_store(tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Makes a store of footage and opens it; in a file unless a URL is given."""
    with ExitStack() as stack:

        def make(*parts: Footage, url: str = "") -> Store:
            address = url or str(tmp_path / "events.db")
            with open_store(address, read_only=False) as store:
                store.put([record for part in parts for record in part.all_records()])
            return stack.enter_context(open_store(address))

        yield make


@pytest.fixture
def busy(tmp_path: Path) -> list[Footage]:
    """A camera of a day and a half, and a recorded clip, with all that a report can show, names as bad as allowed."""
    rng = random.Random(7)
    camera = Footage("cam <b>1</b>", is_live=True, length_s=36 * 3600, address="rtsp://camera.example/live")
    clip = Footage('street & "square"', length_s=95.0)
    folder = tmp_path / "events_snapshots"
    folder.mkdir()
    for part, name in ((camera, "a"), (clip, "b")):
        span = part.length_s
        for number in range(60):
            at_s = rng.random() * span * 0.95
            kind = rng.choice(("person", "car", "bicycle"))
            part.add(EventKind.OBJECT, at_s, rng.random() * 5, class_name=kind)
            part.cross(at_s, rng.choice(("in", "out")), class_name=kind, rule="door <script>alert(1)</script>")
            part.visit(at_s, min(rng.expovariate(1 / (span / 200)), span - at_s), class_name=kind)
            if number % 10 == 0:
                path = folder / f"{name}{number}.jpg"
                cv2.imwrite(str(path), np.full((90, 160, 3), (40 + number * 3, 90, 200), np.uint8))
                picture = f"{folder.name}/{path.name}"
                values = {"threshold_s": 30.0, "dwell_s": 42.5}
                part.add(EventKind.LOITERING, at_s, 2.0, rule="hall", values=values, snapshot=picture)
        part.heat()
    return [camera, clip]
