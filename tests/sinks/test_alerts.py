"""Alerts to a real web server and to real programs."""

from __future__ import annotations

import base64
import gc
import json
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import SinkError
from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import redact
from sinks.alert_delivery import Delivery, DeliveryError, fill
from sinks.alerts import CAPACITY_WITH_PICTURES, AlertConfig, AlertsConfig, AlertSink, wall_time

pytestmark = pytest.mark.timeout(30)
Make = Callable[..., FrameResult]


@dataclass
class Hook:
    """A web server that remembers what it was told; answers with the codes of `answers`, then 200."""

    answers: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    attempts: int = 0
    url: str = ""


@pytest.fixture
def hook() -> Iterator[Hook]:
    state = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.attempts += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            code = state.answers.pop(0) if state.answers else 200
            if code == 200:
                state.bodies.append(json.loads(body))
                state.headers.append(dict(self.headers))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook/sEcReTpath"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def event(kind: EventKind = EventKind.CROSSING, rule: str = "door", end_s: float | None = 1.0, **more: Any) -> Event:
    known: dict[str, Any] = {"track_ids": (7,), "class_id": 0, "class_name": "person", "values": {"direction": "in"}}
    number = event_id("cam", kind, rule, 1.0, (7,))
    return Event(number, kind, rule, more.pop("source_id", "cam"), 1.0, end_s, 0, 25, **(known | more))


def told(sink: AlertSink, results: list[FrameResult], *, live: bool = False, closing: Closing | None = None) -> None:
    sink.open(StreamInfo("cam", 64, 48, 25.0, live, None))
    for result in results:
        sink.write(result)
    if closing is not None:
        sink.end_source(closing)
    sink.close()


def sink_of(*alerts: dict[str, Any], now_s: Callable[[], float] = time.monotonic) -> AlertSink:
    configs = tuple(AlertConfig(**{"name": f"alert{n}", **alert}) for n, alert in enumerate(alerts))
    return AlertSink(AlertsConfig(alerts=configs), class_names=("person",), now_s=now_s)


def test_a_web_hook_gets_the_event(hook: Hook, make_result: Make) -> None:
    sink = sink_of({"name": "gate", "webhook": hook.url, "headers": {"Authorization": "Bearer t0ken"}})
    told(sink, [make_result(25, events=(event(),))])
    (body,) = hook.bodies
    assert body == {
        "alert": "gate",
        "text": "person 7: crossing at door (in), cam, 1.0 s",
        "time_utc": None,
        "event": event().to_json(),
        "left_out": 0,
    }
    assert hook.headers[0]["Authorization"] == "Bearer t0ken"
    assert hook.headers[0]["Content-Type"] == "application/json"


def test_a_live_event_has_the_wall_time_at_which_its_frame_was_captured(hook: Hook, make_result: Make) -> None:
    captured_ns = time.monotonic_ns() - 90_000_000_000
    happened = time.time() - 90
    told(sink_of({"webhook": hook.url}), [make_result(events=(event_at(captured_ns),))], live=True)
    said = datetime.fromisoformat(hook.bodies[0]["time_utc"])
    assert said.utcoffset() is not None
    assert abs(said.timestamp() - happened) < 2
    assert hook.bodies[0]["text"].endswith(f", cam, {hook.bodies[0]['time_utc']}")
    assert wall_time(event_at(captured_ns))[:16] == hook.bodies[0]["time_utc"][:16]


