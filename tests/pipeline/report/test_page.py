"""What is in the page, without a browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.event import EventKind
from pipeline.records.rows import EventFilter
from pipeline.records.store import Store
from pipeline.report.gather import ReportOptions, gather
from pipeline.report.html_page import html_page
from pipeline.report.markup import Markup, joined, tag
from pipeline.report.plots import Axis, Bars, Series, bar_plot
from pipeline.report.wording import length_text, number_text, time_text

MADE = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
NASTY = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a & b 'c' \"d\"", "Стол 桌子 😀"]
MakeStore = Callable[..., Store]


class Tags(HTMLParser):
    """Every element that a browser would make, and whether all are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "srcset", "data")]
        if any(name.startswith("on") for name, _ in attrs):
            raise AssertionError(f"{tag} has a handler: {attrs}")
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    assert tags.open == []
    return tags


def page_of(store: Store, n_pictures: int = 24) -> str:
    return html_page(gather(store, ReportOptions(UTC, n_pictures=n_pictures), MADE), store.address, n_pictures)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_wherever_they_stand(footage: Any, make_store: MakeStore, name: str) -> None:
    clip = footage(source_id=name, address=f"/videos/{name}.mp4", run_id=name)
    clip.add(EventKind.OBJECT, 1.0, 2.0, class_name=name)
    clip.add(
        EventKind.CROSSING, 1.0, rule=name, class_name=name, values={"direction": "in", "label": name}, snapshot=name
    )
    clip.visit(1.0, 3.0, rule=name, class_name=name)
    clip.add(EventKind.LOITERING, 1.0, 2.0, rule=name, class_name=name, values={name: name})
    camera = footage(source_id=name, run_id=f"{name}2", is_live=True, address=f"rtsp://{name}")
    camera.cross(1.0, rule=name)
    tags = parsed(page_of(make_store(clip, camera)))
    assert tags.names.count("script") == 1
    assert tags.names.count("img") == 0
    assert all(link.startswith("#") for link in tags.links)


def test_it_asks_for_nothing(busy: list[Any], make_store: MakeStore) -> None:
    page = page_of(make_store(*busy))
    assert all(link.startswith(("#", "data:image/")) for link in parsed(page).links)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in unescape(page)


def test_headline_numbers_are_those_of_the_json(busy: list[Any], make_store: MakeStore) -> None:
    store = make_store(*busy)
    report = gather(store, ReportOptions(UTC), MADE)
    page = html_page(report, store.address, 0)
    first = page[page.index('id="headline"') : page.index("<section>")]
    shown = dict(re.findall(r'data-number="(\w+)">([^<]+)<', first))
    assert {name: int(text.replace("\u202f", "")) for name, text in shown.items()} == report.to_json()["headline"]
    assert report.headline["visits"] == 120


def test_without_pictures_there_is_no_footage_in_it(busy: list[Any], make_store: MakeStore) -> None:
    page = page_of(make_store(*busy), 0)
    assert "image/jpeg" not in page
    assert 'id="pictures"' not in page
    assert "image/png" in page


def test_pictures_are_as_many_as_asked_for_in_turn_from_each_source(busy: list[Any], make_store: MakeStore) -> None:
    page = page_of(make_store(*busy), 3)
    assert page.count("<img ") == 3
    captions = re.findall(r"<figcaption><span[^>]*>Loitering: hall</span><br><span[^>]*>(.*?) · ", page)
    assert [name[:3] for name in captions] == ["cam", "str", "cam"]
    assert "3 of 12, incidents first." in page


