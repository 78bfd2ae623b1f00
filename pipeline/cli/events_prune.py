"""Verb `events prune`: delete what nobody wants to keep."""

from __future__ import annotations

import argparse

from pipeline.cli.event_options import add_store_option, store_address
from pipeline.core.errors import UsageError
from pipeline.records.retention import Limits, Pruning
from pipeline.records.store import open_store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `events prune`."""
    add_store_option(parser)
    parser.add_argument("--days", type=float, metavar="N", help="keep events of the last N days")
    parser.add_argument("--max-mb", type=float, metavar="MB", help="keep at most so much, rows and pictures together")


def run(args: argparse.Namespace) -> int:
    """Delete, and say how much."""
    limits = Limits(args.days, args.max_mb)
    if limits == Limits():
        raise UsageError("events prune: wanted --days or --max-mb, found neither")
    if any(limit is not None and limit <= 0 for limit in (args.days, args.max_mb)):
        raise UsageError("events prune: wanted more than 0 days and MB")
    address = store_address(args.store)
    # Opened to read first: a slip of the pen must not make an empty store.
    open_store(address).close()
    n_deleted = 0
    with open_store(address, read_only=False) as store:
        pruning = Pruning(limits)
        while n := pruning.step(store):
            n_deleted += n
    print(f"deleted {n_deleted} event{'' if n_deleted == 1 else 's'}")
    return 0
