"""What the interface for programs answers."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from pipeline.core.event import Event, EventKind
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.scene import Closing

API = "/api/v1"


def event(event_id: str = "a1", end_s: float | None = None, kind: EventKind = EventKind.VISIT, **what: Any) -> Event:
    return Event(event_id, kind, "Hall", "door", 3.0, end_s, time.monotonic_ns(), 7, (4,), 0, "person", **what)


def decoded(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return picture


def test_sources_are_listed_as_they_are(serve: Callable[..., Any]) -> None:
    served = serve()
    first, second = served.client.get(f"{API}/sources").json()
    assert second["id"] == "yard"
    assert first == {
        **{"id": "door", "state": "live", "is_live": True, "width_px": 64, "height_px": 48},
        **{"produced": 12, "emitted": 10, "dropped": {"newer": 2}, "frames_per_s": 24.96, "latency_p50_ms": 11.0},
        **{"latency_p95_ms": 31.9, "age_s": 0.042, "counters": {"reconnects": 1}, "error": None},
        **{"shown_age_ms": None, "staleness_frames": None, "ap50_lost": None},
    }


def test_what_latency_costs_stands_beside_it(serve: Callable[..., Any]) -> None:
    served = serve()
    emission = LatencyCost(90, 1, 80.0, 2.5, 0.7, 0.25, 0.1, 0.5, 0.02, 0.01, 0.9, 0.1)
    display = replace(emission, age_ms=120.04, ap50_lost=0.25)
    there = served.run.there
    there["door"] = replace(there["door"], latency_costs={"emission": emission, "display": display})
    there["yard"] = replace(there["yard"], latency_costs={"emission": emission})
    door, yard = served.client.get(f"{API}/sources").json()
    assert (door["shown_age_ms"], door["staleness_frames"], door["ap50_lost"]) == (120.0, 2.5, 0.25)
    assert (yard["shown_age_ms"], yard["ap50_lost"]) == (80.0, 0.1)
    for name in ("door", "yard"):
        served.write(name)
        steps = served.client.get(f"{API}/history/{name}").json()["steps"]
        assert [step["ap50_lost_percent"] for step in steps] == [25.0 if name == "door" else 10.0]


def test_sources_are_added_restarted_and_removed(serve: Callable[..., Any]) -> None:
    served = serve()
    answer = served.client.post(f"{API}/sources", json={"address": "gate"})
    assert (answer.status_code, answer.json()) == (201, {"id": "gate"})
    assert served.client.post(f"{API}/sources/gate/restart").status_code == 204
    assert served.client.delete(f"{API}/sources/gate").status_code == 204
    assert served.run.asked == [("add", "gate"), ("restart", "gate"), ("remove", "gate")]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("POST", "/sources", {"address": "nowhere"}, 400, "source nowhere: wanted a file, found nothing"),
        ("POST", "/sources", {"address": "rtsp://me:hunter22@cam/1"}, 400, "rtsp://***@cam/1: refused"),
        ("POST", "/sources", {}, 422, "body.address: Field required"),
        ("POST", "/sources", {"address": ""}, 422, "body.address: String should have at least 1 character"),
        ("DELETE", "/sources/attic", None, 404, "wanted a source of this run, found 'attic'"),
        ("POST", "/sources/attic/restart", None, 404, "wanted a source of this run, found 'attic'"),
        ("GET", "/sources/attic/tracks", None, 404, "wanted a source of this run, found 'attic'"),
        ("GET", "/sources/attic/snapshot.jpg", None, 404, "wanted a source of this run, found 'attic'"),
        ("GET", "/sources/attic/view.mjpg", None, 404, "wanted a source of this run, found 'attic'"),
        ("GET", "/history/attic", None, 404, "wanted a source of this run, found 'attic'"),
        ("GET", "/sources/door/tracks/9.jpg", None, 404, "there is no such picture"),
        ("GET", "/events/9.jpg", None, 404, "there is no such picture"),
        ("GET", "/nothing", None, 404, "Not Found"),
        ("PUT", "/sources", None, 405, "Method Not Allowed"),
    ],
)
def test_errors_are_one_line(served: Any, method: str, path: str, body: Any, status: int, text: str) -> None:
    answer = served.client.request(method, API + path, json=body)
    assert (answer.status_code, answer.json()) == (status, {"error": text})


def test_the_report_tells_no_credentials(served: Any) -> None:
    told = served.client.get(f"{API}/report").json()
    assert told == {"status": "completed", "errors": ["rtsp://***@cam/1: refused"], "wall_s": 1.5}


def test_an_error_of_a_source_tells_no_credentials(serve: Callable[..., Any]) -> None:
    from dataclasses import replace

    served = serve()
    served.run.there["door"] = replace(served.run.there["door"], error="source:door: rtsp://me:hunter22@cam\nrefused")
    assert served.client.get(f"{API}/sources").json()[0]["error"] == "rtsp://***@cam refused"


def test_tracks_have_pictures_of_themselves(serve: Callable[..., Any]) -> None:
    served = serve()
    image = np.zeros((96, 128, 3), np.uint8)
    image[20:60, 30:50] = (0, 0, 255)
    served.write(image=image, boxes=[(30, 20, 50, 60), (90, 10, 120, 90)], track_id=[4, 9], class_id=[1, 0])
    served.write(image=image, boxes=[(30, 20, 50, 60)], track_id=[4], class_id=[1], confidence=[0.5])
    newest, older = served.client.get(f"{API}/sources/door/tracks").json()
    assert (newest["track_id"], newest["class_name"], newest["frames"], newest["confidence"]) == (4, "car", 2, 0.5)
    assert (older["track_id"], older["class_name"], older["frames"]) == (9, "person", 1)
    answer = served.client.get(newest["thumbnail"])
    assert answer.headers["content-type"] == "image/jpeg"
    picture = decoded(answer.content)
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert middle[2] > 200
    assert middle[0] < 60
    assert len(served.client.get(f"{API}/sources/door/tracks?limit=1").json()) == 1


def test_an_event_that_is_told_twice_stands_once(serve: Callable[..., Any]) -> None:
    served = serve()
    served.write(events=(event(box=(5, 5, 30, 40)),))
    served.write(events=(event("b2", 3.0, EventKind.CROSSING, values={"direction": "in"}),))
    served.write(events=(event("c3", None, EventKind.OBJECT),))
    served.sink.end_source(Closing("door", 9.0, time.monotonic_ns(), (event(end_s=8.5),)))
    second, first = served.client.get(f"{API}/events?source=door").json()
    assert (first["event_id"], first["phase"], first["start_s"], first["end_s"]) == ("a1", "end", 3.0, 8.5)
    assert (second["event_id"], second["values"]) == ("b2", {"direction": "in"})
    assert abs(first["wall_s"] - time.time()) < 5
    assert decoded(served.client.get(first["thumbnail"]).content).shape[0] > 20
    assert second["thumbnail"] is None
    assert served.client.get(f"{API}/events?source=yard").json() == []
    assert len(served.client.get(f"{API}/events?limit=1").json()) == 1


def test_history_counts_what_was_written(serve: Callable[..., Any]) -> None:
    served = serve()
    for _ in range(3):
        served.write(boxes=[(1, 1, 9, 9), (20, 20, 30, 30)])
    history = served.client.get(f"{API}/history/door").json()
    assert history["step_s"] == 5
    assert sum(step["frames"] for step in history["steps"]) == 3
    assert {step["objects_mean"] for step in history["steps"]} == {2.0}
    assert {step["latency_p50_ms"] for step in history["steps"]} == {9.0}
    assert all(0 <= step["age_s"] < 10 for step in history["steps"])


def test_a_snapshot_is_as_large_as_the_frame(serve: Callable[..., Any]) -> None:
    served = serve()
    served.write(level=200, height=300, boxes=[(100, 100, 200, 200)])
    picture = decoded(served.client.get(f"{API}/sources/door/snapshot.jpg").content)
    assert picture.shape == (300, 400, 3)
    assert abs(int(picture[10, 390, 0]) - 200) < 6
    assert np.ptp(picture) > 60, "the box is drawn"


def parts(stream: Any, count: int) -> list[np.ndarray]:
    """The first pictures of a multipart response."""
    buffer, pictures = b"", []
    for data in stream.iter_raw():
        buffer += data
        while True:
            head, mark, rest = buffer.partition(b"\r\n\r\n")
            if not mark:
                break
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            if len(rest) < length + 2:
                break
            pictures.append(decoded(rest[:length]))
            buffer = rest[length + 2 :]
            if len(pictures) == count:
                return pictures
    raise AssertionError("the stream ended")


def test_the_motion_jpeg_goes_on(serve: Callable[..., Any]) -> None:
    import threading

    served = serve()
    over = threading.Event()

    def film() -> None:
        level = 0
        while not over.wait(0.01):
            level = (level + 40) % 240
            served.write(level=level)

    thread = threading.Thread(target=film)
    thread.start()
    try:
        with served.client.stream("GET", f"{API}/sources/door/view.mjpg?size=small") as stream:
            assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
            levels = [int(picture[0, 0, 0]) for picture in parts(stream, 4)]
    finally:
        over.set()
        thread.join()
    assert len(set(levels)) > 1


def test_the_live_feed_tells_status_and_events(serve: Callable[..., Any]) -> None:
    served = serve()
    with connect(f"ws://127.0.0.1:{served.port}{API}/live", proxy=None) as socket:

        def until(kind: str) -> Any:
            while (told := json.loads(socket.recv(3)))["type"] != kind:
                """Status comes in between."""
            return told

        assert [source["id"] for source in until("status")["sources"]] == ["door", "yard"]
        served.write(events=(event("b2", 3.0, EventKind.CROSSING),))
        assert until("event")["event"]["event_id"] == "b2"
        until("status")
        served.sink.close()
        with pytest.raises(ConnectionClosed, match="1012"):
            until("the end")


def test_pictures_of_several_sources_come_over_one_socket(serve: Callable[..., Any]) -> None:
    served = serve()
    served.write("door", level=40)
    with connect(f"ws://127.0.0.1:{served.port}{API}/views", proxy=None) as socket:
        for source in ("door", "yard"):
            socket.send(json.dumps({"source": source, "size": "small", "after": 0}))
        header, picture = unpacked(socket.recv(3))
        assert (header["source"], header["number"], int(picture[0, 0, 0])) == ("door", 1, 40)
        served.write("yard", level=200)
        header, picture = unpacked(socket.recv(3))
        assert (header["source"], header["number"]) == ("yard", 1)
        assert abs(int(picture[0, 0, 0]) - 200) < 4
        assert 0 <= header["age_ms"] < 3000


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"source": "door"}', '{"source":"door","size":"vast","after":0}'])
def test_a_socket_that_asks_nonsense_is_closed(served: Any, text: str) -> None:
    with connect(f"ws://127.0.0.1:{served.port}{API}/views", proxy=None) as socket:
        socket.send(text)
        with pytest.raises(ConnectionClosed, match="1008"):
            socket.recv(3)


def unpacked(message: Any) -> tuple[dict[str, Any], np.ndarray]:
    buffer = io.BytesIO(message)
    header = json.loads(buffer.read(int.from_bytes(buffer.read(4), "big")))
    return header, decoded(buffer.read())


def test_everything_is_in_the_openapi_document(served: Any) -> None:
    document = served.client.get(f"{API}/openapi.json").json()
    paths = {(path.removeprefix(API), method) for path, methods in document["paths"].items() for method in methods}
    assert paths == {
        *(("/sources", "get"), ("/sources", "post"), ("/sources/{source_id}", "delete")),
        *(("/sources/{source_id}/restart", "post"), ("/report", "get"), ("/sources/{source_id}/tracks", "get")),
        *(("/events", "get"), ("/history/{source_id}", "get"), ("/sources/{source_id}/snapshot.jpg", "get")),
        *(("/sources/{source_id}/view.mjpg", "get"), ("/sources/{source_id}/tracks/{track_id}.jpg", "get")),
        ("/events/{event_id}.jpg", "get"),
    }
    described = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert all(operation["description"] for operation in described)
