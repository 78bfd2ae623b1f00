"""Spans of time that counts are gathered by: hours and days on a clock, or spans of footage."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.core.errors import UsageError

BY = {"15min": 900, "hour": 3600, "day": 86400}
"""Spans that a person can ask for (s)."""
_CHOICES = (1, 5, 10, 30, 60, 300, 900, 3600, 86400)
_FEWEST_S_ON_A_CLOCK = 60
_SEARCH_STEP = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A span of time, its end not included, in seconds of a `Timescale`."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Timescale:
    """How a source's times are cut into spans.

    On a clock, times are seconds since 1970 and spans begin at full days, hours and so on of the zone. Where clocks are
    changed, a day has 23 or 25 hours, and the hour that comes twice is two spans. Of footage, times are its own seconds
    and spans begin at multiples of the step.

    Attributes:
        step_s: length of a span (s), where no clock is changed in it; on a clock a whole day or a part of one.
        zone: of the clock, or None for times of footage.
    """

    step_s: int
    zone: tzinfo | None

    def start_of(self, time_s: float) -> float:
        """When the span begins that a time lies in."""
        if self.zone is None:
            return float(time_s // self.step_s * self.step_s)
        return clock_s(self._floor(utc_of(time_s)))

    def spans(self, first_s: float, last_s: float) -> Iterator[Bucket]:
        """All spans from that of one time to that of another, without gaps."""
        start_s = self.start_of(first_s)
        while start_s <= last_s:
            end_s = self._next(start_s)
            yield Bucket(start_s, end_s)
            start_s = end_s

    def _next(self, start_s: float) -> float:
        if self.zone is None:
            return start_s + self.step_s
        start = utc_of(start_s)
        end = self._floor(start + timedelta(seconds=self.step_s))
        # A day of 25 hours: a day later it is still the same one. One of 23: a day later is an hour into the next.
        later = start + timedelta(seconds=self.step_s)
        while end <= start:
            later += _SEARCH_STEP
            end = self._floor(later)
        return clock_s(end)

    def _floor(self, time: datetime) -> datetime:
        local = time.astimezone(self.zone)
        of_day = local.hour * 3600 + local.minute * 60 + local.second
        of_day -= of_day % self.step_s
        hour, rest = divmod(of_day, 3600)
        # `fold` stays: it tells the first from the second of an hour that comes twice.
        begin = local.replace(hour=hour, minute=rest // 60, second=rest % 60, microsecond=0)
        if self.step_s >= 86400:
            begin = begin.replace(fold=0)
        return begin.astimezone(UTC)


def choose_step_s(length_s: float, *, on_clock: bool, most: int = 60) -> int:
    """The shortest step that cuts a length into at most so many spans; a day where none does."""
    least = _FEWEST_S_ON_A_CLOCK if on_clock else 1
    return next((step for step in _CHOICES if step >= least and length_s / step <= most), _CHOICES[-1])


def coarser_steps_s(step_s: int) -> Sequence[int]:
    """A step and those that are longer."""
    return [step_s, *(step for step in BY.values() if step > step_s)]


def find_zone(name: str | None) -> tzinfo:
    """The time zone of a name; without one, this machine's.

    Raises:
        UsageError: no such zone is known here.
    """
    if name is None:
        return _machine_zone()
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"timezone: wanted a name such as Europe/Berlin or UTC, found {name!r}") from error


def zone_name(zone: tzinfo) -> str:
    """What to call a zone."""
    return zone.key if isinstance(zone, ZoneInfo) and zone.key else str(zone)


def _machine_zone() -> tzinfo:
    """By name where the system tells it, so that the clock's changes are known; else by today's offset."""
    place = Path("/etc/localtime")
    names = [os.environ.get("TZ", "").removeprefix(":"), place.resolve().as_posix().partition("zoneinfo/")[2]]
    for name in filter(None, names):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            continue
    offset = datetime.now().astimezone().utcoffset() or timedelta(0)
    return UTC if not offset else timezone(offset)


def utc_of(time_s: float) -> datetime:
    """The wall time of seconds since 1970."""
    return _EPOCH + timedelta(seconds=time_s)


def clock_s(time: datetime) -> float:
    """Seconds since 1970."""
    return (time - _EPOCH).total_seconds()
