"""Which sources a report has, what was watched of each, and how their times are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from pipeline.records.buckets import BY, Timescale, choose_step_s, clock_s, coarser_steps_s
from pipeline.records.rows import EventFilter, StoredEvent, StoredRun, StoredSource
from pipeline.records.store import Store
from pipeline.report.numbers import RunNumbers
from pipeline.report.occupancy import clipped, merged

MOST_SPANS = 800
"""More are no plot any more: a month of hours fits."""


@dataclass(slots=True)
class Section:
    """One source: all runs of a live one together, each run of recorded footage for itself.

    Attributes:
        source_id: which.
        is_live: a camera or stream.
        on_clock: the wall time of its frames is known.
        window: the times that were asked for (s); bounds are infinite where none was given.
        rows: its rows in the store, in order of their runs.
    """

    source_id: str
    is_live: bool
    on_clock: bool
    window: tuple[float, float]
    rows: list[StoredSource] = field(default_factory=list)

    def runs(self, known: Sequence[StoredRun]) -> tuple[RunNumbers, ...]:
        """The runs that it took part in."""
        ids = {row.run_id for row in self.rows}
        return tuple(RunNumbers(run.run_id, run.status) for run in known if run.run_id in ids)

    def watched(self) -> list[tuple[float, float]]:
        """When it was watched, within the times that were asked for (s)."""
        return clipped(merged([span for row in self.rows if (span := self._of_run(row))]), *self.window)

    def last_seen_s(self, run_id: str) -> float | None:
        """When a run saw its last frame (s); None where it saw none."""
        spans = [span for row in self.rows if row.run_id == run_id and (span := self._of_run(row))]
        return spans[-1][1] if spans else None

    def interval(self, event: StoredEvent) -> tuple[float, float | None]:
        """Begin and end of an event (s); None while it goes on."""
        if not self.on_clock or event.start_utc is None:
            return event.start_s, event.end_s
        start_s = clock_s(event.start_utc)
        return start_s, None if event.duration_s is None else start_s + event.duration_s

    def _of_run(self, row: StoredSource) -> tuple[float, float] | None:
        if row.first_s is None or row.last_s is None:
            return None
        if not self.on_clock or row.first_utc is None:
            return row.first_s, row.last_s
        first_s = clock_s(row.first_utc)
        # A run that goes on after a restart of the machine: its clock has begun anew.
        return first_s, first_s + max(row.last_s - row.first_s, 0.0)


def sections(store: Store, wanted: EventFilter) -> list[Section]:
    """The sources whose events are asked for, by name."""
    found: dict[tuple[str, str], Section] = {}
    for row in store.sources(wanted.run):
        if wanted.sources and row.source_id not in wanted.sources:
            continue
        key = (row.source_id, "" if row.is_live else row.run_id)
        on_clock = row.is_live or row.first_utc is not None
        if not on_clock and any(isinstance(bound, datetime) for bound in (wanted.since, wanted.until)):
            # Nobody knows when it was recorded: none of its events is asked for.
            continue
        if key not in found:
            found[key] = Section(row.source_id, row.is_live, on_clock, _window(wanted, on_clock))
        found[key].rows.append(row)
    return [found[key] for key in sorted(found)]


def timescale(length_s: float, by: str | None, zone: tzinfo | None) -> tuple[Timescale, int]:
    """The spans that a length of time is cut into; the step that was asked for if it makes too many of them, else 0.

    Args:
        length_s: from the first time to the last.
        by: a key of `BY`; None: as the length suggests.
        zone: of the clock; None for times of footage.
    """
    if by is None:
        return Timescale(choose_step_s(length_s, on_clock=zone is not None), zone), 0
    asked = BY[by]
    step_s = next((step for step in coarser_steps_s(asked) if length_s / step <= MOST_SPANS), BY["day"])
    return Timescale(step_s, zone), 0 if step_s == asked else asked


def _window(wanted: EventFilter, on_clock: bool) -> tuple[float, float]:
    """Seconds of the source's own time mean nothing on a clock, and the other way round."""

    def bound(asked: datetime | float | None, absent: float) -> float:
        if isinstance(asked, datetime):
            return clock_s(asked) if on_clock else absent
        return absent if asked is None or on_clock else float(asked)

    return bound(wanted.since, float("-inf")), bound(wanted.until, float("inf"))
