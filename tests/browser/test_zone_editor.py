"""The zone editor in a real browser: drawn with the mouse, saved, read again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from pipeline.zone_editor.rules_file import RulesFile
from pipeline.zone_editor.server import EditorContent, EditorServer
from sinks.palette import line_color, rule_color

WIDTH, HEIGHT = 1280, 720


def css(color: tuple[int, int, int]) -> str:
    blue, green, red = color
    return f"#{red:02x}{green:02x}{blue:02x}"


class Page:
    """The page as a person uses it."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser, self.path = browser, path

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def tool(self, name: str) -> None:
        self.find(f".tools [data-tool={name}]").click()

    def _screen(self, at: tuple[float, float]) -> tuple[int, int]:
        """A place in the picture, as pixels of the window."""
        x, y = self.browser.execute_script(
            "const p = new DOMPoint(arguments[0], arguments[1])"
            ".matrixTransform(document.getElementById('view').getScreenCTM()); return [p.x, p.y]",
            at[0] * WIDTH,
            at[1] * HEIGHT,
        )
        return round(x), round(y)

    def _mouse(self) -> Any:
        from selenium.webdriver.common.action_chains import ActionChains

        return ActionChains(self.browser, duration=0)

    def click(self, *places: tuple[float, float], double_last: bool = False) -> None:
        for number, at in enumerate(places, start=1):
            mouse = self._mouse()
            mouse.w3c_actions.pointer_action.move_to_location(*self._screen(at))
            mouse.double_click() if double_last and number == len(places) else mouse.click()
            mouse.perform()

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        mouse = self._mouse()
        pointer = mouse.w3c_actions.pointer_action
        pointer.move_to_location(*self._screen(start))
        pointer.pointer_down()
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        pointer.move_to_location(*self._screen(middle))
        pointer.move_to_location(*self._screen(end))
        pointer.pointer_up()
        mouse.perform()

    def keys(self, *keys: str) -> None:
        self._mouse().send_keys(*keys).perform()

    def chord(self, *keys: str) -> None:
        mouse = self._mouse()
        for key in keys[:-1]:
            mouse.key_down(key)
        mouse.send_keys(keys[-1])
        for key in keys[:-1]:
            mouse.key_up(key)
        mouse.perform()

    def fill(self, label: str, text: str) -> None:
        field = self.find(f"#field-{label}")
        field.clear()
        field.send_keys(text)

    def until(self, what: Callable[[], object]) -> None:
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.browser, 5, 0.02).until(lambda _: what())

    def state(self) -> str:
        return str(self.find("#state").text)

    def names(self) -> list[str]:
        return [element.text for element in self.browser.find_elements("css selector", "#list .name")]

    def save(self) -> None:
        self.find("#save").click()
        self.until(lambda: self.state().startswith(("Saved", "Not saved:")))

    def rules(self) -> dict[str, Any]:
        rules: dict[str, Any] = yaml.safe_load(self.path.read_text())["sources"]["yard"]
        return rules


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens the editor, on rules that are in the file already if any are given."""
    shown = np.full((HEIGHT, WIDTH, 3), (120, 110, 100), np.uint8)
    cv2.rectangle(shown, (0, 430), (WIDTH, HEIGHT), (60, 80, 90), -1)
    servers: list[EditorServer] = []

    def open_one(document: dict[str, Any] | None = None) -> Page:
        path = tmp_path / "rules.yaml"
        if document is not None:
            path.write_text(yaml.safe_dump(document, sort_keys=False))
        rules = RulesFile(path, "yard", (WIDTH, HEIGHT))
        facts = {
            **{"source": "yard.mp4", "source_id": "yard", "key": rules.key, "is_live": False, "at_s": 12.5},
            **{"width": WIDTH, "height": HEIGHT, "file": "rules.yaml", "command": "tracklight run --source yard.mp4"},
            "zone_colors": [css(rule_color(number)) for number in range(7)],
            "line_colors": [css(line_color(number)) for number in range(7)],
        }
        content = EditorContent(facts, cv2.imencode(".jpg", shown)[1].tobytes(), rules)
        servers.append(EditorServer(content).__enter__())
        browser.get(servers[-1].url)
        page = Page(browser, path)
        page.until(lambda: page.find("#source-name").text == "yard")
        return page

    yield open_one
    # The page must not ask a server that has gone.
    browser.get("about:blank")
    for server in servers:
        server.__exit__(None, None, None)


@pytest.fixture(autouse=True)
def _clean_console(browser: Any, requested_urls: Callable[[], list[str]]) -> Iterator[None]:
    """Whatever a test does: nothing in the console, and no request to another host."""
    yield
    assert browser.get_log("browser") == []
    hosts = {url.split("/")[2] for url in requested_urls() if url.startswith("http")}
    assert len(hosts) == 1
    assert hosts.pop().startswith("127.0.0.1:")


def near(found: Any, expected: Any) -> bool:
    """Whether points are the same within half a percent of the picture."""
    return np.array(found).shape == np.array(expected).shape and bool(
        (np.abs(np.array(found) - np.array(expected)) <= 0.005).all()
    )


ZONE = [(0.2, 0.5), (0.5, 0.45), (0.55, 0.85), (0.25, 0.8)]
SQUARE = [[0.2, 0.2], [0.4, 0.2], [0.4, 0.4], [0.2, 0.4]]
DOCUMENT = {"sources": {"yard": {"zones": [{"name": "Desk", "polygon": SQUARE}]}}}


def test_a_zone_and_a_line_are_drawn_saved_and_shown_again(
    open_page: Callable[..., Page], screenshots: Callable[[str], Path]
) -> None:
    page = open_page()
    assert page.find("#empty").is_displayed()
    screenshots("1-empty")
    page.tool("zone")
    page.click(*ZONE)
    screenshots("2-drawing")
    page.click(ZONE[0])
    page.keys("Table")
    page.fill("loiter_s", "30")
    page.fill("classes", "person, bicycle")
    page.tool("line")
    page.click((0.6, 0.9), (0.9, 0.4))
    page.keys("Door")
    page.fill("label_in", "north")
    screenshots("3-drawn")
    page.save()
    rules = page.rules()
    assert rules["units"] == "fraction"
    zone, line = rules["zones"][0], rules["lines"][0]
    assert near(zone.pop("polygon"), ZONE)
    assert zone == {"name": "Table", "loiter_s": 30, "classes": ["person", "bicycle"]}
    assert near(line.pop("points"), [(0.6, 0.9), (0.9, 0.4)])
    assert line == {"name": "Door", "label_in": "north"}
    page.browser.refresh()
    page.until(lambda: page.names() == ["Table", "Door"])
    strokes = page.browser.find_elements("css selector", ".stroke")
    assert {element.get_attribute("stroke") for element in strokes} == {css(rule_color(0)), css(line_color(0))}
    assert not page.find("#save").is_enabled()


@pytest.mark.parametrize("way", ["double click", "Enter", "drag"])
def test_ways_to_close_a_zone(open_page: Callable[..., Page], way: str) -> None:
    from selenium.webdriver.common.keys import Keys

    page = open_page()
    page.tool("zone")
    expected = [(0.2, 0.3), (0.6, 0.3), (0.6, 0.7), (0.2, 0.7)]
    if way == "drag":
        page.drag(expected[0], expected[2])
    else:
        page.click(*expected, double_last=way == "double click")
        if way == "Enter":
            page.keys(Keys.ENTER)
    page.until(lambda: page.names() == ["Zone 1"])
    page.save()
    assert near(page.rules()["zones"][0]["polygon"], expected)


def test_a_zone_that_crosses_itself_is_red_and_not_saved(
    open_page: Callable[..., Page], screenshots: Callable[[str], Path]
) -> None:
    page = open_page()
    page.tool("zone")
    page.click((0.2, 0.2), (0.6, 0.7), (0.6, 0.2), (0.2, 0.7), (0.2, 0.2))
    assert page.find("#shapes .stroke").get_attribute("stroke") == "#ff3b30"
    assert "Sides 1 and 3 cross" in page.find("#wrong").text
    page.save()
    assert page.state().startswith("Not saved")
    assert not page.path.exists()
    screenshots("crossing")
    page.drag((0.6, 0.7), (0.9, 0.1))
    page.until(lambda: not page.find("#wrong").is_displayed())
    page.save()
    assert page.state() == "Saved to rules.yaml"


def test_what_only_the_run_refuses_is_told_beside_the_shape(open_page: Callable[..., Page]) -> None:
    page = open_page(DOCUMENT)
    page.find("#list button").click()
    page.fill("loiter_s", "-4")
    page.save()
    assert page.state().startswith("Not saved")
    page.until(lambda: "loiter_s" in page.find("#wrong").text)
    assert page.rules()["zones"][0] == DOCUMENT["sources"]["yard"]["zones"][0]
    page.fill("loiter_s", "4")
    page.save()
    assert page.rules()["zones"][0]["loiter_s"] == 4


def test_undo_and_redo(open_page: Callable[..., Page]) -> None:
    from selenium.webdriver.common.keys import Keys

    page = open_page(DOCUMENT)
    page.drag((0.3, 0.3), (0.5, 0.5))
    page.keys(Keys.DELETE)
    assert page.names() == []
    page.chord(Keys.CONTROL, "z")
    assert page.names() == ["Desk"]
    page.save()
    assert near(page.rules()["zones"][0]["polygon"], np.array(SQUARE) + 0.2)
    page.find("#undo").click()
    page.save()
    assert near(page.rules()["zones"][0]["polygon"], SQUARE)
    assert not page.find("#undo").is_enabled()
    page.chord(Keys.CONTROL, Keys.SHIFT, "z")
    page.chord(Keys.CONTROL, "y")
    assert page.names() == []
    assert not page.find("#redo").is_enabled()


def test_corners_are_moved_added_and_removed(open_page: Callable[..., Page]) -> None:
    from selenium.webdriver.common.keys import Keys

    page = open_page(DOCUMENT)
    page.click((0.3, 0.3))
    page.drag((0.4, 0.2), (0.55, 0.1))
    page.drag((0.3, 0.4), (0.3, 0.6))
    page.save()
    assert near(page.rules()["zones"][0]["polygon"], [[0.2, 0.2], [0.55, 0.1], [0.4, 0.4], [0.3, 0.6], [0.2, 0.4]])
    page.click((0.4, 0.4))
    page.keys(Keys.DELETE)
    page.save()
    assert near(page.rules()["zones"][0]["polygon"], [[0.2, 0.2], [0.55, 0.1], [0.3, 0.6], [0.2, 0.4]])


def test_a_corner_near_the_edge_lies_on_it_and_none_beyond(open_page: Callable[..., Page]) -> None:
    page = open_page(DOCUMENT)
    page.click((0.3, 0.3))
    page.drag((0.2, 0.2), (0.004, 0.003))
    page.drag((0.4, 0.4), (0.9, 1.02))
    page.save()
    polygon = page.rules()["zones"][0]["polygon"]
    assert polygon[0] == [0, 0]
    assert polygon[2][1] == 1


def test_flipping_a_line_turns_in_into_out(open_page: Callable[..., Page]) -> None:
    line = {"name": "Door", "points": [[0.2, 0.5], [0.8, 0.5]]}
    page = open_page({"sources": {"yard": {"lines": [line]}}})

    def arrow_y() -> float:
        tip = page.find("#shapes polygon.head").get_attribute("points").split()[0]
        return float(tip.split(",")[1]) / HEIGHT

    page.click((0.4, 0.5))
    assert arrow_y() > 0.5
    page.keys("f")
    assert arrow_y() < 0.5
    page.save()
    assert page.rules()["lines"][0]["points"] == [[0.8, 0.5], [0.2, 0.5]]


def test_the_ground_is_calibrated_with_four_points(
    open_page: Callable[..., Page], screenshots: Callable[[str], Path]
) -> None:
    page = open_page()
    page.tool("plane")
    corners = [(0.2, 0.9), (0.8, 0.9), (0.65, 0.65), (0.35, 0.65)]
    page.click(*corners)
    page.fill("width", "4")
    page.fill("length", "9")
    assert len(page.browser.find_elements("css selector", ".grid-line")) == 5 + 10
    screenshots("ground")
    page.save()
    plane = page.rules()["ground_plane"]
    assert near(plane["image"], corners)
    assert plane["world_m"] == [[0, 0], [4, 0], [4, 9], [0, 9]]


def test_zooming_changes_the_view_and_not_the_rules(open_page: Callable[..., Page]) -> None:
    page = open_page(DOCUMENT)
    for _ in range(3):
        page.find("#zoom-in").click()
    assert page.find("#view").get_dom_attribute("viewBox") != f"0 0 {WIDTH} {HEIGHT}"
    page.tool("line")
    page.click((0.45, 0.45), (0.6, 0.6))
    page.find("#zoom-fit").click()
    assert page.find("#view").get_dom_attribute("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
    page.save()
    assert near(page.rules()["lines"][0]["points"], [(0.45, 0.45), (0.6, 0.6)])


def test_without_a_mouse(open_page: Callable[..., Page]) -> None:
    from selenium.webdriver.common.keys import Keys

    page = open_page()
    page.keys("z", Keys.ENTER)
    page.keys("Hall", Keys.ENTER)
    page.chord(Keys.SHIFT, Keys.ARROW_RIGHT)
    page.keys(Keys.ARROW_UP)
    page.chord(Keys.CONTROL, "s")
    page.until(lambda: page.state().startswith("Saved"))
    zone = page.rules()["zones"][0]
    assert zone["name"] == "Hall"
    assert np.allclose(zone["polygon"][0], [0.35 + 10 / WIDTH, 0.35 - 1 / HEIGHT], atol=1e-4)


def test_done_asks_before_changes_are_lost_and_ends_the_editor(open_page: Callable[..., Page]) -> None:
    page = open_page(DOCUMENT)
    page.drag((0.3, 0.3), (0.5, 0.5))
    page.find("#done").click()
    assert page.find("#leave").is_displayed()
    page.find("#leave button[value=stay]").click()
    page.find("#done").click()
    page.find("#leave button[value=save]").click()
    page.until(lambda: page.find("#finished").is_displayed())
    assert "rules.yaml" in page.find("#finished-text").text
    assert near(page.rules()["zones"][0]["polygon"], np.array(SQUARE) + 0.2)


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "Стол 桌子 😀", "a & b"])
def test_names_are_shown_as_they_are(open_page: Callable[..., Page], name: str) -> None:
    page = open_page({"sources": {"yard": {"zones": [{"name": name, "polygon": SQUARE}]}}})
    assert page.names() == [name]
    assert page.browser.find_elements("css selector", "#list img") == []


@pytest.mark.parametrize(("width_px", "height_px"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_on_desks_and_phones(
    open_page: Callable[..., Page],
    screen: Callable[..., None],
    screenshots: Callable[[str], Path],
    width_px: int,
    height_px: int,
    dark: bool,
) -> None:
    screen(width_px, height_px, dark=dark)
    page = open_page(DOCUMENT)
    page.find("#list button").click()
    wide = page.browser.execute_script("return document.documentElement.scrollWidth")
    assert wide <= width_px
    shot = cv2.imread(str(screenshots(f"{width_px}-{'dark' if dark else 'light'}")))
    assert (shot[5, width_px - 5].mean() < 80) == dark
    unnamed = page.browser.execute_script(
        "return [...document.querySelectorAll('button, input')].filter(e => !(e.textContent.trim() ||"
        " e.getAttribute('aria-label') || (e.labels && e.labels.length))).length"
    )
    assert unnamed == 0


def test_comments_and_patterns_are_announced(open_page: Callable[..., Page], tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(f"# mine\nsources: {{'y*': {{zones: [{{name: Desk, polygon: {SQUARE}}}]}}}}\n")
    notice = open_page().find("#notice").text
    assert "Comments" in notice
    assert "y*" in notice
