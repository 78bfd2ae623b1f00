"""Numbers of a report, against counting the same events one by one."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.event import EventKind
from pipeline.records.rows import EventFilter
from pipeline.records.store import Store
from pipeline.report.gather import ROWS, ReportOptions, gather
from pipeline.report.html_page import html_page
from pipeline.report.numbers import SourceNumbers, total

MADE = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MakeStore = Callable[..., Store]


def numbers(store: Store, **options: Any) -> list[SourceNumbers]:
    given = {"zone": UTC, **options}
    return list(gather(store, ReportOptions(**given), MADE).sources)


def plain(source: SourceNumbers) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(json.dumps(source.to_json()))
    return shown


@pytest.mark.parametrize("by", ["15min", "hour", "day", None])
@pytest.mark.parametrize("zone", [UTC, BERLIN, ZoneInfo("Asia/Kathmandu")], ids=str)
def test_a_live_source_equals_counting_one_by_one(
    footage: Any, make_store: MakeStore, by: str | None, zone: Any
) -> None:
    """Over the night in which clocks go back in Berlin."""
    rng = random.Random(3)
    began = datetime(2026, 10, 24, 18, 0, tzinfo=UTC)
    camera = footage(is_live=True, began=began, length_s=20 * 3600)
    told: list[tuple[str, str, str, float, float]] = []
    for _ in range(400):
        at_s, name = rng.random() * 19 * 3600, rng.choice(("person", "car"))
        kind = rng.choice(("object", "in", "out", "visit"))
        lasted_s = round(rng.expovariate(1 / 400), 3)
        if kind == "object":
            camera.add(EventKind.OBJECT, at_s, lasted_s, class_name=name)
        elif kind == "visit":
            camera.visit(at_s, lasted_s, class_name=name)
        else:
            camera.cross(at_s, kind, class_name=name)
        told.append((kind, name, "", at_s, lasted_s))
    (source,) = numbers(make_store(camera), by=by, zone=zone)
    buckets = plain(source)["buckets"]
    assert buckets[0]["start"] <= "2026-10-24T18:00:00.000Z"
    assert all(before["end"] == after["start"] for before, after in pairwise(buckets))
    stays = [(at_s, at_s + lasted_s) for kind, _, _, at_s, lasted_s in told if kind == "visit"]
    for bucket in buckets:
        first_s, last_s = ((datetime.fromisoformat(bucket[k]) - began).total_seconds() for k in ("start", "end"))
        here = Counter((kind, name) for kind, name, _, at_s, _ in told if first_s <= round(at_s, 6) < last_s)
        assert bucket["objects"] == {n: here["object", n] for n in ("person", "car") if here["object", n]}
        assert bucket["visits"]["hall"] == {n: here["visit", n] for n in ("person", "car") if here["visit", n]}
        for side in ("in", "out"):
            found = bucket["crossings"]["door"][side]
            assert found == {n: here[side, n] for n in ("person", "car") if here[side, n]}
        watched_s = min(last_s, 20 * 3600) - max(first_s, 0)
        stayed_s = sum(max(min(b, last_s) - max(a, first_s), 0) for a, b in stays)
        mean = bucket["occupancy"]["hall"]["mean"]
        assert mean == (pytest.approx(stayed_s / watched_s, abs=2e-4) if watched_s > 0 else None)
        instants = [first_s, *(a for a, _ in stays if first_s <= a < last_s)]
        most = max(sum(a <= t <= b for a, b in stays) for t in instants)
        assert bucket["occupancy"]["hall"]["max"] == most
    dwell = sorted(b - a for a, b in stays)
    (hall,) = plain(source)["zones"]
    assert hall["visits"] == len(stays)
    assert hall["dwell"]["mean_s"] == pytest.approx(sum(dwell) / len(dwell), abs=1e-3)
    assert hall["dwell"]["max_s"] == pytest.approx(dwell[-1], abs=1e-3)
    for name, share in (("median_s", 0.5), ("p90_s", 0.9)):
        value = hall["dwell"][name]
        assert sum(d <= value + 1e-3 for d in dwell) >= share * len(dwell)
        assert sum(d < value - 1e-3 for d in dwell) < share * len(dwell)
    assert hall["occupancy_mean"] == pytest.approx(sum(dwell) / (20 * 3600), abs=1e-4)
    counted = Counter(kind for kind, *_ in told)
    assert source.headline == {
        "objects": counted["object"],
        "crossings_in": counted["in"],
        "crossings_out": counted["out"],
        "visits": counted["visit"],
        "incidents": 0,
    }
    assert sum(n for _, n in source.zones[0].histogram) == len(stays)


def test_the_hour_that_comes_twice_is_two_spans(footage: Any, make_store: MakeStore) -> None:
    camera = footage(is_live=True, began=datetime(2026, 10, 24, 23, 0, tzinfo=UTC), length_s=4 * 3600)
    for minutes in (70, 71, 130):
        camera.cross(minutes * 60.0)
    (source,) = numbers(make_store(camera), by="hour", zone=BERLIN)
    assert [sum(column) for column in zip(*source.lines[0].counts[0].values(), strict=True)] == [0, 2, 1, 0, 0]
    assert len(source.spans) == 5
    # 23:00 and 24:00 UTC are 1:00 and 2:00 in summer, 1:00 UTC is 2:00 again.
    (whole,) = numbers(make_store(), by="day", zone=BERLIN)
    assert [span.end_s - span.start_s for span in whole.spans] == [25 * 3600]


def test_footage_is_told_by_its_own_times_and_empty_spans_are_there(footage: Any, make_store: MakeStore) -> None:
    clip = footage(length_s=140.0)
    clip.cross(0.0)
    clip.cross(139.9, "out")
    (source,) = numbers(make_store(clip))
    assert source.step_s == 5
    assert len(source.spans) == 29
    shown = plain(source)
    assert (shown["first"], shown["last"], shown["watched_s"]) == (0, 140, 140)
    assert [n for n, bucket in enumerate(shown["buckets"]) if any(bucket["crossings"]["door"].values())] == [0, 27]


def test_a_label_is_the_lines_own(footage: Any, make_store: MakeStore) -> None:
    clip = footage()
    clip.add(EventKind.CROSSING, 1.0, values={"direction": "out", "label": "leaves"})
    (source,) = numbers(make_store(clip))
    assert source.lines[0].labels == ("in", "leaves")
    assert source.lines[0].totals == (0, 1)


@pytest.mark.parametrize("is_live", [False, True])
def test_a_visit_without_an_end_lasts_as_long_as_was_watched(
    footage: Any, make_store: MakeStore, is_live: bool
) -> None:
    part = footage(is_live=is_live, length_s=100.0, status="running")
    part.visit(10.0, 20.0)
    part.visit(60.0, None)
    (source,) = numbers(make_store(part))
    (hall,) = source.zones
    assert (total(hall.visits), hall.n_open) == (2, 1)
    assert hall.dwell is not None
    assert hall.dwell.max_s == pytest.approx(20)
    assert hall.occupancy_mean == pytest.approx((20 + 40) / 100)
    assert [run.status for run in source.runs] == ["interrupted"]
    assert "1 without end" in html_page(gather(make_store(), ReportOptions(UTC), MADE), make_store().address, 0)


def test_of_footage_the_newest_run_counts_of_live_sources_all(footage: Any, make_store: MakeStore) -> None:
    old, new = (footage(run_id=f"2026050{day}-080000-000-aaaa") for day in (1, 2))
    live = [
        footage("cam", f"2026050{day}-090000-000-bbbb", is_live=True, began=datetime(2026, 5, day, 9, tzinfo=UTC))
        for day in (1, 2)
    ]
    for part in (old, *live):
        part.cross(1.0)
    new.cross(2.0, "out")
    store = make_store(old, new, *live)
    camera, gate = numbers(store)
    assert (camera.headline["crossings_in"], len(camera.runs), camera.watched_s) == (2, 2, 200)
    assert (gate.headline["crossings_in"], gate.headline["crossings_out"]) == (0, 1)
    assert [(s.source_id, len(s.runs)) for s in numbers(store, wanted=EventFilter(run="all"))] == [
        ("cam", 2),
        ("gate", 1),
        ("gate", 1),
    ]
    (one,) = numbers(store, wanted=EventFilter(run=old.run_id))
    assert one.headline["crossings_in"] == 1


def test_a_window_of_time_and_visits_that_began_before_it(footage: Any, make_store: MakeStore) -> None:
    camera = footage(is_live=True, length_s=4 * 3600)
    camera.visit(3000.0, 3600.0)
    camera.visit(5400.0, 600.0)
    camera.cross(100.0)
    camera.cross(4000.0)
    since = camera.began + timedelta(hours=1)
    wanted = EventFilter(since=since, until=since + timedelta(hours=1))
    (source,) = numbers(make_store(camera), wanted=wanted, by="hour")
    assert source.headline == {"objects": 0, "crossings_in": 1, "crossings_out": 0, "visits": 1, "incidents": 0}
    (hall,) = source.zones
    assert hall.occupancy_mean == pytest.approx((3000 + 600) / 3600)
    assert hall.occupancy_max == 2
    assert source.watched_s == 3600
    assert hall.dwell is not None
    assert hall.dwell.max_s == pytest.approx(600)


def test_footage_of_unknown_time_is_left_out_where_wall_time_is_asked_for(footage: Any, make_store: MakeStore) -> None:
    camera, clip = footage("cam", "r1", is_live=True), footage("clip", "r2")
    camera.cross(1.0)
    clip.cross(1.0)
    found = numbers(make_store(camera, clip), wanted=EventFilter(since=camera.began))
    assert [source.source_id for source in found] == ["cam"]


def test_too_many_spans_become_longer_ones_and_it_is_said(footage: Any, make_store: MakeStore) -> None:
    camera = footage(is_live=True, length_s=60 * 86400.0)
    camera.cross(1.0)
    store = make_store(camera)
    (source,) = numbers(store, by="15min")
    assert (source.step_s, source.asked_step_s) == (86400, 900)
    assert "would be too many" in html_page(gather(store, ReportOptions(UTC, by="15min"), MADE), store.address, 0)


def test_nothing_was_recorded(make_store: MakeStore, footage: Any) -> None:
    store = make_store()
    report = gather(store, ReportOptions(UTC), MADE)
    assert report.sources == ()
    assert set(report.headline.values()) == {0}
    assert "Nothing was recorded." in html_page(report, store.address, 24)
    store = make_store(footage())
    (source,) = numbers(store)
    assert source.n_events == 0
    assert "Nothing was recorded." in html_page(gather(store, ReportOptions(UTC), MADE), store.address, 24)


def test_a_source_that_was_opened_and_never_gave_a_frame(make_store: MakeStore, footage: Any) -> None:
    from pipeline.records.making import run_record, source_record
    from pipeline.records.rows import StoredRun, StoredSource

    run = StoredRun("r", MADE, None, MADE, "running", "0", "d", "c", "elsewhere")
    source = StoredSource("r", "cam", "rtsp://cam", True, 0, 0, None, None, None, 0, False)
    part = footage()
    part.all_records = lambda: [run_record(run), source_record(source)]
    store = make_store(part)
    (found,) = numbers(store)
    assert (found.spans, found.watched_s) == ((), 0)
    assert "cam" in html_page(gather(store, ReportOptions(UTC), MADE), store.address, 24)


def test_both_databases_give_the_same_report(
    busy: list[Any],
    make_store: MakeStore,
    new_database: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # A database's pictures lie in the working folder, or at absolute paths; here they are where the file's are.
    monkeypatch.chdir(tmp_path)
    pages, documents = [], []
    for store in (make_store(*busy), make_store(*busy, url=new_database())):
        report = replace(gather(store, ReportOptions(BERLIN), MADE), store="the store")
        documents.append(json.dumps(report.to_json()))
        pages.append(html_page(report, store.address, 24))
    assert documents[0] == documents[1]
    assert pages[0] == pages[1]
    assert pages[0].count("<img ") == 12


@pytest.mark.slow
def test_a_hundred_thousand_events(footage: Any, make_store: MakeStore) -> None:
    rng = random.Random(1)
    camera = footage(is_live=True, length_s=30 * 86400.0)
    makers = (
        lambda at_s: camera.add(EventKind.OBJECT, at_s, 5.0),
        lambda at_s: camera.cross(at_s, rng.choice(("in", "out")), rule=f"line {rng.randrange(5)}"),
        lambda at_s: camera.visit(at_s, rng.expovariate(1 / 60), rule=f"zone {rng.randrange(5)}"),
        lambda at_s: camera.add(EventKind.LOITERING, at_s, 9.0, rule="zone 0"),
    )
    for number in range(100_000):
        makers[number % 4](rng.random() * 29 * 86400)
    store = make_store(camera)
    began = time.perf_counter()
    report = gather(store, ReportOptions(BERLIN, by="hour"), MADE)
    page = html_page(report, store.address, 24)
    assert time.perf_counter() - began < 10
    assert sum(report.headline.values()) == 100_000
    assert len(page) < 2_000_000
    assert page.count('<tr><td class="t">') == ROWS
    assert "of 75\u202f000 events: incidents first" in page
