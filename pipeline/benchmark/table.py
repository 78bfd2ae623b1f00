"""The tables of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.benchmark.campaign import cannot_run, each_result
from pipeline.benchmark.configuration import DETECTOR, DETECTOR_STAGES, END_TO_END, SHARED_STAGES
from pipeline.benchmark.figures import Spread, ratio_by_turns

BUSY_PER_CORE = 0.3
"""From this load per core on, before anything is measured, the user is told that other programs run."""


def print_document(document: dict[str, Any], console: Console) -> None:
    """What it was measured on, one table for each kind of measurement, and what cannot run here."""
    for line in _about(document):
        console.print(Text(line), soft_wrap=True)
    for table in (_shared(document), _detectors(document), _end_to_end(document)):
        if table.row_count:
            console.print()
            console.print(table)
    for line in cannot_run(document):
        console.print(Text(line), soft_wrap=True)


def spread_of(figure: dict[str, Any]) -> Spread:
    """A figure of the document as an object."""
    return Spread(**figure)


def three_digits(value: float) -> str:
    """Three digits that count, or all before the point: 0.00520, 12.3, 1234."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:#.3g}"


def is_busy(machine: dict[str, Any]) -> bool:
    """Whether other programs ran before the measurement."""
    return bool((machine.get("load_before") or 0.0) > BUSY_PER_CORE * machine["usable_cores"])


def _about(document: dict[str, Any]) -> list[str]:
    machine, clip, settings = document["machine"], document["clip"], document["settings"]
    gpu = ", ".join(machine["gpu"]) or "no GPU"
    features = " ".join(machine["cpu_features"])
    lines = [
        f"{machine['cpu']}, {machine['usable_cores']} cores, {machine['memory_gb']} GB, {gpu}; {features}",
        f"{clip['name']}, {clip['width_px']}x{clip['height_px']}; {settings['repeats']} rounds in turns, "
        f"{settings['seconds']:g} s each; median of the rounds, ± half the range over them",
    ]
    if document.get("interrupted"):
        lines.append(f"interrupted {document['interrupted']}: figures are of the whole rounds before it, if any")
    if is_busy(machine):
        lines.append(
            f"other programs were running (load {machine['load_before']} before the start): figures are too slow, "
            "those of PyTorch most, whose threads wait by spinning; measure on a quiet machine"
        )
    return lines


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for k, name in enumerate(columns):
        table.add_column(name, justify="left" if k == 0 else "right", overflow="fold")
    return table


def _shared(document: dict[str, Any]) -> Table:
    columns = ("stage", "p50 ms", "p95", "p99", "frames/s", "±", "CPU ms/frame")
    table = _table("stages that no detector changes, each alone", columns)
    for _, result in each_result(document, "shared"):
        for stage in SHARED_STAGES:
            figures = result["stages"][stage]
            table.add_row(stage, *_percentiles(figures), *_rate(figures), _cpu(figures))
    return table


def _detectors(document: dict[str, Any]) -> Table:
    columns = ("configuration", "before", "network", "after", "p50 ms", "p95", "p99", "frames/s", "±", "times")
    table = _table("detector alone: ms a call", (*columns, "CPU ms/frame", "MB"))
    first: list[float] | None = None
    for label, result in each_result(document, "detector"):
        stages, rates = result["stages"], _rates(result, DETECTOR)
        first = first or rates
        parts = [three_digits(stages[name]["p50_ms"]["median"]) for name in DETECTOR_STAGES]
        whole = stages[DETECTOR]
        row = (*parts, *_percentiles(whole), *_rate(whole), _times(rates, first), _cpu(whole), _memory(result))
        table.add_row(_named(label, result), *row)
    return table


def _end_to_end(document: dict[str, Any]) -> Table:
    columns = (
        "configuration",
        "p50 ms",
        "p95",
        "p99",
        "frames/s",
        "±",
        "times",
        "CPU ms/frame",
        "cores",
        "MB",
    )
    table = _table("end to end: from decoding to the annotated video; ms from capture to result", columns)
    first: list[float] | None = None
    for label, result in each_result(document, "end to end"):
        whole, rates = result["stages"][END_TO_END], _rates(result, END_TO_END)
        first = first or rates
        cores = sorted(repeat["notes"]["cores_busy"] for repeat in result["repeats"])
        row = (*_percentiles(whole), *_rate(whole), _times(rates, first), _cpu(whole))
        table.add_row(_named(label, result), *row, f"{cores[len(cores) // 2]:.2f}", _memory(result))
    return table


def _named(label: str, result: dict[str, Any]) -> str:
    """The label, and what `auto` in it stood for."""
    asked, ran = result["configuration"], result["ran"]
    chosen = [str(ran[name]) for name in ("backend", "precision") if asked[name] == "auto"]
    return f"{label} (auto: {', '.join(chosen)})" if chosen else label


def _rates(result: dict[str, Any], stage: str) -> list[float]:
    """Frames per second of each repeat."""
    return [repeat["stages"][stage]["frames_per_s"] for repeat in result["repeats"]]


def _times(rates: list[float], first: list[float]) -> str:
    """How many times the first row's rate."""
    return f"{ratio_by_turns(rates, first).median:.2f}x"


def _percentiles(figures: dict[str, Any]) -> tuple[str, ...]:
    return tuple(three_digits(figures[name]["median"]) for name in ("p50_ms", "p95_ms", "p99_ms"))


def _rate(figures: dict[str, Any]) -> tuple[str, str]:
    rate = spread_of(figures["frames_per_s"])
    return three_digits(rate.median), f"{rate.relative / 2:.0%}"


def _cpu(figures: dict[str, Any]) -> str:
    return three_digits(figures["cpu_s_per_frame"]["median"] * 1e3)


def _memory(result: dict[str, Any]) -> str:
    return "" if result["peak_memory_mb"] is None else f"{result['peak_memory_mb']:.0f}"
