"""What the dashboard keeps, and that it does not grow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.core.event import Event, EventKind
from pipeline.core.result import FrameResult
from sinks.dashboard.board import Board
from sinks.dashboard.history import KEPT_S, STEP_S, History
from sinks.dashboard.recent_events import MOST as MOST_EVENTS
from sinks.dashboard.recent_events import RecentEvents
from sinks.dashboard.recent_tracks import MOST as MOST_TRACKS
from sinks.dashboard.recent_tracks import RecentTracks
from sinks.dashboard.thumbnail import SIDE_PX, thumbnail

S = 1_000_000_000


def test_history_is_made_of_steps() -> None:
    history = History()
    for at_s, latency_ms, objects in ((10.0, 5, 1), (11.0, 7, 3), (14.9, 90, 2), (15.0, 4, 0), (31.0, 6, 9)):
        history.add(round(at_s * S), latency_ms, objects, n_events=objects // 3)
    first, second, third = history.steps(32 * S)
    assert (first.begin_ns, first.frames, first.latency_p50_ms, first.latency_p95_ms) == (10 * S, 3, 7, 90)
    assert (first.objects_mean, first.objects_max, first.events) == (2.0, 3, 1)
    assert (second.begin_ns, second.frames) == (15 * S, 1)
    assert (third.begin_ns, third.events) == (30 * S, 3), "the one that goes on; those without results are left out"


def test_history_forgets_what_is_old() -> None:
    history = History()
    for at_s in range(0, 5000, STEP_S):
        history.add(at_s * S, 1.0, 0, 0)
    steps = history.steps(4999 * S)
    assert len(steps) == KEPT_S // STEP_S
    assert steps[0].begin_ns > (4999 - KEPT_S) * S
    assert history.steps((4999 + KEPT_S) * S) == []


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((100, 50, 200, 150), (124, 124)),
        ((0, 0, 640, 480), (96, 128)),
        ((-500, -500, 1200, 900), (96, 128)),
        ((630, 470, 900, 900), None),
        ((700, 10, 800, 90), b""),
        ((10, 10, 10, 10), b""),
    ],
)
def test_thumbnails_are_small(box: tuple[float, ...], size: tuple[int, int] | bytes | None) -> None:
    import cv2

    jpeg = thumbnail(np.full((480, 640, 3), 120, np.uint8), box)
    if size == b"":
        assert jpeg == b""
        return
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape[:2]) <= SIDE_PX
    assert size is None or picture.shape[:2] == size


def test_only_the_newest_objects_are_kept(make_result: Callable[..., FrameResult]) -> None:
    tracks = RecentTracks(("person",))
    for index in range(500):
        tracks.take(make_result(index, boxes=[(1, 1, 20, 30)], track_id=[index + 1]), index)
    assert [track.track_id for track in tracks.newest(3)] == [500, 499, 498]
    assert len(tracks.newest(10**6)) == MOST_TRACKS


def test_a_crowd_in_view_keeps_its_pictures(
    make_result: Callable[..., FrameResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More objects at once than are kept otherwise: none is let go and made anew with every frame."""
    made: list[object] = []

    def make(image: object, box: object) -> bytes:
        made.append(box)
        return b"picture"

    monkeypatch.setattr("sinks.dashboard.recent_tracks.thumbnail", make)
    tracks, count = RecentTracks(("person",)), MOST_TRACKS + 20
    for index in range(100):
        tracks.take(make_result(index, boxes=[(1, 1, 20, 30)] * count), index)
    assert len(tracks.newest(10**6)) == count
    assert len(made) == count


def test_a_better_picture_replaces_the_first_but_not_a_guessed_one(make_result: Callable[..., FrameResult]) -> None:
    tracks = RecentTracks(("person",))
    tracks.take(make_result(boxes=[(1, 1, 10, 10)], predicted=[0]), 0)
    assert tracks.picture(1) == b""
    tracks.take(make_result(boxes=[(1, 1, 10, 10)]), S)
    first = tracks.picture(1)
    tracks.take(make_result(boxes=[(1, 1, 30, 30)]), S + 1)
    assert tracks.picture(1) == first, "not so soon"
    tracks.take(make_result(boxes=[(1, 1, 30, 30)]), 3 * S)
    assert tracks.picture(1) != first
    assert tracks.newest(1)[0].jpeg_number == 2


def test_only_the_newest_events_are_kept() -> None:
    events = RecentEvents()
    for index in range(1000):
        crossing = Event(str(index), EventKind.CROSSING, "Gate", "door", 1.0, 1.0, index * 1_000_000_000, index)
        events.take(crossing, None)
    kept = events.newest(10**6)
    assert len(kept) == MOST_EVENTS
    assert kept[0].event.event_id == "999"


def test_a_source_that_left_is_forgotten(make_result: Callable[..., FrameResult]) -> None:
    board = Board(("person",))
    for number in range(50):
        name = f"source {number}"
        crossing = Event(name, EventKind.CROSSING, "Gate", name, 1.0, 1.0, 0, 0)
        board.take(make_result(source_id=name, boxes=[(1, 1, 9, 9)], events=(crossing,)))
        board.keep([name])
    assert board.newest("source 48") is None
    assert board.tracks("source 48", 9) == []
    assert [kept.event.event_id for kept in board.events(99)] == ["source 49"]


def test_the_sink_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from pipeline.core.errors import MissingExtraError
    from sinks.dashboard.sink import DashboardConfig, DashboardSink

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    with pytest.raises(MissingExtraError, match=r"tracklight\[web\]"):
        DashboardSink(DashboardConfig(), class_names=())


def test_a_port_that_is_taken_is_told() -> None:
    import socket

    from pipeline.core.errors import SinkError
    from sinks.dashboard.server import bind

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"wanted to listen on 127.0.0.1:{port}, found: .*-o web:PORT"):
            bind("127.0.0.1", port)
    with pytest.raises(SinkError, match="no such address"):
        bind("no.such.host.invalid", 0)


def test_a_dashboard_that_never_began_is_closed() -> None:
    from sinks.dashboard.sink import DashboardConfig, DashboardSink

    sink = DashboardSink(DashboardConfig(), class_names=())
    sink.close()
    sink.close()
