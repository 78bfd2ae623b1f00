"""Records of a store from what the pipeline tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import numpy as np

from pipeline.core.event import Event
from pipeline.core.scene import Closing, SceneLayout
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import EVENTS, HEATMAPS, RUNS, SOURCES, SUMMARIES, Cell, Record
from pipeline.records.store import utc_text

CROSSINGS = ("crossings_in", "crossings_out")
"""Summaries of a line: crossings in and out."""
VISITS = "visits"
"""Summary of a zone: visits begun."""


def run_record(run: StoredRun) -> Record:
    """The row of a run."""
    return Record(RUNS, tuple(_cell(value) for value in astuple(run)))


def source_record(source: StoredSource) -> Record:
    """The row of a source."""
    return Record(SOURCES, tuple(_cell(value) for value in astuple(source)))


def event_record(run_id: str, event: Event, start_utc: datetime | None, snapshot: str, clip: str) -> Record:
    """The row of an event.

    Args:
        run_id: its run.
        event: what happened.
        start_utc: its wall time where that is known.
        snapshot: where its picture is, empty where there is none or none new.
        clip: where its footage is.
    """
    plain = event.to_json()
    lasted = None if event.end_s is None else timedelta(seconds=event.end_s - event.start_s)
    end_utc = start_utc + lasted if start_utc is not None and lasted is not None else None
    row: tuple[Cell, ...] = (
        run_id,
        event.event_id,
        str(event.kind),
        event.rule,
        event.source_id,
        round(event.start_s, 6),
        None if event.end_s is None else round(event.end_s, 6),
        _cell(start_utc),
        _cell(end_utc),
        event.frame,
        event.class_id,
        event.class_name,
        json.dumps(list(event.track_ids)),
        None if plain["box"] is None else json.dumps(plain["box"]),
        int(event.predicted),
        json.dumps(plain["values"], ensure_ascii=False),
        event.snapshot or snapshot,
        event.clip or clip,
    )
    return Record(EVENTS, row)


def layout_records(run_id: str, source_id: str, layout: SceneLayout) -> Iterator[Record]:
    """Zeros for each line and zone of a source that begins: what nobody crosses or visits is known as well."""
    names = [(line, name) for line in layout.line_names for name in CROSSINGS]
    for rule, name in [*names, *((zone, VISITS) for zone in layout.zone_names)]:
        yield Record(SUMMARIES, (run_id, source_id, rule, name, 0.0))


def closing_records(run_id: str, closing: Closing) -> Iterator[Record]:
    """Heatmap and summaries of a source that has ended; its events come as events."""
    if closing.heatmap is not None:
        heat = closing.heatmap
        n_rows, n_cols = heat.presence_s.shape
        arrays = (np.ascontiguousarray(array, "<f4").tobytes() for array in (heat.presence_s, heat.flow_px_s))
        yield Record(HEATMAPS, (run_id, closing.source_id, float(heat.cell_px), n_rows, n_cols, *arrays))
    if closing.scene is not None:
        for line, counts in zip(closing.scene.layout.line_names, closing.scene.crossings.tolist(), strict=True):
            for name, n in zip(CROSSINGS, counts, strict=True):
                yield Record(SUMMARIES, (run_id, closing.source_id, line, name, float(n)))
    for rule, numbers in closing.summary.items():
        for name, value in numbers.items():
            yield Record(SUMMARIES, (run_id, closing.source_id, rule, name, float(value)))


def utc_of_ns(wall_ns: int) -> datetime:
    """Wall time of nanoseconds since 1970, to the microsecond."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_ns // 1000)


def _cell(value: object) -> Cell:
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, bool):
        return int(value)
    return value  # type: ignore[return-value]
