"""The dashboard in a real browser, with a real run behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.config.build import build_run, load_run_config
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

WIDTH, HEIGHT, N_FRAMES, FPS = 320, 180, 48, 12
SQUARE = 40


class SquareDetector:
    """Finds the one bright square of a frame."""

    class_names = ("person", "car")

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Frame) -> Detections:
        ys, xs = np.nonzero(frame.image[::2, ::2].min(axis=2) > 200)
        if not len(xs):
            return Detections.empty()
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32) * 2
        return Detections(box, np.array([0.9], np.float32), np.array([0]))

    def close(self) -> None: ...


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten small videos: a white square goes from left to right, before another grey in each."""
    folder = tmp_path_factory.mktemp("clips")
    paths = [folder / f"camera-{number}.mp4" for number in range(1, 11)]
    for number, path in enumerate(paths):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.bit_rate = 800_000
            for index in range(N_FRAMES):
                image = np.full((HEIGHT, WIDTH, 3), 40 + 12 * number, np.uint8)
                x = round(index * (WIDTH - SQUARE) / N_FRAMES)
                image[60 : 60 + SQUARE, x : x + SQUARE] = 255
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())
    return paths


class Page:
    """The dashboard as a person uses it."""

    def __init__(self, browser: Any, url: str, runner: Any) -> None:
        self.browser, self.url, self.runner = browser, url, runner

    def open(self, place: str = "") -> None:
        self.browser.get(self.url + place)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements("css selector", selector))

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def until(self, what: Callable[[], object], timeout_s: float = 10) -> None:
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        ignored = (StaleElementReferenceException,)
        WebDriverWait(self.browser, timeout_s, 0.03, ignored).until(lambda _: what())

    def names(self) -> list[str]:
        return [element.text for element in self.all(".tile .name")]

    def until_pictures(self, count: int) -> None:
        self.until(lambda: len(self.all("canvas[data-number]")) == count)

    def pixels(self, selector: str) -> np.ndarray:
        """What an element looks like now."""
        import base64

        shot = b""

        def shoot() -> bool:
            nonlocal shot
            self.run_script(f"document.querySelector({selector!r}).scrollIntoView({{block: 'nearest'}})")
            shot = base64.b64decode(self.find(selector).screenshot_as_base64)
            return True

        # The page may put a new element in its place at any moment.
        self.until(shoot)
        return np.asarray(cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR))

    def run_script(self, script: str) -> Any:
        return self.browser.execute_script(script)


@pytest.fixture
def dashboard(
    browser: Any, clips: list[Path], tmp_path: Path, requested_urls: Callable[[], list[str]]
) -> Iterator[Callable[..., Page]]:
    """Begins a run of so many clips, in a loop and at their own rate. At the end the browser has complained of nothing
    and asked no other host.
    """
    import contextlib
    import socket

    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "sources: {'camera-*': {lines: [{name: Gate, points: [[0.5, 0.1], [0.5, 0.9]]}], zones:"
        " [{name: Yard, polygon: [[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]], loiter_s: 0.5}]}}\n"
    )
    with contextlib.ExitStack() as ending:

        def begin(n_sources: int, *settings: str) -> Page:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = probe.getsockname()[1]
            from pipeline.cli.options import rules_section

            flags = {
                "sources": [str(clip) for clip in clips[:n_sources]],
                "outputs": [f"web:{port}"],
                "analytics": rules_section(str(rules)),
                "runtime": {"realtime": True, "keep_open": True},
            }
            config = load_run_config(None, flags, ["source.replay.loop=true", *settings])
            built = ending.enter_context(build_run(config, detector=SquareDetector()))
            thread = threading.Thread(target=built.runner.run)
            thread.start()
            ending.callback(thread.join)
            ending.callback(built.runner.stop)
            # Before the run ends: a page whose server has gone complains.
            ending.callback(browser.get, "about:blank")
            return Page(browser, f"http://127.0.0.1:{port}/", built.runner)

        yield begin
        complaints = browser.get_log("browser")
        urls = requested_urls()
    assert complaints == []
    hosts = {url.split("/")[2].split(":")[0] for url in urls if url.startswith(("http", "ws"))}
    assert hosts <= {"127.0.0.1"}


