"""Labels of an axis of time, at round times."""

from __future__ import annotations

from datetime import tzinfo

from pipeline.records.buckets import BY, Bucket, utc_of
from pipeline.report.numbers import SourceNumbers
from pipeline.report.plots import Axis
from pipeline.report.wording import time_text

_DAY_S = BY["day"]
_MOST = 6
_APART_S = (
    *(1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200),
    *(_DAY_S * days for days in (1, 2, 7, 14, 28, 91, 182, 364)),
)


def time_axis(source: SourceNumbers, zone: tzinfo | None) -> Axis:
    """The spans of a source.

    Args:
        source: whose.
        zone: of wall times; not used for footage.
    """
    clock = zone if source.on_clock else None
    tips = [time_text(span.start_s, clock, seconds=clock is None) for span in source.spans]
    if clock is not None and source.step_s >= _DAY_S:
        tips = [tip[:10] for tip in tips]
    places = [_seconds(span, clock) for span in source.spans]
    marks = next((found for apart_s in _APART_S if len(found := _at(places, apart_s)) <= _MOST), [])
    return Axis(tips, {index: _label(source.spans[index].start_s, clock) for index in marks})


def _at(places: list[int], apart_s: int) -> list[int]:
    """Which spans begin at multiples of so many seconds."""
    return [index for index, place in enumerate(places) if place % apart_s == 0]


def _seconds(span: Bucket, clock: tzinfo | None) -> int:
    """When a span begins, by the clock on the wall: midnight is a multiple of a day, that of Monday of a week."""
    if clock is None:
        return round(span.start_s)
    local = utc_of(span.start_s).astimezone(clock)
    return (local.toordinal() - 1) * _DAY_S + local.hour * 3600 + local.minute * 60


def _label(time_s: float, clock: tzinfo | None) -> str:
    if clock is None:
        return time_text(time_s, None).removeprefix("0:").removeprefix("0")
    local = utc_of(time_s).astimezone(clock)
    return f"{local.day} {local:%b}" if (local.hour, local.minute) == (0, 0) else f"{local:%H:%M}"