def test_a_picture_that_is_gone_or_no_picture_is_left_out(
    busy: list[Any], make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store(*busy)
    folder = tmp_path / "events_snapshots"
    (folder / "a0.jpg").unlink()
    (folder / "a10.jpg").write_bytes(b"no picture")
    (folder / "a20.jpg").write_bytes(b"")
    assert page_of(store).count("<img ") == 9


def test_heat_lies_over_the_first_frame_of_the_file(footage: Any, make_store: MakeStore, small_clip: Path) -> None:
    shown, gone = footage(address=str(small_clip)), footage("other", "r2", address="/nowhere/clip.mp4")
    for part in (shown, gone):
        part.cross(1.0)
        part.heat()
    page = page_of(make_store(shown, gone))
    assert page.count('class="heatmap"') == 2
    assert page.count("data:image/jpeg") == 1
    assert page.count('class="arrow"') >= 4


def test_a_file_that_is_no_video_any_more(footage: Any, make_store: MakeStore, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_text("not a video")
    part = footage(address=str(path))
    part.cross(1.0)
    part.heat()
    page = page_of(make_store(part))
    assert page.count('class="heatmap"') == 1
    assert "image/jpeg" not in page


def test_arrows_point_where_objects_went(footage: Any, make_store: MakeStore) -> None:
    part = footage()
    part.cross(1.0)
    part.heat()
    ways = re.findall(r'class="arrow" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)M', page_of(make_store(part)))
    assert ways
    for from_x, from_y, to_x, to_y in (map(float, way) for way in ways):
        assert to_x > from_x
        assert to_y == from_y


def test_heights_of_bars_are_to_scale() -> None:
    series = [Series("person", 0, [1, 2, 0]), Series("car", 1, [3, 0, None])]
    down = [Series("person", 0, [0, 2, 0])]
    plot = bar_plot(Bars("t", Axis(["a", "b", "c"], {0: "a"}), series, down, peaks=[4, 0, 0]))
    paths: dict[str, list[list[tuple[float, ...]]]] = {}
    for kind, d in re.findall(r'<path class="(\w+)" d="([^"]+)"', plot):
        bars = re.findall(r"M([\d.]+) ([\d.-]+)h[\d.]+v([\d.-]+)", d)
        paths.setdefault(kind, []).append([tuple(map(float, bar)) for bar in bars])
    # Four up and two down in 150 px: 25 px each, zero at 100.
    assert paths["c0"] == [[(0.06, 100, -25), (1.06, 100, -50)], [(1.06, 100, 50)]]
    assert paths["c1"] == [[(0.06, 75, -75)]]
    assert paths["peak"] == [[(0.0, 0.0, 1.6)]]


def test_many_bars_stay_small() -> None:
    values = np.random.default_rng(0).integers(0, 9, 800).tolist()
    labels = [str(number) for number in range(800)]
    plot = bar_plot(Bars("t", Axis(labels, {0: labels[0]}), [Series("person", 0, values)]))
    assert len(plot) < 20_000
    assert plot.count("<rect") == 0


def test_markup_is_escaped_unless_it_is_markup() -> None:
    assert tag("b", "<i>", Markup("<i></i>"), None, 3, title='"') == '<b title="&quot;">&lt;i&gt;<i></i>3</b>'
    assert joined("a&b") == "a&amp;b"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")),
        *((59.7, "1 min 00 s"), (3599.8, "1 h 00 min"), (9.97, "10 s"), (200_000, "2 d 8 h")),
    ],
)
def test_lengths(seconds: float, text: str) -> None:
    assert length_text(seconds) == text


def test_numbers_and_times() -> None:
    assert number_text(1234567) == "1\u202f234\u202f567"
    assert number_text(0.125) == "0.12"
    assert time_text(3725.9, None) == "1:02:05"
    assert time_text(-2, None) == "-0:00:02"
    assert time_text(0, UTC) == "1970-01-01 00:00:00"


def test_a_scene_of_another_size_is_stretched_over_the_frame(busy: list[Any], make_store: MakeStore) -> None:
    page = page_of(make_store(*busy))
    (box,) = set(re.findall(r'viewBox="(0 0 640 \d+)"', page))
    assert box == "0 0 640 360"


@pytest.mark.parametrize(
    ("length_s", "is_live", "labels"),
    [
        (95.0, False, ["0:00", "0:20", "0:40", "1:00", "1:20"]),
        (3700.0, False, ["0:00", "15:00", "30:00", "45:00", "1:00:00"]),
        (30 * 3600.0, True, ["12:00", "18:00", "2 May", "06:00", "12:00"]),
        (20 * 60.0, True, ["08:00", "08:05", "08:10", "08:15", "08:20"]),
        (40 * 86400.0, True, ["4 May", "11 May", "18 May", "25 May", "1 Jun", "8 Jun"]),
    ],
)
def test_axes_have_round_times(
    footage: Any, make_store: MakeStore, length_s: float, is_live: bool, labels: list[str]
) -> None:
    part = footage(is_live=is_live, length_s=length_s)
    part.cross(1.0)
    plot = page_of(make_store(part)).partition("<figure")[2]
    assert re.findall(r'text-anchor="middle"[^>]*>([^<]+)</text>', plot) == labels


def test_classes_beyond_the_colours_are_together(footage: Any, make_store: MakeStore) -> None:
    clip = footage()
    for number in range(9):
        for _ in range(20 - number):
            clip.add(EventKind.OBJECT, 1.0, 2.0, class_name=f"class {number}")
    page = page_of(make_store(clip))
    legends = re.findall(r'<ul class="legend">(.*?)</ul>', page)
    shown = re.findall(r"</i>(.*?)</li>", legends[0])
    assert shown == [*(f"class {number} {20 - number}" for number in range(6)), "others 39"]


def test_the_busiest_lines_have_plots_and_it_is_said(footage: Any, make_store: MakeStore) -> None:
    clip = footage()
    for number in range(11):
        for _ in range(2 if number in (2, 7, 9) else 1):
            clip.cross(1.0, rule=f"line {number:02d}")
    page = page_of(make_store(clip))
    plots = re.findall(r"<h3>Line (line \d+): crossings", page)
    assert len(plots) == 8
    assert {"line 02", "line 07", "line 09"} <= set(plots)
    assert plots == sorted(plots)
    assert "The 8 busiest of 11 lines have plots; all are in the tables." in page
    assert page.count('<td class="w">line 10</td>') >= 1


def test_what_was_not_asked_for_is_not_counted_as_none(busy: list[Any], make_store: MakeStore) -> None:
    store = make_store(*busy)
    wanted = EventFilter(kinds=("crossing",))
    page = html_page(gather(store, ReportOptions(UTC, wanted), MADE), store.address, 0)
    assert "Only events of: kind crossing" in page
    assert 'data-number="crossings_in"' in page
    assert 'data-number="objects"' not in page
    assert 'data-number="visits"' not in page