def test_a_wall_of_nine_shows_moving_pictures(dashboard: Callable[..., Page], screenshots: Callable[..., Path]) -> None:
    page = dashboard(9)
    page.open()
    page.until_pictures(9)
    assert page.names() == [f"camera-{number}" for number in range(1, 10)]
    tiles = [f"[data-source=camera-{number}] canvas" for number in (1, 5, 9)]
    before = [page.pixels(tile) for tile in tiles]
    numbers = [int(canvas.get_attribute("data-number")) for canvas in page.all("canvas")]
    page.until(
        lambda: all(
            int(canvas.get_attribute("data-number")) >= number + 6
            for canvas, number in zip(page.all("canvas"), numbers, strict=True)
        )
    )
    for tile, earlier in zip(tiles, before, strict=True):
        assert (np.abs(page.pixels(tile).astype(int) - earlier) > 60).mean() > 0.01
    shown = page.find(".wall").rect
    assert shown["y"] + shown["height"] <= 900, "all nine fit the window"
    page.until(lambda: all(element.text == "Live" for element in page.all(".tile .word")))
    page.until(lambda: all(float(element.text) > 8 for element in page.all(".tile .rate")))
    assert all(" ms" in element.text for element in page.all(".tile .latency"))
    screenshots("nine")
    (account,) = page.runner.measures([1.0]).sinks.values()
    assert account.handed > 100
    assert account.dropped == 0, "the sink keeps up"


def test_the_first_view_is_there_within_a_second(dashboard: Callable[..., Page]) -> None:
    page = dashboard(4)
    page.until(lambda: page.runner.report().end_to_end.count > 8)
    page.run_script("return 0")
    page.open()
    page.until_pictures(4)
    times = page.run_script(
        "const page = performance.getEntriesByType('navigation')[0];"
        "const paint = performance.getEntriesByName('first-contentful-paint')[0];"
        "const picture = performance.getEntriesByName('first-picture')[0];"
        "return [page.domContentLoadedEventEnd, paint.startTime, picture.startTime]"
    )
    print("loaded, painted, first picture (ms):", [round(value) for value in times])
    assert max(times) < 1000


def test_a_source_is_added_and_stopped_by_clicking(
    dashboard: Callable[..., Page], clips: list[Path], screenshots: Callable[..., Path]
) -> None:
    page = dashboard(1)
    page.open()
    page.until(lambda: page.names() == ["camera-1"])
    page.find("#add").click()
    page.find("#address").send_keys(str(clips[9].with_name("nothing.mp4")))
    page.find("#add-confirm").click()
    page.until(lambda: "nothing.mp4" in page.find("#add-error").text)
    screenshots("error")
    # Chromium reports every refused request; this one was meant.
    assert [entry["level"] for entry in page.browser.get_log("browser")] == ["SEVERE"]
    page.find("#address").clear()
    page.find("#address").send_keys(str(clips[9]))
    page.find("#add-confirm").click()
    page.until(lambda: page.names() == ["camera-1", "camera-10"])
    page.until_pictures(2)
    page.find("[data-source=camera-10] a").click()
    page.until(lambda: page.find("h1.name").text == "camera-10")
    page.find(".stop").click()
    assert "camera-10" in page.find("#stop-title").text
    page.find("#stop-cancel").click()
    page.find(".stop").click()
    page.find("#stop-confirm").click()
    page.until(lambda: page.names() == ["camera-1"])
    assert [status.source_id for status in page.runner.source_status()] == ["camera-1"]


def test_a_source_is_restarted_by_clicking(dashboard: Callable[..., Page]) -> None:
    page = dashboard(1)
    page.open("#/camera/camera-1")
    page.until_pictures(1)
    page.until(lambda: int(page.find(".emitted").text) > 5)
    page.find(".restart").click()
    page.until(lambda: page.find(".done").text == "It begins anew.")
    before = int(page.find("canvas").get_attribute("data-number"))
    page.until(lambda: int(page.find("canvas").get_attribute("data-number")) > before + 3)


def test_the_page_of_a_camera_draws_charts_events_and_objects(
    dashboard: Callable[..., Page], screenshots: Callable[..., Path]
) -> None:
    page = dashboard(1)
    page.until(lambda: page.runner.report().end_to_end.count > 6 * FPS, 15)
    page.open("#/camera/camera-1")
    page.until_pictures(1)
    page.until(lambda: len(page.all("#latency-chart polyline")) == 2)
    for chart in ("#latency-chart", "#objects-chart"):
        points = page.run_script(f"return document.querySelector('{chart} polyline').getAttribute('points')").split()
        xs = [float(point.split(",")[0]) for point in points]
        assert len(points) >= 2
        assert xs == sorted(xs)
        # Drawn in colour, not only there: the traces' pixels are neither black, white nor grey.
        pixels = page.pixels(f"{chart} svg").astype(int)
        assert ((pixels.max(axis=2) - pixels.min(axis=2)) > 60).sum() > 15
    rules = page.run_script("return [...document.querySelectorAll('.events strong')].map(e => e.textContent)")
    assert {"Crossed: Gate", "Loitering: Yard", "Visit: Yard"} <= set(rules)
    page.until(
        lambda: page.run_script(
            "return [...document.querySelectorAll('.tracks img, .events img')].every(i => i.naturalWidth > 10)"
        )
    )
    assert page.all(".tracks li")
    screenshots("camera")


