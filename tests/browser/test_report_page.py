"""The report in a real browser, from a file, without a network."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.scene import Closing, Heatmap
from pipeline.records.making import closing_records, event_record, run_record, source_record
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import Record
from pipeline.records.store import open_store
from pipeline.report.gather import ReportOptions, gather
from pipeline.report.html_page import html_page
from pipeline.report.numbers import ReportNumbers

BEGAN = datetime(2026, 5, 1, 6, 0, tzinfo=UTC)
LENGTH_S = 30 * 3600.0
NASTY = "<img src=x onerror=alert(1)>"


def records(folder: Path) -> Iterator[Record]:
    """A camera of thirty hours and a clip of ninety seconds."""
    rng = random.Random(5)
    yield run_record(StoredRun("r", BEGAN, BEGAN, BEGAN, "completed", "0", "d", "c", "elsewhere"))
    for name, is_live, length_s in (("entrance", True, LENGTH_S), (NASTY, False, 90.0)):
        first_utc = BEGAN if is_live else None
        place = f"rtsp://{name}" if is_live else f"/videos/{name}.mp4"
        yield source_record(StoredSource("r", name, place, is_live, 640, 360, first_utc, 0.0, length_s, 9000, True))
        for number in range(80):
            at_s = rng.random() * length_s * 0.9
            class_name = rng.choice(("person", "person", "car", "bicycle"))
            lasted_s = rng.expovariate(50 / length_s)
            kinds: list[tuple[EventKind, str, float, dict[str, Any]]] = [
                (EventKind.OBJECT, "objects", lasted_s, {}),
                (EventKind.CROSSING, "door", 0.0, {"direction": rng.choice(("in", "out")), "label": "passes"}),
                (EventKind.VISIT, "hall", lasted_s, {"dwell_s": lasted_s}),
            ]
            if number % 10 == 0:
                kinds.append((EventKind.LOITERING, "hall", lasted_s, {"threshold_s": 30.0}))
            for kind, rule, duration_s, values in kinds:
                key = event_id(name, kind, rule, at_s, (number,))
                event = Event(
                    *(key, kind, rule, name, at_s, at_s + duration_s, 0, number, (number,), 0, class_name),
                    values=values,
                )
                picture = ""
                if kind is EventKind.LOITERING:
                    path = folder / f"{key}.jpg"
                    cv2.imwrite(str(path), np.full((180, 320, 3), (90, 40 + number, 160), np.uint8))
                    picture = f"{folder.name}/{path.name}"
                start_utc = None if first_utc is None else first_utc + timedelta(seconds=at_s)
                yield event_record("r", event, start_utc, picture, "")
        presence = np.zeros((18, 32), np.float32)
        presence[8:11, 4:28] = 2.0
        flow = np.zeros((18, 32, 2), np.float32)
        flow[8:11, 4:28, 0] = 60.0
        yield from closing_records("r", Closing(name, length_s, 0, heatmap=Heatmap(20.0, presence, flow)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReportNumbers]:
    """The page's file, and the numbers that it is made from."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "events_snapshots").mkdir()
    with open_store(str(folder / "events.db"), read_only=False) as store:
        store.put(list(records(folder / "events_snapshots")))
        report = gather(store, ReportOptions(UTC, n_pictures=12), BEGAN)
        path = folder / "report.html"
        path.write_text(html_page(report, store.address, 12), encoding="utf-8")
    return path, report


@pytest.fixture
def opened(browser: Any, page: tuple[Path, ReportNumbers], requested_urls: Callable[[], list[str]]) -> Iterator[Any]:
    """The browser with the page in it; whatever a test does, the console stays empty and nothing else is asked for."""
    browser.get(page[0].as_uri())
    yield browser
    assert browser.get_log("browser") == []
    resources = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    asked = {*requested_urls(), *resources}
    assert {url for url in asked if not url.startswith("data:image/")} <= {page[0].as_uri()}


def shown(browser: Any, selector: str) -> list[str]:
    return [element.text for element in browser.find_elements("css selector", selector) if element.is_displayed()]


def test_the_numbers_that_are_read_first(opened: Any, page: tuple[Path, ReportNumbers]) -> None:
    headline = page[1].to_json()["headline"]
    for name, number in dict(headline).items():  # type: ignore[call-overload]
        element = opened.find_element("css selector", f"#headline [data-number={name}]")
        assert int(element.text.replace("\u202f", "")) == number
        assert float(element.value_of_css_property("font-size")[:-2]) >= 25
    assert "What happened in 2 sources" in shown(opened, "h1")
    # Above the fold, at once.
    assert opened.execute_script("return document.getElementById('headline').getBoundingClientRect().bottom") < 900


