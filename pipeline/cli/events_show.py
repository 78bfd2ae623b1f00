"""Verb `events show`: all that is known of one event."""

from __future__ import annotations

import argparse
import json

from pipeline.cli.event_options import add_store_option, store_address
from pipeline.core.errors import UsageError
from pipeline.records.rows import EventFilter
from pipeline.records.snapshot_place import snapshot_path
from pipeline.records.store import Store, open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `events show`."""
    parser.add_argument("event_id", metavar="ID", help="id of the event, as `events list` shows it, or its beginning")
    parser.add_argument("--run", default="", metavar="ID", help="of this run, or of `all`")
    add_store_option(parser)


def run(args: argparse.Namespace) -> int:
    """Print the event as JSON, once for each run that has it."""
    with open_store(store_address(args.store)) as store:
        events = list(store.events(EventFilter(run=args.run, event_id=args.event_id)))
        _refuse_all_but_one(store, args, [event.event_id for event in events])
        addresses = {(s.run_id, s.source_id): s.address for s in store.sources("all")}
        for event in events:
            record = event.to_json()
            picture = snapshot_path(store.address, event.snapshot) if event.snapshot else None
            if picture is not None:
                record["snapshot"] = str(picture)
            record["address"] = addresses[event.run_id, event.source_id] or None
            print(json.dumps(record, indent=2, ensure_ascii=False))
    return 0


def _refuse_all_but_one(store: Store, args: argparse.Namespace, found: list[str]) -> None:
    """Raise UsageError where no id begins as asked, or several do."""
    from pipeline.config.registry import nearest

    n_ids = len(set(found))
    if n_ids > 1:
        raise UsageError(f"event {args.event_id}: found {n_ids} ids that begin so; give more of it")
    if not found:
        known = {event.event_id for event in store.events(EventFilter(run=args.run))}
        raise UsageError(f"event {args.event_id}: found no such id in {store.address}{nearest(args.event_id, known)}")
