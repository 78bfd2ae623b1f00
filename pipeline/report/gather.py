"""Reads a store and gives the numbers of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from importlib.metadata import version

from pipeline.core.event import EventKind
from pipeline.core.scene import Heatmap
from pipeline.records.buckets import zone_name
from pipeline.records.making import CROSSINGS, VISITS
from pipeline.records.rows import EventFilter, StoredEvent
from pipeline.records.store import Store
from pipeline.report.numbers import ReportNumbers
from pipeline.report.sections import Section, sections
from pipeline.report.tally import Tally

ROWS = 1000
"""Events in a report's table, all sources together."""
_FEWEST_ROWS = 20


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What to report.

    Attributes:
        zone: time zone of wall times.
        wanted: which events.
        by: length of the spans, a key of `pipeline.records.buckets.BY`; None: as long as suits each source.
        n_pictures: most pictures of events.
    """

    zone: tzinfo
    wanted: EventFilter = field(default_factory=EventFilter)
    by: str | None = None
    n_pictures: int = 24


def gather(store: Store, options: ReportOptions, made: datetime) -> ReportNumbers:
    """The numbers of a report; all are in memory then, the events are not.

    Args:
        store: where the events are.
        options: what to report.
        made: when the report is made.

    Raises:
        StoreError: the database fails.
    """
    wanted = options.wanted
    found = sections(store, wanted)
    n_rows = max(ROWS // max(len(found), 1), _FEWEST_ROWS)
    tallies = [Tally(section, n_rows, options.n_pictures) for section in found]
    by_source = {
        (row.run_id, row.source_id): tally
        for section, tally in zip(found, tallies, strict=True)
        for row in section.rows
    }
    for event in store.events(wanted):
        # A source that came only while we read is left for the next report.
        if (tally := by_source.get((event.run_id, event.source_id))) is not None:
            tally.add(event)
    for event in _earlier_visits(store, wanted):
        if (tally := by_source.get((event.run_id, event.source_id))) is not None:
            tally.add_earlier_visit(event)
    for summary in store.summaries(wanted.run):
        tally = by_source.get((summary.run_id, summary.source_id))
        if tally is None or (wanted.rules and summary.rule not in wanted.rules):
            continue
        if summary.name in CROSSINGS and (not wanted.kinds or EventKind.CROSSING in wanted.kinds):
            tally.expect_line(summary.rule)
        elif summary.name == VISITS and (not wanted.kinds or EventKind.VISIT in wanted.kinds):
            tally.expect_zone(summary.rule)
    runs, heatmaps = store.runs(), _heatmaps(store, wanted.run)
    return ReportNumbers(
        str(store.address),
        made.astimezone(options.zone),
        zone_name(options.zone),
        version("tracklight"),
        chosen_text(wanted),
        tuple(
            tally.numbers(runs, options.by, options.zone, _newest_heatmap(section, heatmaps))
            for section, tally in zip(found, tallies, strict=True)
        ),
    )


def chosen_text(wanted: EventFilter) -> str:
    """Which events were asked for, in words; empty for all."""
    lists: Sequence[tuple[str, Sequence[str]]] = (
        ("run", (wanted.run,) if wanted.run else ()),
        ("source", wanted.sources),
        ("kind", list(map(str, wanted.kinds))),
        ("rule", wanted.rules),
        ("class", wanted.classes),
    )
    parts = [f"{name} {' or '.join(values)}" for name, values in lists if values]
    for name, bound in (("since", wanted.since), ("until", wanted.until)):
        if bound is not None:
            text = bound.isoformat(timespec="minutes") if isinstance(bound, datetime) else f"second {bound:g}"
            parts.append(f"{name} {text}")
    return ", ".join(parts)


def _earlier_visits(store: Store, wanted: EventFilter) -> Iterable[StoredEvent]:
    if wanted.since is None or (wanted.kinds and EventKind.VISIT not in wanted.kinds):
        return ()
    return store.events(replace(wanted, kinds=(EventKind.VISIT,), since=None, until=wanted.since))


def _heatmaps(store: Store, run: str) -> dict[tuple[str, str], Heatmap]:
    return {(one.run_id, one.source_id): one.heatmap for one in store.heatmaps(run)}


def _newest_heatmap(section: Section, heatmaps: dict[tuple[str, str], Heatmap]) -> Heatmap | None:
    """Of the newest run that has one: grids of different runs may differ."""
    found = (heatmaps.get((row.run_id, row.source_id)) for row in reversed(section.rows))
    return next((heatmap for heatmap in found if heatmap is not None), None)
