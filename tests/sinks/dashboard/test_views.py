"""Pictures are made once for all, and only for those who wait."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.frame import Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from sinks.dashboard.board import Board
from sinks.dashboard.scaled import Scaler
from sinks.dashboard.views import Picture, Views, ViewSize
from sinks.draw import Annotator, DrawConfig

SMALL, LARGE = ViewSize.SMALL, ViewSize.LARGE


class Room:
    """A board, its views, and how often something was drawn."""

    def __init__(self, make_result: Callable[..., FrameResult], most_cpu: float) -> None:
        self.board = Board(("person",))
        self.views = Views(self.board, DrawConfig(), ("person",), most_cpu)
        self._make_result = make_result
        self._index = 0

    def write(self, source_id: str = "door", **what: Any) -> None:
        self._index += 1
        what.setdefault("image", np.full((480, 640, 3), 90, np.uint8))
        self.board.take(self._make_result(self._index, source_id=source_id, **what))

    def ask(self, source_id: str = "door", size: ViewSize = SMALL, after: int = 0) -> queue.Queue[Picture | None]:
        given: queue.Queue[Picture | None] = queue.Queue()
        self.views.ask(source_id, size, after, given.put)
        return given


@pytest.fixture
def room(make_result: Callable[..., FrameResult]) -> Iterator[Room]:
    room = Room(make_result, 1.0)
    room.views.start()
    yield room
    room.views.close()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sources of what was drawn."""
    calls: list[str] = []
    draw = Annotator.draw

    def counting(self: Annotator, result: FrameResult) -> Any:
        calls.append(result.frame.source_id)
        return draw(self, result)

    monkeypatch.setattr(Annotator, "draw", counting)
    return calls


def wait(given: queue.Queue[Picture | None]) -> Picture:
    picture = given.get(timeout=5)
    assert picture is not None
    return picture


def test_nothing_is_made_unasked(room: Room, drawn: list[str]) -> None:
    for _ in range(20):
        room.write()
    wait(room.ask())
    assert drawn == ["door"]


def test_all_who_wait_get_one_and_the_same(room: Room, drawn: list[str]) -> None:
    waiting = [room.ask() for _ in range(5)]
    assert all(given.empty() for given in waiting)
    room.write()
    pictures = [wait(given) for given in waiting]
    assert len({id(picture) for picture in pictures}) == 1
    assert wait(room.ask()) is pictures[0], "one who comes later gets it too"
    assert drawn == ["door"]


def test_a_picture_is_newer_than_the_one_before(room: Room) -> None:
    room.write()
    first = wait(room.ask())
    waiting = room.ask(after=first.number)
    with pytest.raises(queue.Empty):
        waiting.get(timeout=0.2)
    room.write()
    room.write()
    assert wait(waiting).number > first.number


def test_sizes(room: Room) -> None:
    room.write(image=np.full((900, 1600, 3), 50, np.uint8))
    sizes = {}
    for size in ViewSize:
        picture = wait(room.ask(size=size))
        decoded = cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        assert decoded.shape[:2] == (picture.height_px, picture.width_px)
        sizes[str(size)] = picture.width_px
    assert sizes == {"small": 480, "medium": 800, "large": 1280, "full": 1600}


def test_a_want_that_is_withdrawn_costs_nothing(room: Room, drawn: list[str]) -> None:
    given: queue.Queue[Picture | None] = queue.Queue()
    room.views.withdraw(room.views.ask("door", SMALL, 0, given.put))
    room.write("door")
    room.write("yard")
    wait(room.ask("yard"))
    assert drawn == ["yard"]
    assert given.empty()


def test_a_view_of_a_source_that_left_ends(room: Room) -> None:
    gone, kept = room.ask("door"), room.ask("yard")
    room.views.keep(["yard"])
    assert gone.get(timeout=5) is None
    room.write("yard")
    assert wait(kept).source_id == "yard"
    assert room.views.n_watched == 1


def test_the_end_is_told_to_all_and_to_those_who_come_later(room: Room) -> None:
    waiting = [room.ask(f"source {number}") for number in range(3)]
    room.views.close()
    assert [given.get(timeout=5) for given in waiting] == [None] * 3
    assert room.ask().get(timeout=5) is None


