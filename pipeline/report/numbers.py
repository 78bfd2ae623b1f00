"""What a report says, as plain numbers: the one thing that tables, page and JSON are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.core.event import EventKind
from pipeline.core.scene import Heatmap
from pipeline.records.buckets import Bucket, utc_of
from pipeline.records.rows import StoredEvent

INCIDENTS = (
    EventKind.LOITERING,
    EventKind.CROWDING,
    EventKind.EMPTY,
    EventKind.SPEEDING,
    EventKind.WRONG_WAY,
    EventKind.STOPPED,
    EventKind.SUDDEN_STOP,
)
"""Kinds that somebody asked to be told of, as opposed to what is merely counted."""
DIRECTIONS = ("in", "out")
NO_CLASS = "—"
"""Of events of no single object."""

Counts = Mapping[str, tuple[int, ...]]
"""By class: one number for each span of time."""


def total(counts: Counts) -> int:
    """The sum over classes and spans."""
    return sum(map(sum, counts.values()))


def by_class(counts: Counts) -> dict[str, int]:
    """Sums over spans."""
    return {name: sum(numbers) for name, numbers in counts.items()}


@dataclass(frozen=True, slots=True)
class LineNumbers:
    """Crossings of one line.

    Attributes:
        name: of the line.
        labels: what the directions in and out are called.
        counts: by direction.
    """

    name: str
    labels: tuple[str, str]
    counts: tuple[Counts, Counts]

    @property
    def totals(self) -> tuple[int, int]:
        """In and out."""
        return total(self.counts[0]), total(self.counts[1])

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        sides = zip(DIRECTIONS, self.labels, self.counts, strict=True)
        return {
            "name": self.name,
            **{
                side: {"label": label, "total": total(counts), "by_class": by_class(counts)}
                for side, label, counts in sides
            },
        }


@dataclass(frozen=True, slots=True)
class DwellNumbers:
    """How long visits lasted (s). Percentiles are of the nearest rank: always a dwell that was measured."""

    mean_s: float
    median_s: float
    p90_s: float
    max_s: float

    @property
    def all_s(self) -> tuple[float, float, float, float]:
        """In the order in which tables show them."""
        return self.mean_s, self.median_s, self.p90_s, self.max_s

    def to_json(self) -> dict[str, float]:
        """Plain values, to the millisecond."""
        return {name: round(getattr(self, name), 3) for name in ("mean_s", "median_s", "p90_s", "max_s")}


@dataclass(frozen=True, slots=True)
class ZoneNumbers:
    """Visits to one zone.

    Attributes:
        name: of the zone.
        visits: those that began, by class.
        n_open: of them, how many have no end: they go on, or the run was cut off.
        dwell: of those that ended; None where none did.
        histogram: upper bounds (s) of intervals of dwell, and how many visits are in each.
        occupancy_mean: objects in the zone, averaged over the time that was watched; None where no time passed.
        occupancy_max: the most at any instant.
        mean_by_span: the average by span; None where the span was not watched.
        max_by_span: the most by span.
    """

    name: str
    visits: Counts
    n_open: int
    dwell: DwellNumbers | None
    histogram: tuple[tuple[float, int], ...]
    occupancy_mean: float | None
    occupancy_max: int
    mean_by_span: tuple[float | None, ...]
    max_by_span: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "name": self.name,
            "visits": total(self.visits),
            "by_class": by_class(self.visits),
            "without_end": self.n_open,
            "dwell": None if self.dwell is None else self.dwell.to_json(),
            "occupancy_mean": _rounded(self.occupancy_mean),
            "occupancy_max": self.occupancy_max,
        }


@dataclass(frozen=True, slots=True)
class KindNumbers:
    """Events of one kind and rule: how many, and how long they lasted in all (s)."""

    kind: EventKind
    rule: str
    n: int
    lasted_s: float

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {"kind": str(self.kind), "rule": self.rule, "n": self.n, "lasted_s": round(self.lasted_s, 3)}


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event with its begin and end in the times of its source (s); the end is None while it goes on."""

    start_s: float
    end_s: float | None
    event: StoredEvent

    @property
    def is_incident(self) -> bool:
        """Somebody asked to be told of it."""
        return self.event.kind in INCIDENTS


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """One run that a source took part in: its id, and how it ended."""

    run_id: str
    status: str