def event_at(captured_ns: int) -> Event:
    return Event("0" * 16, EventKind.CROSSING, "door", "cam", 1.0, 1.0, captured_ns, 25)


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        ({}, ["crossing door", "visit room"]),
        ({"kinds": ["object"]}, ["object objects"]),
        ({"kinds": ["visit"], "phases": ["end"]}, ["visit room"]),
        ({"phases": ["begin"]}, ["visit room"]),
        ({"rules": ["d*"]}, ["crossing door"]),
        ({"classes": ["car"]}, ["crossing gate"]),
        ({"sources": ["cam2*"]}, ["crossing yard"]),
        ({"sources": ["other"]}, []),
    ],
)
def test_only_those_asked_for(hook: Hook, make_result: Make, wish: dict[str, Any], wanted: list[str]) -> None:
    happened = [
        event(),
        event(EventKind.VISIT, "room", end_s=None),
        event(EventKind.VISIT, "room", end_s=3.0),
        event(EventKind.OBJECT, "objects", end_s=None),
    ]
    if "classes" in wish:
        happened.append(event(rule="gate", class_name="car"))
    if "sources" in wish:
        happened.append(event(rule="yard", source_id="cam23"))
    sink = sink_of({"webhook": hook.url, "max_per_minute": 100, **wish})
    sink.open(StreamInfo("cam23", 64, 48, 25.0, False, None))
    told(sink, [make_result(events=tuple(happened))])
    assert [f"{body['event']['kind']} {body['event']['rule']}" for body in hook.bodies] == wanted


def test_what_the_end_of_a_source_ends_is_told(hook: Hook, make_result: Make) -> None:
    closing = Closing("cam", 9.0, 0, (event(EventKind.LOITERING, "room", end_s=9.0),))
    told(sink_of({"webhook": hook.url, "phases": ["end"]}), [make_result()], closing=closing)
    assert hook.bodies[0]["text"] == "person 7: loitering at room (in) ended, cam, 1.0 s"


