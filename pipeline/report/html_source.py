"""The part of a page that is about one source: plots, heatmap and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from pipeline.records.address import StoreAddress
from pipeline.report.html_tables import headline_cards, table
from pipeline.report.markup import Markup, joined, tag
from pipeline.report.numbers import Counts, LineNumbers, SourceNumbers, ZoneNumbers, by_class, total
from pipeline.report.pictures import heatmap_picture, scene_picture
from pipeline.report.plots import Bars, Series, bar_plot, legend
from pipeline.report.wording import KINDS, length_text, number_text, step_text, time_text, utc_of

_OTHERS = 6
"""Number of the colour of all classes that have none of their own; those before it have one each."""
_PEAK = 7
_MOST_PLOTS = 8
"""Lines, and zones, with a plot of their own; all are in the tables."""


@dataclass(frozen=True, slots=True)
class PageContext:
    """What all sections need.

    Attributes:
        zone: of wall times.
        colors: number of the colour by class.
        address: the store, beside which pictures are.
        n_pictures: 0: no picture of any footage.
    """

    zone: tzinfo | None
    colors: Mapping[str, int]
    address: StoreAddress
    n_pictures: int


def class_colors(sources: Sequence[SourceNumbers]) -> dict[str, int]:
    """A colour for each of the most frequent classes, the same in the whole page."""
    n_by_class: Counter[str] = Counter()
    for source in sources:
        counted = [source.objects, *(c for line in source.lines for c in line.counts), *(z.visits for z in source.zones)]
        for counts in counted:
            n_by_class.update(by_class(counts))
    ordered = sorted(n_by_class, key=lambda name: (-n_by_class[name], name))
    return {name: min(number, _OTHERS) for number, name in enumerate(ordered)}


def source_section(source: SourceNumbers, name: str, anchor: str, context: PageContext) -> Markup:
    """All of one source."""
    panels = _panels(source, context)
    numbers = headline_cards(source.headline, [source], f"{anchor}-headline")
    notes = []
    if source.asked_step_s:
        text = f"Spans of one {step_text(source.asked_step_s)} would be too many for a plot; these are of one {step_text(source.step_s)}."
        notes.append(tag("p", text, class_="note"))
    if not source.n_events:
        panels = [tag("p", "No events.", class_="quiet")]
    return tag(
        "section",
        tag("h2", name),
        _facts(source, context.zone),
        *notes,
        numbers,
        tag("div", *panels, class_="grid"),
        id=anchor,
    )


def _facts(source: SourceNumbers, zone: tzinfo | None) -> Markup:
    clock = zone if source.on_clock else None
    facts = ["live" if source.is_live else "recorded"]
    if source.address:
        facts.append(source.address)
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


def _panels(source: SourceNumbers, context: PageContext) -> list[Markup]:
    axis = _Axis.of(source, context.zone)
    per = f"per {step_text(source.step_s)}"
    panels = []
    if source.objects:
        plot = bar_plot(Bars(f"Unique objects {per}", _series(source.objects, context.colors), **axis.labels))
        panels.append(_figure(f"Unique objects {per}", plot, _classes([source.objects], context.colors), wide=True))
    panels += [_line_panel(line, per, axis, context.colors) for line in source.lines[:_MOST_PLOTS]]
    for zone in source.zones[:_MOST_PLOTS]:
        panels.append(_occupancy_panel(zone, per, axis))
        if zone.histogram:
            panels.append(_dwell_panel(zone))
    if source.heatmap is not None and source.heatmap.presence_s.any():
        panels.append(_heatmap_panel(source, context))
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


@dataclass(frozen=True, slots=True)
class _Axis:
    """Labels of the spans."""

    labels: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, source: SourceNumbers, zone: tzinfo | None) -> _Axis:
        clock = zone if source.on_clock else None
        tips = [
            time_text(span.start_s, clock, seconds=clock is None)[: 10 if source.step_s >= 86400 and clock else None]
            for span in source.spans
        ]
        days = {tip[:10] for tip in tips}
        ticks = [_tick(span.start_s, source.step_s, clock, len(days) > 1) for span in source.spans]
        return cls({"tips": tips, "ticks": ticks})


def _tick(time_s: float, step_s: int, clock: tzinfo | None, several_days: bool) -> str:
    if clock is None:
        text = time_text(time_s, None)
        return text.removeprefix("0:").removeprefix("0") if text.startswith("0:") else text
    local = utc_of(time_s).astimezone(clock)
    day = f"{local.day} {local:%b}"
    if step_s >= 86400:
        return day
    return f"{day} {local:%H:%M}" if several_days else f"{local:%H:%M}"


def _series(counts: Counts, colors: Mapping[str, int]) -> list[Series]:
    """One for each class with a colour of its own, and one for all others."""
    own = [Series(name, colors[name], numbers) for name, numbers in counts.items() if colors[name] < _OTHERS]
    own.sort(key=lambda one: one.color)
    others = [numbers for name, numbers in counts.items() if colors[name] == _OTHERS]
    if others:
        own.append(Series("others", _OTHERS, [sum(column) for column in zip(*others, strict=True)]))
    return own


def _classes(parts: Sequence[Counts], colors: Mapping[str, int]) -> Markup:
    numbers: Counter[str] = Counter()
    for counts in parts:
        numbers.update({name if colors[name] < _OTHERS else "others": n for name, n in by_class(counts).items()})
    ordered = sorted(numbers, key=lambda name: colors.get(name, _OTHERS))
    return legend([(f"{name} {number_text(numbers[name])}", colors.get(name, _OTHERS)) for name in ordered])


def _figure(title: str, *content: Markup, wide: bool = False) -> Markup:
    return tag(
        "figure", tag("figcaption", tag("h3", title)), *content, class_="panel wide" if wide else "panel"
    )


def _line_panel(line: LineNumbers, per: str, axis: _Axis, colors: Mapping[str, int]) -> Markup:
    label_in, label_out = line.labels
    n_in, n_out = line.totals
    up, down = (_series(counts, colors) for counts in line.counts)
    plot = bar_plot(Bars(f"Crossings of {line.name} {per}", up, down, **axis.labels))
    sides = tag(
        "p",
        tag("span", f"↑ {label_in} ", tag("b", number_text(n_in))),
        tag("span", f"↓ {label_out} ", tag("b", number_text(n_out))),
        class_="sides quiet",
    )
    return _figure(f"Line {line.name}: crossings {per}", sides, plot, _classes(line.counts, colors))


def _occupancy_panel(zone: ZoneNumbers, per: str, axis: _Axis) -> Markup:
    means = Series("average", 0, zone.mean_by_span)
    plot = bar_plot(
        Bars(f"Objects in {zone.name} {per}", [means], peaks=zone.max_by_span, peak_name="at most", **axis.labels)
    )
    mean = "" if zone.occupancy_mean is None else f"{number_text(round(zone.occupancy_mean, 2))} on average, "
    text = tag("p", f"{mean}{zone.occupancy_max} at most", class_="sides quiet")
    key = legend([("average", 0), ("most at once", _PEAK)])
    return _figure(f"Zone {zone.name}: how many are there, {per}", text, plot, key)


def _dwell_panel(zone: ZoneNumbers) -> Markup:
    bounds = [0.0, *(bound for bound, _ in zone.histogram)]
    tips = [f"{_short(low)} to {_short(high)}" for low, high in zip(bounds, bounds[1:], strict=False)]
    values = [float(n) for _, n in zone.histogram]
    plot = bar_plot(
        Bars(f"How long visits to {zone.name} lasted", [Series("visits", 2, values)], tips=tips, ticks=[_short(b) for b in bounds[:-1]])
    )
    dwell = zone.dwell
    facts = "" if dwell is None else f"half of them up to {length_text(dwell.median_s)}, the longest {length_text(dwell.max_s)}"
    text = tag("p", f"{number_text(total(zone.visits))} visits, {facts}", class_="sides quiet")
    return _figure(f"Zone {zone.name}: how long visits last", text, plot)


def _short(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _heatmap_panel(source: SourceNumbers, context: PageContext) -> Markup:
    heatmap = source.heatmap
    scene = scene_picture(source, context.address) if context.n_pictures else None
    if heatmap is None:
        return joined()
    picture = heatmap_picture(heatmap, source.size_px, scene)
    text = tag("p", "The brighter, the longer objects were there; arrows show which way they moved.", class_="quiet")
    return _figure("Where objects were", picture, text)


def _line_table(lines: Sequence[LineNumbers]) -> Markup:
    rows = []
    for line in lines:
        for name in dict.fromkeys([*line.counts[0], *line.counts[1]]):
            numbers = [by_class(counts).get(name, 0) for counts in line.counts]
            rows.append((line.name, name, *map(number_text, numbers), number_text(sum(numbers))))
    body = table(("line", "class", "in", "out", "both"), rows, texts=2)
    return tag("div", tag("h3", "Crossings by line and class"), tag("div", body, class_="scroll"), class_="panel")


def _zone_table(zones: Sequence[ZoneNumbers]) -> Markup:
    heads = ("zone", "visits", "mean", "median", "90 %", "longest", "on average", "at most")
    rows = []
    for zone in zones:
        dwell = zone.dwell
        lengths = ("", "", "", "") if dwell is None else (dwell.mean_s, dwell.median_s, dwell.p90_s, dwell.max_s)
        visits = number_text(total(zone.visits)) + (f" ({zone.n_open} without end)" if zone.n_open else "")
        rows.append(
            (
                *(zone.name, visits),
                *(length if isinstance(length, str) else length_text(length) for length in lengths),
                "" if zone.occupancy_mean is None else f"{zone.occupancy_mean:.2f}",
                zone.occupancy_max,
            )
        )
    body = table(heads, rows, texts=1)
    title = tag("h3", "Visits by zone: dwell, and objects in the zone")
    return tag("div", title, tag("div", body, class_="scroll"), class_="panel wide")