def test_plots_and_pictures_have_a_size(opened: Any) -> None:
    sizes = opened.execute_script(
        "return [...document.querySelectorAll('.plot .field, .heatmap')].map(e => e.getBoundingClientRect())"
        ".map(r => [r.width, r.height])"
    )
    assert len(sizes) == 2 * (1 + 1 + 2 + 1)
    assert all(width > 200 and height > 100 for width, height in sizes)
    untitled = opened.execute_script(
        "return [...document.querySelectorAll('svg[role=img]')]"
        ".filter(e => !e.querySelector('title').textContent).length"
    )
    assert untitled == 0
    # Lazy pictures come once they are scrolled to.
    opened.execute_script("for (const i of document.images) i.loading = 'eager'")
    loaded = opened.execute_script(
        "return Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert loaded == [320] * 12
    bars = opened.execute_script(
        "return [...document.querySelectorAll('.plot path.c0')]"
        ".filter(e => e.getBoundingClientRect().height > 3).length"
    )
    assert bars >= 6


def test_the_table_is_narrowed_down(opened: Any, page: tuple[Path, ReportNumbers]) -> None:
    rows = "#events tbody tr"
    n_all = len(opened.find_elements("css selector", rows))
    assert n_all == 2 * (80 + 80 + 8)

    def n_shown() -> int:
        return int(opened.execute_script("return document.querySelectorAll('#events tbody tr:not([hidden])').length"))

    selects = {
        label.text.split("\n")[0]: label.find_element("css selector", "select, input")
        for label in opened.find_elements("css selector", "#filters label")
    }
    assert set(selects) == {"Source", "Kind", "Rule", "Class", "Search"}
    selects["Kind"].send_keys("loitering")
    assert n_shown() == 16
    assert shown(opened, "#shown") == [f"16 of {n_all} shown"]
    selects["Source"].send_keys("entrance")
    assert n_shown() == 8
    selects["Search"].send_keys("no such words")
    assert n_shown() == 0
    selects["Search"].clear()
    selects["Search"].send_keys("THRESHOLD 30")
    assert n_shown() == 8
    kinds = opened.execute_script(
        "return [...document.querySelectorAll('#events tbody tr:not([hidden])')].map(r => r.cells[2].textContent)"
    )
    assert set(kinds) == {"loitering"}


def test_without_scripts_the_table_is_there_in_full(browser: Any, page: tuple[Path, ReportNumbers]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page[0].as_uri())
        assert not browser.find_element("css selector", "#filters").is_displayed()
        assert len(browser.find_elements("css selector", "#events tbody tr")) == 336
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(("width_px", "height_px"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_desks_and_phones(
    opened: Any,
    screen: Callable[..., None],
    screenshots: Callable[[str], Path],
    width_px: int,
    height_px: int,
    dark: bool,
) -> None:
    screen(width_px, height_px, dark=dark)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width_px
    small = opened.execute_script(
        "return [...document.querySelectorAll('.plot text')].filter(e => e.getBoundingClientRect().width > 0)"
        ".filter(e => parseFloat(getComputedStyle(e).fontSize) < 11).length"
    )
    assert small == 0
    overlapping = opened.execute_script(
        "let n = 0; for (const plot of document.querySelectorAll('.plot .field')) {"
        " const boxes = [...plot.querySelectorAll(':scope > text')].map(e => e.getBoundingClientRect())"
        "   .filter(r => r.width > 0);"
        " for (let i = 1; i < boxes.length; i++) n += boxes[i].left < boxes[i - 1].right } return n"
    )
    assert overlapping == 0
    shot = cv2.imread(str(screenshots(f"{width_px}-{'dark' if dark else 'light'}")))
    assert shot is not None
    assert (shot[5, 5].mean() < 80) == dark


def test_it_prints_on_white_even_from_a_dark_screen(
    opened: Any, screen: Callable[..., None], screenshots: Callable[[str], Path]
) -> None:
    screen(800, 1100)
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    try:
        assert not opened.find_element("css selector", "#filters").is_displayed()
        shot = cv2.imread(str(screenshots("print")))
        assert shot is not None
        assert shot[5, 5].min() > 240
        assert opened.execute_script("return document.querySelector('.long').scrollHeight") <= opened.execute_script(
            "return document.querySelector('.long').clientHeight + 2"
        )
        pdf = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
        assert len(pdf["data"]) > 10_000
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_names_are_shown_as_they_are(opened: Any) -> None:
    assert NASTY in shown(opened, "h2")
    assert opened.find_elements("css selector", "img:not([src^='data:'])") == []


def test_links_lead_to_their_sources(opened: Any) -> None:
    links = opened.find_elements("css selector", "table a")
    assert len(links) == 2
    for link in links:
        target = opened.find_element("css selector", link.get_dom_attribute("href"))
        assert target.find_element("css selector", "h2").text == link.text