def test_the_limit_is_per_minute_and_what_it_held_back_is_said(
    hook: Hook, make_result: Make, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [100.0]
    sink = sink_of({"webhook": hook.url, "max_per_minute": 2}, now_s=lambda: now_s[0])
    sink.open(StreamInfo("cam", 64, 48, 25.0, False, None))
    for at_s in (100.0, 110.0, 120.0, 159.9, 160.0, 165.0, 170.0):
        now_s[0] = at_s
        sink.write(make_result(events=(event(),)))
    counts = sink.counters
    with caplog.at_level(logging.WARNING):
        sink.close()
    # 100 and 110 are sent; at 160 the first, and at 170 the second is a minute ago.
    assert [body["left_out"] for body in hook.bodies] == [0, 0, 2, 1]
    assert counts["limited"] == 3
    assert "alert alert0: 3 messages were over the limit of 2 a minute" in caplog.text


def test_a_picture_goes_along(hook: Hook, make_result: Make) -> None:
    image = np.full((900, 1600, 3), (200, 40, 90), np.uint8)
    sink = sink_of({"webhook": hook.url, "picture": True})
    assert sink.needs_image
    told(sink, [make_result(events=(event(),), image=image)])
    jpeg = base64.b64decode(hook.bodies[0]["picture_jpeg"])
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (720, 1280, 3)
    assert np.abs(picture.reshape(-1, 3).mean(0) - (200, 40, 90)).max() < 4


@pytest.mark.parametrize(
    ("answers", "attempts", "delivered", "said"),
    [
        ([503], 2, 1, ""),
        ([429, 500], 3, 1, ""),
        ([500, 500, 500], 3, 0, "not delivered: http://127.0.0.1 answered 500"),
        # A request that is wrong stays wrong, and a redirected POST would lose its body.
        ([404], 1, 0, "answered 404"),
        ([302], 1, 0, "answered 302"),
    ],
)
def test_tries_again_where_that_can_help(
    hook: Hook,
    make_result: Make,
    answers: list[int],
    attempts: int,
    delivered: int,
    said: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sinks.alert_delivery.FIRST_PAUSE_S", 0.01)
    hook.answers = answers
    with caplog.at_level(logging.WARNING):
        told(sink_of({"webhook": hook.url}), [make_result(events=(event(),))])
    assert (hook.attempts, len(hook.bodies)) == (attempts, delivered)
    assert said in caplog.text
    # The path of a web hook is often its secret.
    assert "sEcReTpath" not in caplog.text


def test_a_server_that_is_down_is_said_once_and_so_is_its_return(caplog: pytest.LogCaptureFixture) -> None:
    class Flaky:
        def __init__(self) -> None:
            self.n = 0

        def deliver(self, message: Any) -> None:
            self.n += 1
            if self.n <= 3:
                raise DeliveryError("no route to host", final=True)

    with caplog.at_level(logging.WARNING):
        delivery = Delivery("gate", Flaky(), attempts=1, capacity=10)
        for _ in range(5):
            assert delivery.send({})
        delivery.close(5)
    assert (delivery.n_delivered, delivery.n_failed) == (2, 3)
    assert caplog.text.count("not delivered: no route to host") == 1
    assert caplog.text.count("messages are delivered again") == 1


def test_a_stuck_receiver_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    entered, leave = threading.Event(), threading.Event()

    class Stuck:
        def deliver(self, message: Any) -> None:
            entered.set()
            leave.wait()

    with caplog.at_level(logging.WARNING):
        delivery = Delivery("gate", Stuck(), attempts=3, capacity=2)
        assert delivery.send({})
        entered.wait()
        assert [delivery.send({}) for _ in range(3)] == [True, True, False]
        closing = threading.Thread(target=delivery.close, args=(0.05,))
        closing.start()
        threading.Timer(0.3, leave.set).start()
        closing.join(5)
        assert not closing.is_alive()
    assert (delivery.n_delivered, delivery.n_failed, delivery.n_dropped) == (1, 2, 1)
    assert "2 messages were not delivered before the end" in caplog.text


def test_a_program_gets_words_and_the_message_without_a_shell(tmp_path: Path, make_result: Make) -> None:
    out = tmp_path / "out.json"
    script = f"import sys,json; json.dump([sys.argv[1:], json.load(sys.stdin)], open({str(out)!r}, 'w'))"
    command = [sys.executable, "-c", script, "{rule}", "$HOME; rm -rf {source} `id`", "{kind}/{class}/{track_id}"]
    told(sink_of({"command": command}), [make_result(events=(event(rule="door; ls"),))])
    words, message = json.loads(out.read_text())
    assert words == ["door; ls", "$HOME; rm -rf cam `id`", "crossing/person/7"]
    assert message["event"]["rule"] == "door; ls"


def test_placeholders_are_no_format_strings() -> None:
    message = {"alert": "a", "text": "t", "event": event(rule="{kind.__class__}").to_json()}
    assert fill("{rule} {text!r} {0}", message).startswith("{kind.__class__} {text!r}")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["/no/such/program"], "/no/such/program cannot be run: No such file or directory"),
        ([sys.executable, "-c", "import sys; sys.exit('no paper')"], "ended with 1: no paper"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "did not end within 0.5 s and was killed"),
    ],
)
def test_a_program_that_fails(
    command: list[str], said: str, make_result: Make, caplog: pytest.LogCaptureFixture
) -> None:
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        told(sink_of({"command": command, "attempts": 1, "timeout_s": 0.5}), [make_result(events=(event(),))])
    assert said in caplog.text
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "wish",
    [
        {"webhook": "https://host/pa th"},
        {"webhook": "https://host/päth"},
        {"webhook": "https://host/path\n"},
        {"webhook": "https://host/", "headers": {"Authorization": "Bearer token\n"}},
        {"webhook": "https://host/", "headers": {"Authorization": "Bearer schlüssel"}},
        {"webhook": "https://host/", "headers": {"X Token": "token"}},
        {"command": ["/bin/true", "a\0b"]},
    ],
)
def test_what_could_never_be_sent_is_refused_at_the_start(wish: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="wanted"):
        AlertConfig(name="bell", **wish)


def test_a_refused_header_is_not_shown() -> None:
    with pytest.raises(ValueError, match="Authorization") as refused:
        AlertConfig(name="bell", webhook="https://host/", headers={"Authorization": "Bearer c4n4ry-c4n4ry\n"})
    assert "c4n4ry" not in redact(str(refused.value))


