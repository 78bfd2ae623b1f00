"""Options of every verb that reads an event store: which one, and which of its events."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.event import EventKind
from pipeline.records.address import FILE_SUFFIXES, StoreAddress, parse_store_address
from pipeline.records.rows import EventFilter
from pipeline.records.store import Store

_SECONDS = re.compile(r"-?\d+(\.\d+)?")


def add_store_option(parser: argparse.ArgumentParser) -> None:
    """Which store."""
    parser.add_argument(
        "--store",
        metavar="FILE|URL",
        help="event store: a file, or postgresql://user:${PASSWORD}@host/database. May be left out where the working "
        "folder holds one store",
    )


def add_filter_options(parser: argparse.ArgumentParser) -> None:
    """Which events; options that may be given several times mean any of their values."""
    group = parser.add_argument_group("which events")
    group.add_argument("--source", action="append", metavar="ID", help="of this source")
    group.add_argument("--kind", action="append", metavar="KIND", help=f"of this kind: {', '.join(EventKind)}")
    group.add_argument("--rule", action="append", metavar="NAME", help="of this line, zone or rule")
    group.add_argument("--class", action="append", dest="class_name", metavar="CLASS", help="of objects of this class")
    group.add_argument(
        "--since", metavar="TIME", help="that began at or after 2026-05-01, 2026-05-01T14:00 or second 12.5"
    )
    group.add_argument("--until", metavar="TIME", help="that began before it")
    group.add_argument(
        "--run",
        default="",
        metavar="ID",
        help="of this run, or of `all` (default: of recorded footage the newest run, of live sources all)",
    )


def store_address(text: str | None) -> StoreAddress:
    """The store of `--store`, with ${ENV} filled in; without it the only one of the working folder.

    Raises:
        UsageError: no store, or several.
    """
    if text is not None:
        from pipeline.config.yaml_file import fill_environment

        return parse_store_address(str(fill_environment(text, "--store")))
    found = sorted(path for path in Path().iterdir() if path.suffix in FILE_SUFFIXES)
    if len(found) != 1:
        what = f"{len(found)} in the working folder ({', '.join(map(str, found[:3]))})" if found else "none"
        raise UsageError(f"events: wanted --store FILE or URL, found {what}")
    return StoreAddress(found[0], None)


def event_filter(args: argparse.Namespace, limit: int | None = None) -> EventFilter:
    """The filter that the options describe.

    Raises:
        UsageError: a time that cannot be read, an unknown kind, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit: wanted 1 or more, found {limit}")
    return EventFilter(
        run=args.run,
        sources=tuple(args.source or ()),
        kinds=tuple(_one_of(args.kind or (), list(map(str, EventKind)), "--kind")),
        rules=tuple(args.rule or ()),
        classes=tuple(args.class_name or ()),
        since=_time("--since", args.since),
        until=_time("--until", args.until),
        limit=limit,
    )


def check_names(store: Store, wanted: EventFilter) -> None:
    """Refuse runs, sources and rules that the store does not know: an empty table would hide a slip of the pen.

    Raises:
        UsageError: an unknown one; offers the nearest.
    """
    if wanted.run not in ("", "all"):
        _one_of([wanted.run], [run.run_id for run in store.runs()], "--run")
    if wanted.sources:
        _one_of(wanted.sources, list({s.source_id for s in store.sources("all")}), "--source")
    # Lines and zones are known without events, other rules by theirs.
    without_events = [name for name in wanted.rules if not store.count(EventFilter(run="all", rules=(name,)))]
    if without_events:
        known = {summary.rule for summary in store.summaries("all")}
        _one_of(without_events, list(known | {event.rule for event in store.events(EventFilter(run="all"))}), "--rule")


def _one_of(values: Iterable[str], known: list[str], option: str) -> list[str]:
    from pipeline.config.registry import nearest

    checked = list(values)
    for value in checked:
        if value not in known:
            raise UsageError(f"{option}: found no {value!r}{nearest(value, known) or _some(known)}")
    return checked


def _some(known: list[str]) -> str:
    shown = sorted(known)[:12]
    return f"; there are {', '.join(shown)}{' …' if len(known) > len(shown) else ''}" if known else "; there are none"


def _time(option: str, text: str | None) -> datetime | float | None:
    if text is None:
        return None
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option}: wanted a time such as 2026-05-01T14:00 or seconds such as 12.5, found {text!r}"
        ) from None
    # Without an offset it is a time on the clock of the person who asks.
    return time.astimezone()
