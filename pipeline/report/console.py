"""A report as tables in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.html_tables import section_names
from pipeline.report.numbers import INCIDENTS, NO_CLASS, ReportNumbers, SourceNumbers, by_class, total
from pipeline.report.wording import KINDS, length_text, step_text, time_text

_MOST_SPANS = 48
"""More rows nobody reads in a terminal; the page and the JSON file have all."""


def print_report(report: ReportNumbers, console: Console) -> None:
    """Print the tables of each source."""
    if report.chosen:
        console.print(Text(f"only events of: {report.chosen}"))
    if report.nothing_in_words:
        console.print(report.nothing_in_words)
    for source, name in zip(report.sources, section_names(report.sources), strict=True):
        _print_source(source, name, report, console)


def _print_source(source: SourceNumbers, name: str, report: ReportNumbers, console: Console) -> None:
    zone = report.made.tzinfo if source.on_clock else None
    console.print()
    console.print(Text(name, style="bold"))
    if source.spans:
        where = f"local times of {report.zone}" if source.on_clock else "times in the footage"
        span = f"{time_text(source.first_s, zone)} to {time_text(source.last_s, zone)} ({where})"
        console.print(Text(f"{span}, {length_text(source.watched_s)} watched, {source.n_events} events"))
    if source.objects:
        _print(console, ("class", "unique objects"), [(name, str(n)) for name, n in by_class(source.objects).items()])
    _print_lines(source, console)
    _print_zones(source, console)
    kinds = [kind for kind in source.kinds if kind.kind in INCIDENTS]
    if kinds:
        incidents = [(KINDS[kind.kind], kind.rule, str(kind.n), length_text(kind.lasted_s)) for kind in kinds]
        _print(console, ("incident", "rule", "number", "in all"), incidents)
    _print_spans(source, report, console)


def _print_lines(source: SourceNumbers, console: Console) -> None:
    rows = [
        (line.name, name, *(str(by_class(counts).get(name, 0)) for counts in line.counts), *line.labels)
        for line in source.lines
        for name in dict.fromkeys([*line.counts[0], *line.counts[1]]) or (NO_CLASS,)
    ]
    if rows:
        _print(console, ("line", "class", "in", "out", "in is", "out is"), rows)


def _print_zones(source: SourceNumbers, console: Console) -> None:
    heads = ("zone", "visits", "without end", "mean", "median", "90 %", "longest", "on average", "at most")
    rows = [
        (
            *(zone.name, str(total(zone.visits)), str(zone.n_open)),
            *([""] * 4 if zone.dwell is None else map(length_text, zone.dwell.all_s)),
            "" if zone.occupancy_mean is None else f"{zone.occupancy_mean:.2f}",
            str(zone.occupancy_max),
        )
        for zone in source.zones
    ]
    if rows:
        _print(console, heads, rows)


def _print_spans(source: SourceNumbers, report: ReportNumbers, console: Console) -> None:
    zone = report.made.tzinfo if source.on_clock else None
    if source.asked_step_s:
        console.print(f"a table by {step_text(source.asked_step_s)} would be too long: by {step_text(source.step_s)}")
    columns: list[tuple[str, list[str]]] = []
    if source.objects:
        columns.append(("objects", list(map(str, _sums(list(source.objects.values()))))))
    for line in (line for line in source.lines if any(line.totals)):
        into, out = (_sums(list(counts.values())) or [0] * len(source.spans) for counts in line.counts)
        columns.append((f"{line.name} in/out", [f"{a}/{b}" for a, b in zip(into, out, strict=True)]))
    for place in (place for place in source.zones if total(place.visits)):
        columns.append((f"{place.name} visits", list(map(str, _sums(list(place.visits.values()))))))
    if source.incidents:
        columns.append(("incidents", list(map(str, _sums(list(source.incidents.values()))))))
    busy = [n for n in range(len(source.spans)) if any(cells[n] not in ("0", "0/0") for _, cells in columns)]
    rows = [
        (time_text(source.spans[n].start_s, zone, seconds=zone is None), *(cells[n] for _, cells in columns))
        for n in busy[-_MOST_SPANS:]
    ]
    if rows:
        _print(console, (f"per {step_text(source.step_s)}", *(name for name, _ in columns)), rows)
    if len(busy) > len(rows):
        console.print(f"the last {len(rows)} of {len(busy)} spans with events; -o and --json write all")


def _sums(columns: Sequence[Sequence[int]]) -> list[int]:
    return [sum(row) for row in zip(*columns, strict=True)]


def _print(console: Console, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(heads):
        table.add_column(Text(name), justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        # As Text, since square brackets in names are no markup.
        table.add_row(*map(Text, row))
    console.print(table)
