"""Verb `events import`: read back what a run could not save."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from pipeline.cli.event_options import add_store_option, store_address
from pipeline.records.schema import EVENTS
from pipeline.records.store import open_store
from pipeline.records.unsaved import read_unsaved

_BATCH = 2000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `events import`."""
    parser.add_argument("input", metavar="FILE", help="file that a run named when it could not save all")
    add_store_option(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file's records into the store; what is there already is not doubled."""
    path = Path(args.input)
    # All of it is checked before anything is written.
    n_events = sum(record.table is EVENTS for record in read_unsaved(path))
    with open_store(store_address(args.store), read_only=False) as store:
        records = read_unsaved(path)
        while batch := list(islice(records, _BATCH)):
            store.put(batch)
    print(f"read {n_events} event{'' if n_events == 1 else 's'} from {path}; the file can be deleted now")
    return 0
