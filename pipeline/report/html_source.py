"""The part of a page that is about one source: plots, heatmap and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from pipeline.core.arrays import ImageArray
from pipeline.core.scene import Heatmap
from pipeline.records.address import StoreAddress
from pipeline.report.html_tables import headline_cards, table
from pipeline.report.markup import Markup, tag
from pipeline.report.numbers import (
    NO_CLASS,
    Counts,
    DwellNumbers,
    LineNumbers,
    SourceNumbers,
    ZoneNumbers,
    by_class,
    total,
)
from pipeline.report.pictures import heatmap_picture, scene_picture
from pipeline.report.plots import Axis, Bars, Series, bar_plot, legend
from pipeline.report.time_axis import time_axis
from pipeline.report.wording import KINDS, length_text, number_text, step_text, time_text

_OTHERS = 6
"""Number of the colour of all classes that have none of their own; those before it have one each."""
_PEAK = 7
_MOST_PLOTS = 8
"""Lines, and zones, with a plot of their own; all are in the tables."""
_MOST_LABELS = 6

_Rule = TypeVar("_Rule", LineNumbers, ZoneNumbers)


@dataclass(frozen=True, slots=True)
class PageContext:
    """What all sections need.

    Attributes:
        zone: of wall times.
        colors: number of the colour by class.
        address: the store, beside which pictures are.
        n_pictures: most pictures of events, and most sources whose heatmap has a picture below it.
    """

    zone: tzinfo | None
    colors: Mapping[str, int]
    address: StoreAddress
    n_pictures: int


def class_colors(sources: Sequence[SourceNumbers]) -> dict[str, int]:
    """A colour for each of the most frequent classes, the same in the whole page."""
    n_by_class: Counter[str] = Counter()
    for source in sources:
        counted = [
            source.objects,
            *(c for line in source.lines for c in line.counts),
            *(z.visits for z in source.zones),
        ]
        for counts in counted:
            n_by_class.update(by_class(counts))
    ordered = sorted(n_by_class, key=lambda name: (-n_by_class[name], name))
    return {name: min(number, _OTHERS) for number, name in enumerate(ordered)}


def source_section(source: SourceNumbers, name: str, number: int, context: PageContext) -> Markup:
    """All of one source, which is the one of this number."""
    # Each background takes as much as a few thumbnails.
    panels = _panels(source, context, with_scene=number < context.n_pictures)
    numbers = headline_cards(source.headline, [source], f"source-{number}-headline")
    notes = [
        tag("p", f"The {_MOST_PLOTS} busiest of {len(rules)} {what} have plots; all are in the tables.", class_="note")
        for what, rules in (("lines", _busy_lines(source)), ("zones", _busy_zones(source)))
        if len(rules) > _MOST_PLOTS
    ]
    if source.asked_step_s:
        asked, used = step_text(source.asked_step_s), step_text(source.step_s)
        text = f"Spans of one {asked} would be too many for a plot; these are of one {used}."
        notes.append(tag("p", text, class_="note"))
    if not panels:
        panels = [tag("p", "No events.", class_="quiet")]
    return tag(
        "section",
        tag("h2", name),
        _facts(source, context.zone),
        *notes,
        numbers,
        tag("div", *panels, class_="grid"),
        id=f"source-{number}",
    )


def _facts(source: SourceNumbers, zone: tzinfo | None) -> Markup:
    clock = zone if source.on_clock else None
    facts = ["live" if source.is_live else "recorded"]
    if source.address:
        # Where the file lies is nothing for the reader of a page that is passed on.
        facts.append(source.address if source.is_live else Path(source.address).name)
    if source.spans:
        facts.append(f"{time_text(source.first_s, clock)} to {time_text(source.last_s, clock)}")
        facts.append(f"{length_text(source.watched_s)} watched")
    facts.append(f"{number_text(source.frames)} frames")
    if len(source.runs) == 1:
        run = source.runs[0]
        facts.append(f"run {run.run_id}" + ("" if run.status == "completed" else f" ({run.status})"))
    else:
        unfinished = Counter(run.status for run in source.runs if run.status != "completed")
        rest = ", ".join(f"{n} {status}" for status, n in sorted(unfinished.items()))
        facts.append(f"{len(source.runs)} runs" + (f" ({rest})" if rest else ""))
    return tag("p", " · ".join(facts), class_="quiet")


def _panels(source: SourceNumbers, context: PageContext, *, with_scene: bool) -> list[Markup]:
    axis = time_axis(source, context.zone)
    per = f"per {step_text(source.step_s)}"
    panels = []
    if source.objects:
        plot = bar_plot(Bars(f"Unique objects {per}", axis, _series(source.objects, context.colors)))
        panels.append(_figure(f"Unique objects {per}", plot, _classes([source.objects], context.colors), place="wide"))
    if source.heatmap is not None and source.heatmap.presence_s.any():
        scene = scene_picture(source, context.address) if with_scene else None
        panels.append(_heatmap_panel(source.heatmap, source.size_px, scene))
    panels += [
        _line_panel(line, per, axis, context.colors)
        for line in _busiest(_busy_lines(source), lambda line: sum(line.totals))
    ]
    for zone in _busiest(_busy_zones(source), lambda zone: total(zone.visits)):
        # Side by side; what lies between them moves into the gaps.
        panels.append(_occupancy_panel(zone, per, axis))
        if zone.dwell is not None:
            panels.append(_dwell_panel(zone, zone.dwell))
    if source.lines:
        panels.append(_line_table(source.lines))
    if source.zones:
        panels.append(_zone_table(source.zones))
    incidents = [kind for kind in source.kinds if str(kind.kind) in source.incidents]
    if incidents:
        rows = [(KINDS[k.kind], k.rule, number_text(k.n), length_text(k.lasted_s)) for k in incidents]
        body = table(("incident", "rule", "number", "in all"), rows, texts=2)
        panels.append(tag("div", tag("h3", "Incidents"), tag("div", body, class_="scroll"), class_="panel"))
    return panels


def _busy_lines(source: SourceNumbers) -> list[LineNumbers]:
    """Those that somebody crossed."""
    return [line for line in source.lines if any(line.totals)]


def _busy_zones(source: SourceNumbers) -> list[ZoneNumbers]:
    """Those that somebody was in."""
    return [zone for zone in source.zones if zone.occupancy_max]


def _busiest(rules: Sequence[_Rule], busy: Callable[[_Rule], int]) -> list[_Rule]:
    """As many as have plots, in their order."""
    first = sorted(range(len(rules)), key=lambda number: (-busy(rules[number]), number))[:_MOST_PLOTS]
    return [rules[number] for number in sorted(first)]


def _series(counts: Counts, colors: Mapping[str, int]) -> list[Series]:
    """One for each class with a colour of its own, and one for all others."""
    own = [Series(name, colors[name], numbers) for name, numbers in counts.items() if colors[name] < _OTHERS]
    own.sort(key=lambda one: one.color)
    others = [numbers for name, numbers in counts.items() if colors[name] == _OTHERS]
    if others:
        own.append(Series("others", _OTHERS, [sum(column) for column in zip(*others, strict=True)]))
    return own


def _classes(parts: Sequence[Counts], colors: Mapping[str, int]) -> Markup:
    numbers: Counter[int] = Counter()
    names: dict[int, str] = {_OTHERS: "others"}
    for counts in parts:
        for name, n in by_class(counts).items():
            numbers[colors[name]] += n
            if colors[name] < _OTHERS:
                names[colors[name]] = name
    return legend([(f"{names[color]} {number_text(numbers[color])}", color) for color in sorted(numbers)])


def _figure(title: str, *content: Markup, place: str = "") -> Markup:
    return tag("figure", tag("figcaption", tag("h3", title)), *content, class_=f"panel {place}".strip())


def _line_panel(line: LineNumbers, per: str, axis: Axis, colors: Mapping[str, int]) -> Markup:
    label_in, label_out = line.labels
    n_in, n_out = line.totals
    up, down = (_series(counts, colors) for counts in line.counts)
    plot = bar_plot(Bars(f"Crossings of {line.name} {per}", axis, up, down))
    sides = tag(
        "p",
        tag("span", f"↑ {label_in} ", tag("b", number_text(n_in))),
        tag("span", f"↓ {label_out} ", tag("b", number_text(n_out))),
        class_="sides quiet",
    )
    return _figure(f"Line {line.name}: crossings {per}", sides, plot, _classes(line.counts, colors))


def _occupancy_panel(zone: ZoneNumbers, per: str, axis: Axis) -> Markup:
    means = Series("average", 0, zone.mean_by_span)
    plot = bar_plot(Bars(f"Objects in {zone.name} {per}", axis, [means], peaks=zone.max_by_span, peak_name="at most"))
    mean = "" if zone.occupancy_mean is None else f"{zone.occupancy_mean:.2f} on average, "
    text = tag("p", f"{mean}{zone.occupancy_max} at most", class_="sides quiet")
    key = legend([("average", 0), ("most at once", _PEAK)])
    return _figure(f"Zone {zone.name}: how many are there, {per}", text, plot, key, place="first")


def _dwell_panel(zone: ZoneNumbers, dwell: DwellNumbers) -> Markup:
    bounds = [0.0, *(bound for bound, _ in zone.histogram)]
    spans = [_interval(low, high) for low, high in pairwise(bounds)]
    values = [float(n) for _, n in zone.histogram]
    step = -(-len(spans) // _MOST_LABELS)
    axis = Axis(spans, {index: spans[index] for index in range(0, len(spans), step)}, centred=True)
    bars = Bars(f"How long visits to {zone.name} lasted", axis, [Series("visits", 2, values)])
    text = (
        f"{number_text(sum(n for _, n in zone.histogram))} visits, half of them up to {length_text(dwell.median_s)}, "
        f"the longest {length_text(dwell.max_s)}"
    )
    return _figure(f"Zone {zone.name}: how long visits last", tag("p", text, class_="sides quiet"), bar_plot(bars))


def _interval(low_s: float, high_s: float) -> str:
    unit, name = (1, "s") if high_s <= 120 else (60, "min") if high_s <= 7200 else (3600, "h")
    return f"{low_s / unit:g}–{high_s / unit:g} {name}"  # noqa: RUF001 - a dash between numbers


def _heatmap_panel(heatmap: Heatmap, size_px: tuple[int, int], scene: ImageArray | None) -> Markup:
    picture = heatmap_picture(heatmap, size_px, scene)
    text = tag("p", "The brighter, the longer objects were there; arrows show which way they moved.", class_="quiet")
    return _figure("Where objects were", picture, text)


def _line_table(lines: Sequence[LineNumbers]) -> Markup:
    rows = []
    for line in lines:
        for name in dict.fromkeys([*line.counts[0], *line.counts[1]]) or (NO_CLASS,):
            numbers = [by_class(counts).get(name, 0) for counts in line.counts]
            rows.append((line.name, name, *map(number_text, numbers), number_text(sum(numbers))))
    body = table(("line", "class", "in", "out", "both"), rows, texts=2)
    return tag("div", tag("h3", "Crossings by line and class"), tag("div", body, class_="scroll"), class_="panel")


def _zone_table(zones: Sequence[ZoneNumbers]) -> Markup:
    heads = ("zone", "visits", "mean", "median", "90 %", "longest", "on average", "at most")
    rows = []
    for zone in zones:
        lengths = [""] * 4 if zone.dwell is None else map(length_text, zone.dwell.all_s)
        visits = number_text(total(zone.visits)) + (f" ({zone.n_open} without end)" if zone.n_open else "")
        rows.append(
            (
                *(zone.name, visits),
                *lengths,
                "" if zone.occupancy_mean is None else f"{zone.occupancy_mean:.2f}",
                zone.occupancy_max,
            )
        )
    body = table(heads, rows, texts=1)
    title = tag("h3", "Visits by zone: dwell, and objects in the zone")
    return tag("div", title, tag("div", body, class_="scroll"), class_="panel wide")
