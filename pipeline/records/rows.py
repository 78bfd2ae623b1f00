"""The records of a store, as they are read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.core.event import Event, EventKind, Value
from pipeline.core.scene import Heatmap


@dataclass(frozen=True, slots=True)
class StoredRun:
    """One run of the pipeline.

    Attributes:
        run_id: sorts by start.
        started_utc: when it began.
        ended_utc: when it ended; None while it goes on and where it was killed.
        alive_utc: when it last said that it lives.
        status: `running`, `completed`, `interrupted`, `partial` (some sources failed) or `failed`. A killed run is
            read as `interrupted`.
        version: Tracklight's.
        config_digest: equal for runs of equal sources, models and rules.
        command: the command line, without credentials.
        process: host, number and start of its process.
    """

    run_id: str
    started_utc: datetime
    ended_utc: datetime | None
    alive_utc: datetime
    status: str
    version: str
    config_digest: str
    command: str
    process: str


@dataclass(frozen=True, slots=True)
class StoredSource:
    """One source of a run.

    Attributes:
        run_id: the run.
        source_id: unique within the run.
        address: file or URL, without credentials; empty where nobody told.
        is_live: a camera or stream; False for recorded footage.
        width_px: of its frames.
        height_px: of its frames.
        first_utc: wall time of its first frame; None for recorded footage whose time nobody told.
        first_s: time of its first frame (s), as in Event; None before it.
        last_s: time of its last frame so far (s).
        frames: how many have passed.
        ended: its last frame has passed.
    """

    run_id: str
    source_id: str
    address: str
    is_live: bool
    width_px: int
    height_px: int
    first_utc: datetime | None
    first_s: float | None
    last_s: float | None
    frames: int
    ended: bool


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event. Attributes as in `pipeline.core.event.Event`, and its wall time where that is known."""

    run_id: str
    event_id: str
    kind: EventKind
    rule: str
    source_id: str
    start_s: float
    end_s: float | None
    start_utc: datetime | None
    end_utc: datetime | None
    frame: int
    class_id: int
    class_name: str
    track_ids: tuple[int, ...]
    box: tuple[float, float, float, float] | None
    predicted: bool
    values: Mapping[str, Value]
    snapshot: str
    clip: str

    @property
    def duration_s(self) -> float | None:
        """How long it lasted, or None while it goes on."""
        return None if self.end_s is None else self.end_s - self.start_s

    def to_json(self) -> dict[str, object]:
        """Plain values: those of `Event.to_json`, the run, and wall times in ISO 8601."""
        event = Event(
            self.event_id,
            self.kind,
            self.rule,
            self.source_id,
            self.start_s,
            self.end_s,
            0,
            self.frame,
            self.track_ids,
            self.class_id,
            self.class_name,
            self.box,
            self.predicted,
            self.values,
            self.snapshot,
            self.clip,
        )
        times = {"start_utc": _iso(self.start_utc), "end_utc": _iso(self.end_utc)}
        return {"run": self.run_id, **event.to_json(), **times}


@dataclass(frozen=True, slots=True, eq=False)
class StoredHeatmap:
    """The heatmap of one source of a run."""

    run_id: str
    source_id: str
    heatmap: Heatmap


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """One number of a rule over a whole source: `rule`, `name` and `value` as in `Closing.summary`."""

    run_id: str
    source_id: str
    rule: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to read. Everything left out means all.

    Attributes:
        run: a run's id; `all`; or empty for the runs that count: of recorded footage the newest run of each source,
            of live sources all runs.
        sources: ids of sources.
        kinds: kinds of events.
        rules: names of rules.
        classes: names of classes.
        since: events that begin at or after it: a wall time, or seconds of the source's own time.
        until: events that begin before it.
        limit: at most so many, the newest.
        event_id: ids that begin so.
    """

    run: str = ""
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    since: datetime | float | None = None
    until: datetime | float | None = None
    limit: int | None = None
    event_id: str = field(default="")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