@dataclass(frozen=True, slots=True, eq=False)
class SourceNumbers:
    """All that a report says of one source.

    Attributes:
        source_id: which.
        address: file or URL, without credentials; empty where nobody told.
        is_live: a camera or stream.
        on_clock: times are seconds since 1970; otherwise seconds of the footage.
        runs: those that it took part in.
        size_px: width and height of its frames.
        frames: how many were seen.
        first_s: when the time that is looked at begins.
        last_s: when it ends.
        watched_s: how much of it was watched.
        step_s: length of a span.
        asked_step_s: the length that was asked for, where it would have made too many spans; else 0.
        spans: all spans from first to last.
        objects: unique objects by class, in the span of their first sighting.
        lines: by name.
        zones: by name.
        kinds: events by kind and rule.
        incidents: events of the kinds `INCIDENTS` by kind, in the span in which they begin.
        n_events: all events.
        rows: events for a table, in order of time: incidents first of all, then the newest.
        n_rows: how many events could be in the table.
        pictured: events that have a picture, the most telling first.
        n_pictured: how many events have one.
        heatmap: or None.
    """

    source_id: str
    address: str
    is_live: bool
    on_clock: bool
    runs: tuple[RunNumbers, ...]
    size_px: tuple[int, int]
    frames: int
    first_s: float
    last_s: float
    watched_s: float
    step_s: int
    asked_step_s: int
    spans: tuple[Bucket, ...]
    objects: Counts
    lines: tuple[LineNumbers, ...]
    zones: tuple[ZoneNumbers, ...]
    kinds: tuple[KindNumbers, ...]
    incidents: Counts
    n_events: int
    rows: tuple[TimedEvent, ...]
    n_rows: int
    pictured: tuple[TimedEvent, ...]
    n_pictured: int
    heatmap: Heatmap | None

    @property
    def headline(self) -> dict[str, int]:
        """The numbers that are shown large."""
        crossings = [line.totals for line in self.lines]
        return {
            "objects": total(self.objects),
            "crossings_in": sum(n_in for n_in, _ in crossings),
            "crossings_out": sum(n_out for _, n_out in crossings),
            "visits": sum(total(zone.visits) for zone in self.zones),
            "incidents": total(self.incidents),
        }

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "source": self.source_id,
            "address": self.address or None,
            "is_live": self.is_live,
            "runs": [{"run": run.run_id, "status": run.status} for run in self.runs],
            "first": self._time(self.first_s),
            "last": self._time(self.last_s),
            "watched_s": round(self.watched_s, 3),
            "frames": self.frames,
            "events": self.n_events,
            "headline": self.headline,
            "objects": by_class(self.objects),
            "lines": [line.to_json() for line in self.lines],
            "zones": [zone.to_json() for zone in self.zones],
            "kinds": [kind.to_json() for kind in self.kinds],
            "step_s": self.step_s,
            "buckets": [self._bucket(number) for number in range(len(self.spans))],
        }

    def _bucket(self, number: int) -> dict[str, object]:
        def at(counts: Counts) -> dict[str, int]:
            return {name: numbers[number] for name, numbers in counts.items() if numbers[number]}

        span = self.spans[number]
        return {
            "start": self._time(span.start_s),
            "end": self._time(span.end_s),
            "objects": at(self.objects),
            "crossings": {
                line.name: {side: at(counts) for side, counts in zip(DIRECTIONS, line.counts, strict=True)}
                for line in self.lines
            },
            "visits": {zone.name: at(zone.visits) for zone in self.zones},
            "occupancy": {
                zone.name: {"mean": _rounded(zone.mean_by_span[number]), "max": zone.max_by_span[number]}
                for zone in self.zones
            },
            "incidents": at(self.incidents),
        }

    def _time(self, time_s: float) -> object:
        if not self.on_clock:
            return round(time_s, 3)
        return utc_of(time_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, eq=False)
class ReportNumbers:
    """A whole report.

    Attributes:
        store: where the events are, without credentials.
        made: when the report was made, in the zone of its times.
        zone: what the zone of its times is called.
        version: Tracklight's.
        chosen: which events were asked for, in words; empty for all.
        sources: by name.
    """

    store: str
    made: datetime
    zone: str
    version: str
    chosen: str
    sources: tuple[SourceNumbers, ...]

    @property
    def nothing_in_words(self) -> str:
        """What to say where there is nothing to tell; empty where events, or zeros of lines and zones, are shown."""
        if any(source.n_events for source in self.sources):
            return ""
        if self.chosen:
            return "no event fits what was asked for"
        return "" if any(source.lines or source.zones for source in self.sources) else "nothing was recorded"

    @property
    def headline(self) -> dict[str, int]:
        """Sums over the sources."""
        names = ("objects", "crossings_in", "crossings_out", "visits", "incidents")
        return {name: sum(source.headline[name] for source in self.sources) for name in names}

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return {
            "store": self.store,
            "made": self.made.isoformat(timespec="seconds"),
            "timezone": self.zone,
            "tracklight": self.version,
            "chosen": self.chosen or None,
            "headline": self.headline,
            "sources": [source.to_json() for source in self.sources],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
