"""The short table at the end of a run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.runtime.report import RunReport, StreamingReport

NAME_WIDTH = 36
"""Longest name in a column; the tables fit 80 columns with it."""


def print_table(report: RunReport, written: Sequence[str]) -> None:
    """Print sources, stages, throughput and what was written, on stderr."""
    console = Console(file=sys.stderr, highlight=False)
    console.print(_sources(report))
    console.print(_stages(report))
    for source, counts in report.analytics.items():
        for line in _counts(source, counts):
            console.print(Text(line), soft_wrap=True)
    for name, account in report.sources.items():
        if account.streaming is not None and account.streaming.emission is not None:
            console.print(Text(_latency_cost(name, account.streaming)), soft_wrap=True)
    end = report.end_to_end
    lines = [
        f"{report.status}: {report.emitted_per_s:.1f} frames/s over {report.wall_s:.1f} s",
        f"latency: p50 {end.p50_ms:.0f}, p95 {end.p95_ms:.0f}, p99 {end.p99_ms:.0f} ms",
        f"bounded by {short_name(report.bounded_by)}",
        *_overload(report.overload),
        *(f"wrote {path}" for path in written if Path(path).exists()),
    ]
    for line in lines:
        # As Text, since square brackets in file names are no markup.
        console.print(Text(line), soft_wrap=True)


def _latency_cost(source: str, streaming: StreamingReport) -> str:
    """What latency costs a source, in a line."""
    told = []
    for at, cost in (("emission", streaming.emission), ("display", streaming.display)):
        if cost is None or cost.age_ms is None or cost.ap50_lost is None:
            continue
        points = "" if cost.ap50_points_lost is None else f", {cost.ap50_points_lost:.1f} points"
        told.append(
            f"at {at} {cost.ap50_lost:.0%} of AP50{points} (boxes {cost.age_ms:.0f} ms, "
            f"{cost.staleness_frames:.1f} frames old)"
        )
    return f"{shortened(source, NAME_WIDTH)}: lost to latency, estimated: {'; '.join(told) or 'not known'}"


def _overload(told: Mapping[str, Any]) -> Iterator[str]:
    """What gave way under overload, in a line."""
    if not told:
        return
    parts = [f"{rung['name']} for {rung['time_s']:.0f} s" for rung in told.get("rungs", ()) if rung["time_s"]]
    if told.get("n_changes"):
        parts.append(f"{told['n_changes']} changes")
    if "filled" in told:
        parts.append(f"{told['filled']} frames filled in")
    yield f"overload: {told['policy']}: {', '.join(parts) or 'nothing gave way'}"


def _counts(source: str, counts: Mapping[str, Any]) -> Iterator[str]:
    """What the rules of a source counted, a line for each."""
    objects = ", ".join(f"{n} {name}" for name, n in counts.get("objects", {}).items())
    yield f"{shortened(source, NAME_WIDTH)}: {objects or 'no objects'}"
    for name, crossings in counts.get("lines", {}).items():
        yield f"  line {name}: {crossings['in']} in, {crossings['out']} out"
    for name, zone in counts.get("zones", {}).items():
        mean, most = zone.get("occupancy_mean"), zone.get("occupancy_max")
        inside = "" if mean is None else f"; inside {mean:.1f} on average, {most:.0f} at most"
        yield f"  zone {name}: {zone['visits']} visits{inside}"


def short_name(stage: str) -> str:
    """A stage's name with the file's name for its path: `sink:runs/run/exp/video.mp4` -> `sink:video.mp4`."""
    kind, separator, path = stage.partition(":")
    return f"{kind}:{path.rsplit('/', 1)[-1]}" if separator and kind == "sink" and "://" not in path else stage


def shortened(name: str, width: int) -> str:
    """The name in at most `width` characters, its middle left out."""
    tail = width // 2 - 1
    return name if len(name) <= width else f"{name[: width - tail - 1]}…{name[-tail:]}"


def _cell(name: str) -> Text:
    return Text(shortened(name, NAME_WIDTH))


def _sources(report: RunReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("source", "produced", "emitted", "dropped", "left out"):
        table.add_column(name, justify="left" if name in ("source", "left out") else "right")
    for name, source in report.sources.items():
        dropped = ", ".join(f"{n} {reason}" for reason, n in source.dropped.items()) or "0"
        left_out = ", ".join(f"{n} {reason}" for reason, n in source.counters.items() if n)
        table.add_row(_cell(name), str(source.produced), str(source.emitted), dropped, left_out)
    return table


def _stages(report: RunReport) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("stage", "calls", "p50 ms", "p95 ms", "p99 ms", "busy"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for name, stage in report.stages.items():
        d = stage.duration
        busy = "" if stage.busy is None else f"{stage.busy:.0%}"
        table.add_row(
            _cell(short_name(name)), str(d.count), f"{d.p50_ms:.2f}", f"{d.p95_ms:.2f}", f"{d.p99_ms:.2f}", busy
        )
    return table
