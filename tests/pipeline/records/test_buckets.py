"""Spans of time, clock changes included."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import UsageError
from pipeline.records.buckets import BY, Bucket, Timescale, choose_step_s, clock_s, find_zone, utc_of, zone_name

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: str = "UTC", fold: int = 0) -> float:
    return clock_s(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold))


def local(spans: list[Bucket], zone: ZoneInfo) -> list[str]:
    return [utc_of(span.start_s).astimezone(zone).strftime("%d %H:%M %z") for span in spans]


def test_hours_of_the_night_in_which_clocks_go_back() -> None:
    scale = Timescale(3600, BERLIN)
    spans = list(scale.spans(at("2026-10-25T00:30", "Europe/Berlin"), at("2026-10-25T04:10", "Europe/Berlin")))
    assert local(spans, BERLIN) == [
        "25 00:00 +0200",
        "25 01:00 +0200",
        "25 02:00 +0200",
        "25 02:00 +0100",
        "25 03:00 +0100",
        "25 04:00 +0100",
    ]
    assert {span.end_s - span.start_s for span in spans} == {3600}


def test_hours_of_the_night_in_which_clocks_go_forward() -> None:
    spans = list(
        Timescale(3600, BERLIN).spans(at("2026-03-29T01:30", "Europe/Berlin"), at("2026-03-29T03:10", "Europe/Berlin"))
    )
    assert local(spans, BERLIN) == ["29 01:00 +0100", "29 03:00 +0200"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2026-06-01", 24),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        # Clocks change at midnight: the day has no 0:00, or two of them.
        ("Africa/Cairo", "2026-04-24", 23),
        ("America/Havana", "2026-11-01", 25),
    ],
)
def test_days(zone: str, day: str, hours: float) -> None:
    noon = at(f"{day}T12:00", zone)
    (span,) = Timescale(86400, ZoneInfo(zone)).spans(noon, noon)
    assert (span.end_s - span.start_s) / 3600 == hours
    first = utc_of(span.start_s).astimezone(ZoneInfo(zone))
    assert first.date().isoformat() == day
    assert utc_of(span.start_s - 1).astimezone(ZoneInfo(zone)).date() < first.date()


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([*BY.values(), 60, 300]),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana", "UTC", ""]),
    st.integers(0, 366 * 86400 * 10).map(lambda tenths: 1_767_225_600 + tenths / 10),
    st.floats(0, 40 * 3600),
)
def test_spans_have_no_gaps_and_hold_their_times(step_s: int, zone: str, first_s: float, length_s: float) -> None:
    scale = Timescale(step_s, ZoneInfo(zone) if zone else None)
    last_s = first_s + min(length_s, step_s * 50)
    spans = list(scale.spans(first_s, last_s))
    assert spans[0].start_s <= first_s
    assert spans[-1].start_s <= last_s < spans[-1].end_s
    assert all(before.end_s == after.start_s for before, after in pairwise(spans))
    for time_s in (first_s, last_s, (first_s + last_s) / 2):
        start_s = scale.start_of(time_s)
        (holds,) = [span for span in spans if span.start_s <= time_s < span.end_s]
        assert holds.start_s == start_s


def test_footage_begins_at_multiples_of_the_step() -> None:
    assert list(Timescale(5, None).spans(-3.0, 7.0)) == [Bucket(-5, 0), Bucket(0, 5), Bucket(5, 10)]


@pytest.mark.parametrize(
    ("length_s", "on_clock", "step_s"),
    [(30, False, 1), (140, False, 5), (3600, False, 60), (20, True, 60), (86400, True, 3600), (9e6, True, 86400)],
)
def test_a_step_that_suits(length_s: float, on_clock: bool, step_s: int) -> None:
    assert choose_step_s(length_s, on_clock=on_clock) == step_s


def test_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zone_name(find_zone("Asia/Tokyo")) == "Asia/Tokyo"
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert zone_name(find_zone(None)) == "Europe/Berlin"
    for name in ("Mars/Olympus", "../../etc/passwd", ""):
        with pytest.raises(UsageError, match="timezone"):
            find_zone(name)


def test_a_zone_that_the_environment_names_wrongly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "nonsense/zone")
    zone = find_zone(None)
    assert zone_name(zone)
    assert Path("/etc/localtime").exists() or datetime.now(zone).utcoffset() is not None
