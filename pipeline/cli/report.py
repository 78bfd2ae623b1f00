"""Verb `report`: what an event store holds, as tables, JSON, and one HTML page."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from pipeline.cli.event_options import add_filter_options, add_store_option, check_names, event_filter, store_address
from pipeline.core.errors import SinkError, UsageError
from pipeline.core.whole_file import write_whole
from pipeline.records.buckets import BY, find_zone
from pipeline.records.store import open_store
from sinks.output_path import check_output, write_failure

_WIDTH = 1000
"""Of tables that go to a file or another program: nothing is cut."""
_MOST_PICTURES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    add_store_option(parser)
    parser.add_argument("-o", "--output", metavar="FILE.html", help="write a page that holds all it needs")
    parser.add_argument("--json", metavar="FILE.json", help="write the numbers")
    parser.add_argument(
        "--by", choices=list(BY), help="length of the spans in plots and tables (default: what suits each source)"
    )
    parser.add_argument(
        "--timezone", metavar="NAME", help="of live sources' times, such as Europe/Berlin (default: this machine's)"
    )
    parser.add_argument(
        "--pictures",
        type=int,
        default=24,
        metavar="N",
        help="at most N pictures of events in the page; 0: none of any footage (default: %(default)s)",
    )
    parser.add_argument("--exist-ok", action="store_true", help="overwrite files that exist")
    add_filter_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; tables in the terminal without --output and --json."""
    from pipeline.report.gather import ReportOptions, gather

    paths = [Path(text) for text in (args.output, args.json) if text]
    _check(args, paths)
    options = ReportOptions(find_zone(args.timezone), event_filter(args), args.by, args.pictures)
    with open_store(store_address(args.store)) as store:
        check_names(store, options.wanted)
        report = gather(store, options, datetime.now(UTC))
        address = store.address
    if args.json:
        import json

        _write(Path(args.json), json.dumps(report.to_json(), ensure_ascii=False, indent=1) + "\n")
    if args.output:
        from pipeline.report.html_page import html_page

        _write(Path(args.output), html_page(report, address, args.pictures))
    if not paths:
        from pipeline.report.console import print_report

        print_report(report, Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH))
    for path in paths:
        print(f"wrote {path}")
    return 0


def _check(args: argparse.Namespace, paths: list[Path]) -> None:
    if args.output and Path(args.output).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{args.output}: wanted a file named .html, found the suffix {Path(args.output).suffix!r}")
    if not 0 <= args.pictures <= _MOST_PICTURES:
        raise UsageError(f"--pictures: wanted 0 to {_MOST_PICTURES}, found {args.pictures}")
    if len(paths) == 2 and paths[0].resolve() == paths[1].resolve():
        raise UsageError(f"{args.output}: wanted two files for --output and --json, found one")
    for path in paths:
        check_output(path, exist_ok=args.exist_ok)


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text)
    except OSError as error:
        raise SinkError(write_failure(path, error)) from error