def test_one_view_does_not_starve_another(room: Room) -> None:
    """Ten views, asked for without a pause: all get about as many pictures."""
    counts = dict.fromkeys((f"source {number}" for number in range(10)), 0)
    over, enough = threading.Event(), threading.Event()

    def again(picture: Picture | None) -> None:
        if picture is None or over.is_set():
            return
        counts[picture.source_id] += 1
        if sum(counts.values()) >= 200:
            enough.set()
        room.views.ask(picture.source_id, LARGE, picture.number, again)

    for name in counts:
        room.views.ask(name, LARGE, 0, again)
    while not enough.wait(0.005):
        for name in counts:
            room.write(name)
    over.set()
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_budget_of_work_is_kept(make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth of a core: after 5 ms of work, a pause of 95 ms."""
    import time

    worked_s = iter(number * 0.005 for number in range(1000))
    monkeypatch.setattr("sinks.dashboard.views.time.thread_time", lambda: next(worked_s))
    room = Room(make_result, 0.05)
    room.views.start()
    try:
        room.write()
        after = wait(room.ask(size=LARGE)).number
        began_s = time.monotonic()
        for _ in range(3):
            room.write()
            after = wait(room.ask(size=LARGE, after=after)).number
        assert time.monotonic() - began_s >= 3 * 0.095
    finally:
        room.views.close()


# -- frames that are newer than their result --------------------------------------------------------------------------


def frame_after(result: FrameResult, ms: int) -> Frame:
    at_ns = result.frame.captured_ns + ms * 1_000_000
    return replace(result.frame, index=result.frame.index + 1, captured_ns=at_ns)


def moving(make_result: Callable[..., FrameResult], index: int) -> FrameResult:
    """An object at (10, 10) that goes to the right at 100 px/s."""
    motion = TrackMotion(np.array([[100, 0, 100, 0]], np.float32), np.ones(1, np.float32), np.zeros(1, np.float32))
    image = np.full((480, 640, 3), 90, np.uint8)
    return replace(make_result(index, source_id="door", boxes=[(10, 10, 50, 50)], image=image), motion=motion)


def test_a_newer_frame_is_a_new_picture_with_the_boxes_where_they_are_by_then(
    room: Room, make_result: Callable[..., FrameResult]
) -> None:
    board, result = room.board, moving(make_result, 1)
    board.see(frame_after(result, 100))
    assert board.newest("door") is None, "nothing is known of any frame yet"
    board.take(result)
    assert board.newest("door") == (1, result)
    before = wait(room.ask(size=LARGE))
    seen = frame_after(result, 200)
    board.see(seen)
    number, view = board.newest("door") or (0, result)
    assert number == 2
    assert view.frame is seen
    assert view.tracks.xyxy.tolist() == [[30, 10, 70, 50]]
    assert (board.newest("door") or (0, None))[1] is view, "made once for all sizes"
    after = wait(room.ask(size=LARGE, after=1))
    assert (after.number, after.captured_ns - before.captured_ns) == (2, 200_000_000)
    assert (before.boxes_ahead_ms, after.boxes_ahead_ms) == (0, 200)


def test_a_result_that_is_older_than_the_picture_waits_for_the_next_one(
    room: Room, make_result: Callable[..., FrameResult]
) -> None:
    board, first, second = room.board, moving(make_result, 1), moving(make_result, 2)
    board.take(first)
    board.see(frame_after(second, 100))
    board.take(second)
    number, view = board.newest("door") or (0, first)
    assert (number, view.tracks.xyxy[0, 0]) == (2, 20), "no picture of its own, yet the newest one has its boxes"
    [kept] = board.tracks("door", 9)
    assert (kept.frames, len(kept.jpeg) > 0) == (2, True)


def test_frames_of_a_source_that_left_are_nothing(room: Room, make_result: Callable[..., FrameResult]) -> None:
    result = moving(make_result, 1)
    room.board.take(result)
    room.board.keep(["yard"])
    room.board.see(frame_after(result, 100))
    assert room.board.newest("door") is None


# -- scaling ----------------------------------------------------------------------------------------------------------


def test_boxes_and_rules_shrink_with_the_picture(make_result: Callable[..., FrameResult]) -> None:
    from pipeline.core.scene import Scene, SceneLayout

    layout = SceneLayout(
        ("Gate",), (("in", "out"),), np.array([[[0.0, 100.0], [1000.0, 500.0]]]), ("Yard",), (np.full((3, 2), 200.0),)
    )
    scene = Scene(layout, np.zeros((1, 2), np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, bool))
    image = np.zeros((500, 1000, 3), np.uint8)
    result = replace(make_result(image=image, boxes=[(100, 50, 300, 250)]), scene=scene)
    scaler = Scaler(250)
    smaller = scaler.scale(result)
    assert smaller.frame.shape_hw == (125, 250)
    assert smaller.tracks.xyxy.tolist() == smaller.detections.xyxy.tolist() == [[25.0, 12.5, 75.0, 62.5]]
    assert smaller.scene is not None
    assert smaller.scene.layout.lines_px.tolist() == [[[0, 25], [250, 125]]]
    assert smaller.scene.layout.zones_px[0].tolist() == [[50, 50]] * 3
    again = scaler.scale(result).scene
    assert again is not None
    assert again.layout is smaller.scene.layout, "what draws it paints it once"
    assert result.frame.shape_hw == (500, 1000)
    assert Scaler(1000).scale(result) is result
