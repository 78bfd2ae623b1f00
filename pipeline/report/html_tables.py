"""The parts of a page that are about all sources: headline numbers, overview, pictures, events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import tzinfo

from pipeline.records.address import StoreAddress
from pipeline.report.markup import Content, Markup, tag
from pipeline.report.numbers import DIRECTIONS, ReportNumbers, SourceNumbers, TimedEvent, by_class
from pipeline.report.pictures import pictured_events
from pipeline.report.wording import KINDS, details_text, length_text, number_text, time_text

_CLASSES_NAMED = 3


def section_names(sources: Sequence[SourceNumbers]) -> list[str]:
    """What to call each source: its id, with the run where several runs of one are told apart."""
    n_by_id = Counter(source.source_id for source in sources)
    return [
        source.source_id
        if n_by_id[source.source_id] == 1
        else f"{source.source_id} ({'live' if source.is_live else source.runs[-1].run_id})"
        for source in sources
    ]


def headline_cards(headline: Mapping[str, int], sources: Sequence[SourceNumbers], name: str) -> Markup:
    """The numbers that are read first; of what no rule counts, there is none."""
    objects: Counter[str] = Counter()
    for source in sources:
        objects.update(by_class(source.objects))
    lines, zones = (any(parts) for parts in zip(*((s.lines, s.zones) for s in sources), strict=True))
    cards = []
    # Visits and crossings without objects: their events are switched off, or were not asked for.
    if objects or not (lines or zones):
        cards.append(_card("objects", headline["objects"], "unique objects", _most_frequent(objects)))
    if lines:
        # The words of a line that nobody crossed are not known.
        labels = {line.labels for source in sources for line in source.lines if any(line.totals)}
        names = labels.pop() if len(labels) == 1 else DIRECTIONS
        for side, label in zip(DIRECTIONS, names, strict=True):
            key = f"crossings_{side}"
            cards.append(_card(key, headline[key], f"crossings {side}", "" if label == side else label))
    if zones:
        dwell = _median_dwell(sources)
        cards.append(_card("visits", headline["visits"], "visits to zones", f"median dwell {dwell}" if dwell else ""))
    incidents: Counter[str] = Counter()
    for source in sources:
        incidents.update(by_class(source.incidents))
    texts = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in incidents.most_common(_CLASSES_NAMED))
    cards.append(_card("incidents", headline["incidents"], "incidents", texts, warn=bool(incidents)))
    return tag("div", *cards, class_="cards", id=name)


def overview_table(sources: Sequence[SourceNumbers], names: Sequence[str]) -> Markup:
    """One row for each source."""
    heads = ("source", "watched", "objects", "in", "out", "visits", "median dwell", "incidents")
    rows = []
    for number, (source, name) in enumerate(zip(sources, names, strict=True)):
        numbers = source.headline
        link = tag("a", name, href=f"#source-{number}")
        shown = (
            length_text(source.watched_s),
            number_text(numbers["objects"]),
            *(number_text(numbers[key]) if source.lines else "" for key in ("crossings_in", "crossings_out")),
            number_text(numbers["visits"]) if source.zones else "",
            _median_dwell([source]),
            number_text(numbers["incidents"]),
        )
        rows.append((link, *shown))
    return tag("section", tag("h2", "Sources"), tag("div", table(heads, rows, texts=1), class_="panel scroll wide"))


def table(heads: Sequence[str], rows: Sequence[Sequence[Content]], *, texts: int) -> Markup:
    """A table whose first columns are texts and whose others are numbers."""
    classes = ["w" if number < texts else "n" for number in range(len(heads))]
    head = [tag("th", text, class_=kind, scope="col") for text, kind in zip(heads, classes, strict=True)]
    body = [tag("tr", *(tag("td", cell, class_=kind) for cell, kind in zip(row, classes, strict=True))) for row in rows]
    return tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))


def picture_gallery(
    report: ReportNumbers, names: Sequence[str], address: StoreAddress, n_pictures: int
) -> list[Markup]:
    """Pictures of events, the most telling first; nothing where there are none."""
    found = pictured_events(report.sources, address, n_pictures)
    if not found:
        return []
    name_of = {id(source): name for source, name in zip(report.sources, names, strict=True)}
    figures = []
    for source, timed, url in found:
        zone = report.made.tzinfo if source.on_clock else None
        what = f"{KINDS[timed.event.kind].capitalize()}: {timed.event.rule}"
        where = f"{name_of[id(source)]} · {time_text(timed.start_s, zone)}"
        caption = tag(
            "figcaption",
            tag("span", what, class_="incident" if timed.is_incident else None),
            tag("br"),
            tag("span", where, class_="quiet"),
        )
        image = tag("img", src=url, alt=f"{what}, {timed.event.class_name}", loading="lazy", decoding="async")
        figures.append(tag("figure", image, caption))
    n_all = sum(source.n_pictured for source in report.sources)
    more = f"{len(found)} of {number_text(n_all)}, incidents first." if n_all > len(found) else None
    heading = tag("h2", "Pictures")
    note = tag("p", more, class_="quiet") if more else None
    return [tag("section", heading, note, tag("div", *figures, class_="pictures panel"), id="pictures")]


def event_table(report: ReportNumbers, names: Sequence[str]) -> list[Markup]:
    """Events with their times; the newest of them, incidents first, where there are too many."""
    shown = sum(len(source.rows) for source in report.sources)
    if not shown:
        return []
    n_all = sum(source.n_rows for source in report.sources)
    count = f"{number_text(shown)} events"
    if n_all > shown:
        count = (
            f"{number_text(shown)} of {number_text(n_all)} events: incidents first, then the newest. "
            "`tracklight events list` and `events export` have all of them."
        )
    rows = [
        _event_row(name, timed, report.made.tzinfo if source.on_clock else None)
        for source, name in zip(report.sources, names, strict=True)
        for timed in source.rows
    ]
    filtered = {"Source", "Kind", "Rule", "Class"}
    heads = ("Time", "Source", "Kind", "Rule", "Class", "Lasted", "Details")
    head = [tag("th", text, scope="col", data_filter="" if text in filtered else None) for text in heads]
    body = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows), id="events")
    return [
        tag(
            "section",
            tag("h2", "Events"),
            tag("p", count, class_="quiet", id="shown", role="status"),
            tag(
                "div",
                Markup('<div class="filters" id="filters" hidden></div>'),
                tag("div", body, class_="long", tabindex="0", role="region", aria_label="Events"),
                class_="panel wide",
            ),
        )
    ]


def _event_row(name: str, timed: TimedEvent, zone: tzinfo | None) -> Markup:
    event = timed.event
    lasted = "goes on" if timed.end_s is None else length_text(timed.end_s - timed.start_s)
    kind = KINDS[event.kind]
    return tag(
        "tr",
        tag("td", time_text(timed.start_s, zone), class_="t"),
        tag("td", name, class_="w"),
        tag("td", kind, class_="t incident" if timed.is_incident else "t"),
        tag("td", event.rule, class_="w"),
        tag("td", event.class_name),
        tag("td", "" if timed.end_s == timed.start_s else lasted, class_="t"),
        tag("td", details_text(event), class_="w"),
    )


def _card(name: str, number: int, text: str, more: str, *, warn: bool = False) -> Markup:
    value = tag("b", number_text(number), data_number=name)
    rest = tag("span", more, class_="quiet") if more else None
    return tag("div", value, tag("span", text), rest, class_="card warn" if warn else "card")


def _most_frequent(counts: Counter[str]) -> str:
    named = ", ".join(f"{name} {number_text(n)}" for name, n in counts.most_common(_CLASSES_NAMED))
    rest = counts.total() - sum(n for _, n in counts.most_common(_CLASSES_NAMED))
    return f"{named}, others {number_text(rest)}" if rest else named


def _median_dwell(sources: Sequence[SourceNumbers]) -> str:
    """Of the zones; from the shortest to the longest where there are several."""
    found = [zone.dwell.median_s for source in sources for zone in source.zones if zone.dwell is not None]
    texts = dict.fromkeys(length_text(seconds) for seconds in (min(found), max(found))) if found else {}
    return " to ".join(texts)
