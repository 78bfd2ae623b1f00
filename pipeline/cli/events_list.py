"""Verb `events list`: events as a table."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.cli.event_options import add_filter_options, add_store_option, check_names, event_filter, store_address
from pipeline.records.rows import StoredEvent
from pipeline.records.store import open_store

_WIDTH = 1000
"""Of a table that goes to a file or another program: nothing is cut."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `events list`."""
    add_store_option(parser)
    add_filter_options(parser)
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="at most N, the newest (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    wanted = event_filter(args, args.limit)
    with open_store(store_address(args.store)) as store:
        check_names(store, wanted)
        events = list(store.events(wanted))
        n_all = store.count(wanted)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    if events:
        console.print(_table(events))
    shown = f"the newest {len(events)} of {n_all}" if n_all > len(events) else str(n_all)
    console.print(f"{shown} event{'' if n_all == 1 else 's'}")
    return 0


def _table(events: list[StoredEvent]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("time", "source", "kind", "rule", "class", "tracks", "lasts", "what", "id"):
        table.add_column(name, justify="right" if name in ("time", "lasts") else "left", no_wrap=name in ("id", "time"))
    for event in events:
        cells = (
            time_text(event.start_utc, event.start_s),
            event.source_id,
            str(event.kind),
            event.rule,
            event.class_name,
            " ".join(map(str, event.track_ids[:4])) + (" …" if len(event.track_ids) > 4 else ""),
            duration_text(event),
            ", ".join(f"{name} {value_text(value)}" for name, value in event.values.items()),
            event.event_id,
        )
        # As Text, since square brackets in names are no markup.
        table.add_row(*map(Text, cells))
    return table


def time_text(utc: datetime | None, time_s: float) -> str:
    """Local wall time where it is known, else the time within the footage."""
    if utc is not None:
        return utc.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    hours, rest = divmod(time_s, 3600)
    return f"{int(hours)}:{int(rest // 60):02d}:{rest % 60:06.3f}"


def duration_text(event: StoredEvent) -> str:
    """How long an event lasted."""
    if event.duration_s is None:
        return "goes on"
    return "" if event.duration_s == 0 else f"{event.duration_s:.1f} s"


def value_text(value: object) -> str:
    """Numbers without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
