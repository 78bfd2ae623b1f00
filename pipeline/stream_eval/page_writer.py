"""The result as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from pipeline.stream_eval.document import Document
from pipeline.stream_eval.plots import latency_plot, speed_plot
from pipeline.stream_eval.table import AP_ROWS, lost, percent, summary_lines

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html_page(document: Document) -> str:
    """The page.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    style = files("pipeline.stream_eval").joinpath("page", "stream_eval.css").read_text("utf-8")
    names = ", ".join(document["sequences"])
    title = f"Streaming accuracy of {names}"
    parts = [
        f"<header><h1>{escape(title)}</h1>",
        *(f'<p class="quiet">{escape(line)}</p>' for line in summary_lines(document)),
        *(f'<p class="note">{escape(note)}</p>' for note in document["notes"]),
        "</header>",
        _cards(document),
        _plots(document),
        "<h2>Accuracy</h2>",
        _accuracy(document["combined"]),
    ]
    if len(document["sequences"]) > 1:
        parts += ["<h2>Sequences</h2>", _sequences(document["sequences"])]
    parts += ["<h2>Settings</h2>", _settings(document["settings"]), _footer()]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title><style>{style}</style></head>'
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


def _cards(document: Document) -> str:
    combined, latency = document["combined"], document["latency_ms"]
    offline, streaming = combined["offline"]["ap"], combined["streaming"]["ap"]
    cards = [
        (percent(streaming), "sAP: what was shown, against what was true", ""),
        (percent(offline), "AP of the same boxes without latency", ""),
        (lost(offline, streaming), "points, what latency costs", "warn"),
        (f"{100 * combined['in_time_share']:.0f} %", "of the frames in time", ""),
    ]
    if combined["mean_staleness_ms"] is not None:
        cards.append((f"{combined['mean_staleness_ms']:.0f} ms", "mean age of the boxes shown", ""))
    if latency is not None:
        cards.append((f"{latency['p95']:.0f} ms", "latency, 95th percentile", ""))
    if combined["tracking"] is not None:
        cards.append((percent(combined["tracking"]["hota"]), "HOTA as shown", ""))
    return f'<div class="cards">{"".join(_card(*one) for one in cards)}</div>'


def _card(value: str, text: str, kind: str) -> str:
    return f'<div class="card {kind}"><b>{escape(value)}</b><span>{escape(text)}</span></div>'


def _plots(document: Document) -> str:
    drawn = [plot for plot in (latency_plot(document), speed_plot(document)) if plot is not None]
    if not drawn:
        return ""
    return f'<div class="plots">{"".join(f"<figure class=panel>{plot}</figure>" for plot in drawn)}</div>'


def _accuracy(combined: Mapping[str, Any]) -> str:
    offline, streaming = combined["offline"], combined["streaming"]
    rows = [
        (name, percent(offline[key]), percent(streaming[key]), lost(offline[key], streaming[key]))
        for key, name in AP_ROWS
    ]
    for name, shown in streaming["per_class"].items():
        before = offline["per_class"][name]["ap"]
        if shown["ap"] is not None:
            rows.append((f"AP of {name}", percent(before), percent(shown["ap"]), lost(before, shown["ap"])))
    return _table(("", "without latency", "as shown (streaming)", "difference"), rows)


def _sequences(sequences: Mapping[str, Any]) -> str:
    headings = ("sequence", "frames", "frames/s", "AP", "sAP", "sAP50", "missed", "staleness (ms)", "HOTA")
    rows = []
    for name, one in sequences.items():
        stale, tracking = one["mean_staleness_ms"], one["tracking"]
        rows.append(
            (
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
        )
    return _table(headings, rows)


def _settings(settings: Mapping[str, Any]) -> str:
    rows = []
    for key, value in settings.items():
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        rows.append((key, text))
    return _table((), rows, "settings")


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "figures") -> str:
    head = f"<tr>{''.join(f'<th>{escape(text)}</th>' for text in headings)}</tr>" if headings else ""
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f'<div class="panel"><table class="{kind}">{head}{body}</table></div>'


def _footer() -> str:
    text = (
        "A frame is scored with the newest result that was there when the frame arrived; COCO's average precision, IoU "
        "0.5 to 0.95. docs/streaming-accuracy.md tells the rules. "
        f"Made by Tracklight {version('tracklight')}; this file needs no network and no other file."
    )
    return f"<footer>{escape(text)}</footer>"
