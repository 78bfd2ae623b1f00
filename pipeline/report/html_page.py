"""A report as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from pipeline.records.address import StoreAddress
from pipeline.report.definitions import definitions
from pipeline.report.html_source import PageContext, class_colors, source_section
from pipeline.report.html_tables import event_table, headline_cards, overview_table, picture_gallery, section_names
from pipeline.report.markup import Markup, tag
from pipeline.report.numbers import ReportNumbers
from pipeline.report.wording import time_text

_FILES = ("report.css", "report.js")


def html_page(report: ReportNumbers, address: StoreAddress, n_pictures: int) -> str:
    """The page.

    Args:
        report: what it says.
        address: the store, beside which the pictures are.
        n_pictures: most pictures of events; 0: no picture of any footage.
    """
    style, script = (files("pipeline.report").joinpath("page", name).read_text("utf-8") for name in _FILES)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Report of {report.store}"),
        tag("style", Markup(style)),
    )
    body = tag("body", *_body(report, address, n_pictures), tag("script", Markup(script)))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _body(report: ReportNumbers, address: StoreAddress, n_pictures: int) -> list[Markup]:
    names = section_names(report.sources)
    context = PageContext(report.made.tzinfo, class_colors(report.sources), address, n_pictures)
    parts = [_header(report)]
    if report.nothing_in_words:
        parts.append(_nothing(report))
    if report.sources:
        parts.append(headline_cards(report.headline, report.sources, "headline"))
    if len(report.sources) > 1:
        parts.append(overview_table(report.sources, names))
    for number, (source, name) in enumerate(zip(report.sources, names, strict=True)):
        parts.append(source_section(source, name, number, context))
    parts += picture_gallery(report, names, address, n_pictures)
    parts += event_table(report, names)
    parts.append(definitions(report))
    parts.append(tag("footer", f"Made by Tracklight {report.version}. This file needs no network and no other file."))
    return [tag("main", *parts)]


def _header(report: ReportNumbers) -> Markup:
    lines = [f"From {report.store}, made {report.made.strftime('%Y-%m-%d %H:%M')} ({report.zone})."]
    if any(source.on_clock for source in report.sources):
        lines.append(f"Times of live sources are local times of {report.zone}.")
    if any(not source.on_clock for source in report.sources):
        lines.append("Times of recorded footage are times in the footage (h:mm:ss).")
    chosen = tag("p", f"Only events of: {report.chosen}", class_="note") if report.chosen else None
    return tag("header", tag("h1", _title(report)), tag("p", " ".join(lines), class_="quiet"), chosen)


def _title(report: ReportNumbers) -> str:
    clocks = [source for source in report.sources if source.on_clock and source.spans]
    if clocks and len(clocks) == len(report.sources):
        zone = report.made.tzinfo
        first = time_text(min(source.first_s for source in clocks), zone)[:10]
        last = time_text(max(source.last_s for source in clocks), zone)[:10]
        return f"What happened on {first}" if first == last else f"What happened from {first} to {last}"
    if len(report.sources) == 1:
        return f"What happened in {report.sources[0].source_id}"
    return "What happened" if not report.sources else f"What happened in {len(report.sources)} sources"


def _nothing(report: ReportNumbers) -> Markup:
    text = f"{report.nothing_in_words.capitalize()}."
    hint = "A run with rules and -o events.db writes events; docs/analytics.md tells how rules are made."
    return tag("div", tag("h2", text), tag("p", hint, class_="quiet"), class_="panel", id="nothing")
