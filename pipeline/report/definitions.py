"""How a report counts, in words."""

from __future__ import annotations

from pipeline.report.markup import Markup, tag
from pipeline.report.numbers import ReportNumbers

TEXTS = (
    (
        "Unique objects",
        "One for each object that was in view, from its first to its last sighting; a track that breaks off and is "
        "found again after a short gap is one object. Who leaves and comes back later is counted again, and so is who "
        "passes several cameras.",
    ),
    (
        "Crossings",
        "One each time an object changes from one side of a line to the other; who turns round on the line does not "
        "cross it. In is from the left to the right of someone who stands at the line's first point and looks at its "
        "second.",
    ),
    (
        "Visits and dwell",
        "A visit is one stay of one object in a zone, from its first to its last sighting there. Dwell is how long it "
        "lasted; mean, median, 90 % and longest are of visits that have ended. The median and 90 % are dwells that "
        "were measured: at least that share of all visits was no longer.",
    ),
    (
        "Objects in a zone",
        "From the visits: the average over the time that was watched, and the most at any instant, a visit's last "
        "instant included. Visits that began before the time that was asked for are part of it. A visit without an end "
        "lasts until its run saw its last frame.",
    ),
    (
        "Spans of time",
        "An event belongs to the span in which it begins; objects in a zone belong to each span by the part of the "
        "visit that lies in it. On a clock, spans begin at full days, hours and minutes of local time: a day on which "
        "clocks are changed has 23 or 25 hours, and the hour that comes twice is two spans.",
    ),
    (
        "Incidents",
        "Events that a rule was told to watch for: loitering, crowding, empty, speeding, wrong way, stopped, sudden "
        "stop.",
    ),
    (
        "Which runs",
        "Of recorded footage the newest run of each source, of live sources all runs, unless one run was asked for. "
        "Heatmaps are of a whole run (of a live source, the newest that has one), whatever time was asked for.",
    ),
)


def definitions(report: ReportNumbers) -> Markup:
    """The section at the end of a page."""
    zone = f"Wall times are those of {report.zone}." if any(source.on_clock for source in report.sources) else None
    terms = [piece for term, text in TEXTS for piece in (tag("dt", term), tag("dd", text))]
    return tag(
        "section",
        tag("h2", "How this is counted"),
        tag("div", tag("p", zone, class_="quiet") if zone else None, tag("dl", *terms), class_="panel"),
        id="definitions",
    )
