"""The result on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from pipeline.stream_eval.document import Document

AP_ROWS = (
    ("ap", "AP"),
    ("ap50", "AP50"),
    ("ap75", "AP75"),
    ("ap_s", "AP small"),
    ("ap_m", "AP medium"),
    ("ap_l", "AP large"),
)


def print_document(document: Document, console: Console) -> None:
    """Print the tables."""
    combined = document["combined"]
    console.print(_accuracy(combined))
    for line in summary_lines(document):
        console.print(line)
    if len(document["sequences"]) > 1:
        console.print(_sequences(document["sequences"]))
    for note in document["notes"]:
        console.print(f"note: {note}")


def summary_lines(document: Document) -> list[str]:
    """What is no table: staleness, tracking, latency, and under which settings."""
    combined = document["combined"]
    lines = [staleness_text(combined)]
    if combined["tracking"] is not None:
        tracking = combined["tracking"]
        lines.append(
            f"tracking as shown: HOTA {percent(tracking['hota'])}, MOTA {percent(tracking['mota'])}, "
            f"IDF1 {percent(tracking['idf1'])}, {tracking['id_switches']} id switches"
        )
    if document["latency_ms"] is not None:
        lines.append(f"latency (arrival to output): {spread_text(document['latency_ms'])}")
    if document["device"] is not None:
        lines.append(_device_text(document["device"]))
    lines.append(", ".join(f"{key} {value}" for key, value in document["settings"].items() if _is_short(value)))
    return lines


def _device_text(device: Mapping[str, Any]) -> str:
    runtime = device["runtime_ms"]
    text = f"{runtime['p50']:.1f} ms for every frame"
    if runtime["n"] > 1:
        text = f"{spread_text(runtime)}, {device['measured']}"
    lag = f"; every output another {device['lag_ms']:.1f} ms later" if device["lag_ms"] else ""
    return f"runtime of detection: {text}{lag}"


def staleness_text(scores: Mapping[str, Any]) -> str:
    """Misses, frames in time, staleness."""
    n = scores["n_frames"]
    text = f"{n} frames: {scores['misses']} missed, {scores['in_time']} in time ({100 * scores['in_time_share']:.0f} %)"
    if scores["mean_staleness"] is None:
        return text
    return f"{text}; boxes {scores['mean_staleness']:.2f} frames ({scores['mean_staleness_ms']:.0f} ms) old in the mean"


def spread_text(spread: Mapping[str, float]) -> str:
    """A distribution in one line."""
    return f"p50 {spread['p50']:.1f}, p95 {spread['p95']:.1f}, p99 {spread['p99']:.1f} ms ({spread['n']} frames)"


def percent(value: float | None) -> str:
    """A fraction of 1 in points, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def lost(offline: float | None, streaming: float | None) -> str:
    """Points lost to latency."""
    return "-" if offline is None or streaming is None else f"{100 * (streaming - offline):+.1f}"


def _accuracy(combined: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for heading in ("without latency", "as shown (streaming)", "difference"):
        table.add_column(heading, justify="right")
    offline, streaming = combined["offline"], combined["streaming"]
    for key, name in AP_ROWS:
        table.add_row(name, percent(offline[key]), percent(streaming[key]), lost(offline[key], streaming[key]))
    if len(streaming["per_class"]) > 1:
        for name, shown in streaming["per_class"].items():
            before = offline["per_class"][name]["ap"]
            if shown["ap"] is not None:
                table.add_row(f"AP {name}", percent(before), percent(shown["ap"]), lost(before, shown["ap"]))
    return table


def _sequences(sequences: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("sequence")
    for heading in ("frames", "frames/s", "AP", "sAP", "sAP50", "missed", "staleness ms", "HOTA"):
        table.add_column(heading, justify="right")
    for name, one in sequences.items():
        stale, tracking = one["mean_staleness_ms"], one["tracking"]
        table.add_row(
            name,
            str(one["n_frames"]),
            f"{one['fps']:g}",
            percent(one["offline"]["ap"]),
            percent(one["streaming"]["ap"]),
            percent(one["streaming"]["ap50"]),
            str(one["misses"]),
            "-" if stale is None else f"{stale:.0f}",
            "-" if tracking is None else percent(tracking["hota"]),
        )
    return table


def _is_short(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)
