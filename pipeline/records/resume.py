"""Going on with a run that did not come to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipeline.records.making import run_record
from pipeline.records.process import this_process
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import EVENTS, Record
from pipeline.records.store import Store, utc_text

UNFINISHED = ("interrupted", "failed", "partial")


def unfinished_run(store: Store, config_digest: str, addresses: Mapping[str, str]) -> StoredRun | None:
    """The newest run of this configuration and these sources that did not come to its end and runs no more.

    Args:
        store: where to look.
        config_digest: of the run that begins.
        addresses: its sources' addresses by id.

    Raises:
        StoreError: the database fails.
    """
    for run in reversed(store.runs()):
        if run.status in UNFINISHED and run.config_digest == config_digest:
            known = {source.source_id: source.address for source in store.sources(run.run_id)}
            # A run that was killed early has not opened all of them.
            if all(addresses.get(name) == address for name, address in known.items()):
                return run
    return None


def take_over(store: Store, run: StoredRun, command: str) -> tuple[StoredRun, list[StoredSource]]:
    """Make the run this process's own. Events of live sources that it left open end where it was last alive.

    Recorded footage is analysed again from its start: the same events come under the same ids, so nothing doubles.

    Returns:
        The run as it goes on, and its sources as they were.

    Raises:
        StoreError: the database fails; nothing is changed then.
    """
    sources = store.sources(run.run_id)
    going_on = replace(
        run,
        status="running",
        ended_utc=None,
        alive_utc=datetime.now(UTC),
        command=command,
        process=this_process(),
    )
    ended = [record for source in sources if source.is_live for record in _ended_events(store, source)]
    store.put([run_record(going_on), *ended])
    return going_on, sources


def _ended_events(store: Store, source: StoredSource) -> list[Record]:
    rows = list(
        store.engine.rows(
            f"SELECT {EVENTS.select('e')} FROM events e WHERE e.run_id = ? AND e.source_id = ? AND e.end_s IS NULL",
            (source.run_id, source.source_id),
        )
    )
    records = []
    for row in rows:
        event = dict(zip(EVENTS.columns, row, strict=True))
        start_s = float(event["start_s"] or 0.0)
        end_s = max(start_s, start_s if source.last_s is None else source.last_s)
        event["end_s"] = end_s
        if event["start_utc"] is not None:
            start_utc = datetime.fromisoformat(str(event["start_utc"]))
            event["end_utc"] = utc_text(start_utc + timedelta(seconds=end_s - start_s))
        event["values"] = json.dumps({**json.loads(str(event["values"])), "interrupted": True}, ensure_ascii=False)
        records.append(Record(EVENTS, tuple(event[column] for column in EVENTS.columns)))
    return records
