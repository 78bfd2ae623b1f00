"""Gathers the events of one source and works out its numbers."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import tzinfo

import numpy as np

from pipeline.core.event import EventKind
from pipeline.core.percentile import nearest_rank
from pipeline.core.scene import Heatmap
from pipeline.records.buckets import Bucket
from pipeline.records.rows import StoredEvent, StoredRun
from pipeline.report.numbers import (
    DIRECTIONS,
    NO_CLASS,
    Counts,
    DwellNumbers,
    KindNumbers,
    LineNumbers,
    SourceNumbers,
    TimedEvent,
    ZoneNumbers,
)
from pipeline.report.occupancy import clipped, most_by_span, seconds_by_span
from pipeline.report.sections import Section, timescale

_BARS = 12
"""Intervals of a histogram of dwell, at most."""
_ROUND = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)

_Times = defaultdict[str, "array[float]"]


def _times() -> _Times:
    return defaultdict(lambda: array("d"))


class _Zone:
    """Visits to one zone: begins by class, ends where there are some."""

    def __init__(self) -> None:
        self.starts = _times()
        self.dwell = array("d")
        self.stays: list[tuple[float, float]] = []
        self.n_open = 0


class Tally:
    """Takes the events of one source one by one; its memory grows by a few numbers each.

    Args:
        section: the source.
        n_rows: most events to keep for a table.
        n_pictures: most events with a picture to keep.
    """

    def __init__(self, section: Section, n_rows: int, n_pictures: int) -> None:
        self._section = section
        self._objects = _times()
        self._lines: dict[str, tuple[_Times, _Times]] = {}
        self._labels: dict[str, list[str]] = {}
        self._zones: dict[str, _Zone] = {}
        self._incidents = _times()
        self._kinds: Counter[tuple[EventKind, str]] = Counter()
        self._lasted_s: defaultdict[tuple[EventKind, str], float] = defaultdict(float)
        self._rows: tuple[deque[TimedEvent], ...] = (deque(maxlen=n_rows), deque(maxlen=n_rows))
        self._pictured: tuple[deque[TimedEvent], ...] = tuple(deque(maxlen=n_pictures) for _ in range(3))
        self._n_rows = self._n_pictured = 0
        self._most_rows = n_rows
        self._first_s, self._last_s = math.inf, -math.inf

    def add(self, event: StoredEvent) -> None:
        """Count an event that was asked for. Events come in order of time."""
        start_s, end_s = self._section.interval(event)
        self._first_s, self._last_s = min(self._first_s, start_s), max(self._last_s, start_s)
        key = (event.kind, event.rule)
        self._kinds[key] += 1
        self._lasted_s[key] += 0.0 if end_s is None else end_s - start_s
        name = event.class_name or NO_CLASS
        if event.kind is EventKind.OBJECT:
            self._objects[name].append(start_s)
        elif event.kind is EventKind.CROSSING:
            self._cross(event, name, start_s)
        elif event.kind is EventKind.VISIT:
            zone = self._zones.setdefault(event.rule, _Zone())
            zone.starts[name].append(start_s)
            if end_s is None:
                zone.n_open += 1
            else:
                zone.dwell.append(end_s - start_s)
            self._stay(zone, event, start_s, end_s)
        else:
            self._incidents[str(event.kind)].append(start_s)
        self._keep(TimedEvent(start_s, end_s, event))

    def add_earlier_visit(self, event: StoredEvent) -> None:
        """A visit that began before the times that were asked for: it may still have gone on then."""
        zone = self._zones.setdefault(event.rule, _Zone())
        self._stay(zone, event, *self._section.interval(event))

    def expect_line(self, name: str) -> None:
        """There is a line of that name, though nobody may have crossed it."""
        self._lines.setdefault(name, (_times(), _times()))
        self._labels.setdefault(name, list(DIRECTIONS))

    def expect_zone(self, name: str) -> None:
        """There is a zone of that name, though nobody may have come."""
        self._zones.setdefault(name, _Zone())

    def _cross(self, event: StoredEvent, name: str, start_s: float) -> None:
        side = DIRECTIONS.index("out") if event.values.get("direction") == "out" else DIRECTIONS.index("in")
        self.expect_line(event.rule)
        self._lines[event.rule][side][name].append(start_s)
        self._labels[event.rule][side] = str(event.values.get("label") or DIRECTIONS[side])

    def _stay(self, zone: _Zone, event: StoredEvent, start_s: float, end_s: float | None) -> None:
        if end_s is None:
            last_s = self._section.last_seen_s(event.run_id)
            end_s = start_s if last_s is None else max(last_s, start_s)
        zone.stays.append((start_s, end_s))

    def _keep(self, timed: TimedEvent) -> None:
        if timed.event.snapshot:
            self._n_pictured += 1
            # An empty place is the least to look at.
            group = 2 if timed.event.kind is EventKind.EMPTY else 0 if timed.is_incident else 1
            self._pictured[group].append(timed)
        if timed.event.kind is not EventKind.OBJECT:
            self._n_rows += 1
            self._rows[not timed.is_incident].append(timed)

    # -- the end ------------------------------------------------------------------------------------------------------

    def numbers(
        self, runs: Sequence[StoredRun], by: str | None, zone: tzinfo, heatmap: Heatmap | None
    ) -> SourceNumbers:
        """All numbers of the source.

        Args:
            runs: those of the store.
            by: length of the spans, or None for one that suits.
            zone: of the clock.
            heatmap: or None.
        """
        section, watched = self._section, self._section.watched()
        first_s = min([self._first_s, *(start for start, _ in watched)])
        last_s = max([self._last_s, *(end for _, end in watched)])
        if math.isinf(first_s):
            first_s = last_s = 0.0
        scale, asked_step_s = timescale(last_s - first_s, by, zone if section.on_clock else None)
        spans = tuple(scale.spans(first_s, last_s)) if self._last_s > -math.inf or watched else ()
        return SourceNumbers(
            section.source_id,
            next((row.address for row in reversed(section.rows) if row.address), ""),
            section.is_live,
            section.on_clock,
            section.runs(runs),
            (section.rows[-1].width_px, section.rows[-1].height_px),
            sum(row.frames for row in section.rows),
            first_s,
            last_s,
            sum(end - start for start, end in watched),
            scale.step_s,
            asked_step_s,
            spans,
            _counts(self._objects, spans),
            tuple(self._line(name, spans) for name in sorted(self._lines)),
            tuple(self._zone(name, spans, watched) for name in sorted(self._zones)),
            tuple(KindNumbers(*key, self._kinds[key], self._lasted_s[key]) for key in sorted(self._kinds)),
            _counts(self._incidents, spans),
            self._kinds.total(),
            self._table(),
            self._n_rows,
            tuple(timed for group in self._pictured for timed in reversed(group)),
            self._n_pictured,
            heatmap,
        )

    def _line(self, name: str, spans: Sequence[Bucket]) -> LineNumbers:
        into, out = self._lines[name]
        label_in, label_out = self._labels[name]
        return LineNumbers(name, (label_in, label_out), (_counts(into, spans), _counts(out, spans)))

    def _zone(self, name: str, spans: Sequence[Bucket], watched: Sequence[tuple[float, float]]) -> ZoneNumbers:
        zone = self._zones[name]
        stays = clipped(zone.stays, *self._section.window)
        stayed_s, watched_s = seconds_by_span(stays, spans), seconds_by_span(watched, spans)
        most = most_by_span(stays, spans)
        length_s = float(watched_s.sum())
        return ZoneNumbers(
            name,
            _counts(zone.starts, spans),
            zone.n_open,
            _dwell(zone.dwell),
            _histogram(zone.dwell),
            float(stayed_s.sum() / length_s) if length_s > 0 else None,
            int(most.max(initial=0)),
            tuple(float(n / of) if of > 0 else None for n, of in zip(stayed_s, watched_s, strict=True)),
            tuple(most.tolist()),
        )

    def _table(self) -> tuple[TimedEvent, ...]:
        """Incidents first of all, then the newest of the others; in order of time."""
        incidents, others = self._rows
        n_others = self._most_rows - len(incidents)
        kept = [*incidents, *(list(others)[-n_others:] if n_others else [])]
        return tuple(sorted(kept, key=lambda timed: (timed.start_s, timed.event.event_id)))


def _counts(times: Mapping[str, Sequence[float]], spans: Sequence[Bucket]) -> Counts:
    """By class, the most frequent first: how many times lie in each span."""
    starts = np.array([span.start_s for span in spans])
    counts = {
        name: np.bincount(np.searchsorted(starts, np.asarray(values, np.float64), "right") - 1, minlength=len(spans))
        for name, values in times.items()
    }
    ordered = sorted(counts, key=lambda name: (-counts[name].sum(), name))
    return {name: tuple(counts[name].tolist()) for name in ordered}


def _dwell(seconds: Sequence[float]) -> DwellNumbers | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    median_s, p90_s = (ordered[nearest_rank(fraction, len(ordered)) - 1] for fraction in (0.5, 0.9))
    return DwellNumbers(math.fsum(ordered) / len(ordered), median_s, p90_s, ordered[-1])


def _histogram(seconds: Sequence[float]) -> tuple[tuple[float, int], ...]:
    """Intervals of equal, round length."""
    if not seconds:
        return ()
    longest_s = max(seconds)
    width = next((step for step in _ROUND if longest_s / step <= _BARS), math.ceil(longest_s / _BARS))
    n_bars = math.floor(longest_s / width) + 1
    counts = np.bincount(np.floor_divide(seconds, width).astype(np.int64), minlength=n_bars)
    return tuple((float(width * (number + 1)), int(n)) for number, n in enumerate(counts))