def test_trouble_is_told_with_what_comes_next(
    dashboard: Callable[..., Page], screenshots: Callable[..., Path], clips: list[Path]
) -> None:
    page = dashboard(2, "source.replay.loop=false", "max_frames=12")
    page.open()
    page.until(lambda: [element.text for element in page.all(".tile .word")] == ["Ended", "Ended"], 15)
    tile = page.find("[data-source=camera-1]")
    assert tile.find_element("css selector", ".reason").text == "The footage has come to its end."
    assert "Restart" in tile.find_element("css selector", ".next").text
    screenshots("ended")
    tile.find_element("css selector", ".restart").click()
    page.until(lambda: page.find("[data-source=camera-1] .word").text == "Live")


def test_nothing_is_drawn_while_nobody_looks(dashboard: Callable[..., Page], monkeypatch: pytest.MonkeyPatch) -> None:
    from sinks.draw import Annotator

    drawn: list[str] = []
    draw = Annotator.draw

    def counting(self: Annotator, result: Any) -> Any:
        drawn.append(result.frame.source_id)
        return draw(self, result)

    monkeypatch.setattr(Annotator, "draw", counting)
    page = dashboard(2)
    page.until(lambda: page.runner.report().end_to_end.count > 2 * FPS)
    assert drawn == []
    page.open()
    page.until_pictures(2)
    page.open("#/camera/camera-2")
    page.until(lambda: len(page.all("canvas[data-number]")) == 1 and page.find("h1"))
    began = len(drawn)
    page.until(lambda: len(drawn) > began + 8)
    # One picture of camera-1 may have been asked for before the page changed.
    assert drawn[began:].count("camera-1") <= 1
    page.browser.get("about:blank")
    time.sleep(0.3)
    left = len(drawn)
    count = page.runner.report().end_to_end.count
    page.until(lambda: page.runner.report().end_to_end.count > count + 10)
    assert len(drawn) == left


@pytest.mark.parametrize(("width_px", "height_px"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_on_desks_and_phones(
    dashboard: Callable[..., Page],
    screen: Callable[..., None],
    screenshots: Callable[[str], Path],
    width_px: int,
    height_px: int,
    dark: bool,
) -> None:
    screen(width_px, height_px, dark=dark)
    page = dashboard(4)
    for place in ("", "#/camera/camera-1"):
        page.open(place)
        page.until(lambda: page.all("canvas[data-number]"))
        assert page.run_script("return document.documentElement.scrollWidth") <= width_px
        shot = np.asarray(cv2.imread(str(screenshots(f"{'camera' if place else 'wall'}-{width_px}-{dark}"))))
        assert (shot[-5:, 2:8].mean() < 80) == dark
        unnamed = page.run_script(
            "return [...document.querySelectorAll('button, input, a, canvas')].filter(e => !(e.textContent.trim() ||"
            " e.getAttribute('aria-label') || (e.labels && e.labels.length))).length"
        )
        assert unnamed == 0


def test_without_a_mouse(dashboard: Callable[..., Page]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def press(*keys: str) -> None:
        ActionChains(page.browser, duration=0).send_keys(*keys).perform()

    page = dashboard(2)
    page.open()
    page.until_pictures(2)
    press(*[Keys.TAB] * 4, Keys.ENTER)
    page.until(lambda: page.find("h1.name").text == "camera-2")
    press(Keys.ESCAPE)
    page.until(lambda: page.names() == ["camera-1", "camera-2"])
    page.find("#add").send_keys(Keys.ENTER)
    assert page.run_script("return document.activeElement.id") == "address"
    press(Keys.ESCAPE)
    assert not page.find("#add-dialog").is_displayed()


def test_a_run_that_ends_is_told(dashboard: Callable[..., Page]) -> None:
    page = dashboard(1)
    page.open()
    page.until_pictures(1)
    page.runner.stop()
    page.until(lambda: page.find("#gone").text == "The run has ended.")
    # The page goes on trying, which the browser logs.
    page.browser.get("about:blank")
    page.browser.get_log("browser")