def test_frames_do_not_wait_for_a_server_that_is_away(
    make_result: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.alerts.DRAIN_S", 0.0)
    sink = sink_of({"webhook": "http://127.0.0.1:9/", "picture": True, "max_per_minute": 6000})
    sink.open(StreamInfo("cam", 64, 48, 25.0, False, None))
    kept = []
    for number in range(150):
        result = make_result(number, events=(event(),))
        sink.write(result)
        kept.append(weakref.ref(result.frame.image))
        del result
    gc.collect()
    assert [number for number, image in enumerate(kept) if image() is not None] == []
    assert sink.counters["dropped"] >= 150 - CAPACITY_WITH_PICTURES - 2
    sink.close()


def test_the_picture_of_a_very_long_frame(hook: Hook, make_result: Make) -> None:
    image = np.zeros((2, 8000, 3), np.uint8)
    result = make_result(events=(event(),))
    told(sink_of({"webhook": hook.url, "picture": True}), [replace(result, frame=replace(result.frame, image=image))])
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(hook.bodies[0]["picture_jpeg"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (1, 1280, 3)


# -- spools -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sinks.alert_spool.FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr("sinks.alert_spool.LONGEST_PAUSE_S", 0.02)


def rules_told(hook: Hook) -> list[str]:
    return [body["event"]["rule"] for body in hook.bodies]


@pytest.mark.usefixtures("impatient")
def test_messages_in_a_spool_outlive_the_run(
    hook: Hook, make_result: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"name": "the gate", "webhook": "http://127.0.0.1:9/hook/sEcReTpath", "spool": tmp_path, "attempts": 1}
    first = sink_of(nobody)
    monkeypatch.setattr("sinks.alerts.DRAIN_S", 0.1)
    told(first, [make_result(n, events=(event(rule=f"r{n}"),)) for n in range(3)])
    assert first.counters["delivered"] == first.counters["failed"] == 0
    assert "3 messages wait in" in caplog.text
    assert "sEcReTpath" not in caplog.text
    monkeypatch.setattr("sinks.alerts.DRAIN_S", 5.0)
    told(sink_of({**nobody, "webhook": hook.url}), [make_result(events=(event(rule="r3"),))])
    assert rules_told(hook) == ["r0", "r1", "r2", "r3"]
    told(sink_of({**nobody, "webhook": hook.url}), [])
    assert len(hook.bodies) == 4


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["..", "../../elsewhere", "a/b"])
def test_a_spool_stays_in_its_folder(
    name: str, make_result: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.alerts.DRAIN_S", 0.0)
    home = tmp_path / "spools" / "here"
    told(sink_of({"name": name, "webhook": "http://127.0.0.1:9/", "spool": home}), [make_result(events=(event(),))])
    assert [path.name for path in tmp_path.iterdir()] == ["spools"]
    assert [path.name for path in home.parent.iterdir()] == ["here"]
    (place,) = home.iterdir()
    assert place.is_dir()


@pytest.mark.usefixtures("impatient")
def test_a_spool_tries_until_somebody_has_it(hook: Hook, make_result: Make, tmp_path: Path) -> None:
    hook.answers = [500, 503, 500, 429, 500, 404]  # the second message is refused for good
    sink = sink_of({"webhook": hook.url, "spool": tmp_path, "attempts": 1})
    hook.answers.insert(5, 200)
    told(sink, [make_result(n, events=(event(rule=f"r{n}"),)) for n in range(3)])
    assert rules_told(hook) == ["r0", "r2"]
    assert sink.counters == {"delivered": 2, "failed": 1, "dropped": 0, "limited": 0}


@pytest.mark.usefixtures("impatient")
def test_a_spool_that_cannot_be_used_is_told_and_leaves_no_thread(make_result: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    sink = sink_of(
        {"webhook": "http://127.0.0.1:9/", "spool": tmp_path},
        {"webhook": "http://127.0.0.1:9/", "spool": tmp_path / "file"},
    )
    with pytest.raises(SinkError, match="file"):
        sink.open(StreamInfo("cam", 64, 48, 25.0, True, None))
    sink.close()
