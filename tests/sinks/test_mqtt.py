"""MQTT against a real broker (mosquitto): what is told, and what becomes of it when the broker or this process goes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pytest
from paho.mqtt import client as paho

from pipeline.core.control import SourceState, SourceStatus
from pipeline.core.errors import MissingExtraError, UsageError
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import ClosingSink, SteeringSink
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene, SceneLayout
from sinks import mqtt_link
from sinks.address import OutputAddress, OutputKind, parse_output
from sinks.mqtt import MqttConfig, MqttSink
from sinks.mqtt_place import MqttPlace, parse_place

pytestmark = pytest.mark.timeout(60)
Make = Callable[..., FrameResult]
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PASSWORD = "c4n4ry-pässword@1"
IN_URL = "c4n4ry-p%C3%A4ssword%401"


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    waited = threading.Event()
    for _ in range(round(seconds * 200)):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError(f"did not come about in {seconds} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Broker:
    """A mosquitto on a loopback port; keeps nothing from one start to the next."""

    folder: Path
    port: int = field(default_factory=free_port)
    more: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Broker:
        config = self.folder / "mosquitto.conf"
        config.write_text(f"listener {self.port} 127.0.0.1\npersistence false\nuser root\n{self.more}\n")
        assert MOSQUITTO is not None
        self.process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stderr=subprocess.DEVNULL)
        until(self._answers)
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def url(self, prefix: str = "house") -> str:
        return f"mqtt://cam:{IN_URL}@127.0.0.1:{self.port}/{prefix}"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (Debian: mosquitto)")
    folder = tmp_path / "broker"
    folder.mkdir()
    passwords = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "cam", PASSWORD], check=True, capture_output=True)
    made = Broker(folder, more=f"allow_anonymous false\npassword_file {passwords}")
    yield made
    made.kill()


class Listener:
    """A second client: everything that the broker gave out, in order."""

    def __init__(self, broker: Broker) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        self._client.username_pw_set("cam", PASSWORD)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        self.messages.append((message.topic, message.payload.decode(), message.retain))

    def last(self, topic: str) -> Any:
        found = [payload for name, payload, _ in self.messages if name == topic]
        if not found:
            return None
        return json.loads(found[-1]) if found[-1].startswith("{") else found[-1]

    def all(self, topic: str) -> list[Any]:
        return [json.loads(payload) for name, payload, _ in self.messages if name == topic]

    def retained(self) -> dict[str, str]:
        return {topic: payload for topic, payload, is_retained in self.messages if is_retained}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def listen(broker: Broker) -> Iterator[Callable[[], Listener]]:
    made: list[Listener] = []

    def build() -> Listener:
        made.append(Listener(broker))
        return made[-1]

    yield build
    for listener in made:
        listener.close()


@pytest.fixture
def make_sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., MqttSink]]:
    monkeypatch.setattr(mqtt_link, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(mqtt_link, "LONGEST_PAUSE_S", 0.2)
    made: list[MqttSink] = []

    def build(url: str, **settings: Any) -> MqttSink:
        made.append(MqttSink(MqttConfig(url=url, **settings), class_names=("person", "car")))
        return made[-1]

    yield build
    for sink in made:
        sink.close()


def event(number: int, source_id: str = "cam") -> Event:
    values: dict[str, Any] = {"direction": "in"}
    return Event(
        f"{number:016x}", EventKind.CROSSING, "door", source_id, 1.0, 1.0, 0, 3, (7,), 0, "person", values=values
    )


LAYOUT = SceneLayout(
    ("door", "Tür {2}"),
    (("in", "out"), ("hinein", "hinaus")),
    np.zeros((2, 2, 2)),
    ("hall", 'the "big" hall'),
    (np.zeros((4, 2)), np.zeros((4, 2))),
)
SCENE = Scene(
    LAYOUT, np.array([[3, 1], [5, 0]]), np.array([2, 0]), np.array([4, 0]), np.array([True, False]), {"person": 4}
)


def with_scene(result: FrameResult, scene: Scene = SCENE) -> FrameResult:
    return replace(result, scene=scene)


def info(source_id: str = "cam", is_live: bool = True) -> StreamInfo:
    return StreamInfo(source_id, 64, 48, 25.0, is_live, None)


class Control:
    def __init__(self) -> None:
        self.states = {"cam": SourceState.LIVE}

    def sources(self) -> tuple[SourceStatus, ...]:
        return tuple(
            SourceStatus(name, state, True, 64, 48, 9, 8, {"newer": 1}, 25.0, 20.04, 40.0, 0.1, {"reconnects": 2}, None)
            for name, state in self.states.items()
        )


# -- what is told -----------------------------------------------------------------------------------------------------


def test_it_is_a_sink_that_steers() -> None:
    sink = MqttSink(MqttConfig(url="mqtt://host"), class_names=())
    assert isinstance(sink, SteeringSink)
    assert isinstance(sink, ClosingSink)
    assert not sink.is_live  # else events were dropped with their frames
    sink.close()


def test_everything_is_told(
    broker: Broker, listen: Callable[[], Listener], make_sink: Callable[..., MqttSink], make_result: Make
) -> None:
    broker.start()
    listener = listen()
    sink = make_sink(broker.url())
    control = Control()
    sink.steer(control)  # type: ignore[arg-type]
    until(lambda: listener.last("house/status") == "online")
    until(lambda: listener.last("house/cam/state") is not None)
    state = listener.last("house/cam/state")
    assert (state["state"], state["latency_p50_ms"], state["dropped"]) == ("live", 20.0, {"newer": 1})
    sink.open(info())
    boxes = [(1, 2, 9, 9), (3, 4, 20, 30)]
    sink.write(with_scene(make_result(4, boxes=boxes, class_id=[0, 1], events=(event(1),), pts_s=0.16)))
    until(lambda: listener.last("house/cam/counts") is not None and listener.last("house/cam/events") is not None)
    until(lambda: listener.last("house/cam/tracks") is not None)
    tracks = listener.last("house/cam/tracks")
    assert (tracks["frame"], tracks["pts_s"]) == (4, 0.16)
    assert [(one["track_id"], one["class"]) for one in tracks["objects"]] == [(1, "person"), (2, "car")]
    told = listener.last("house/cam/events")
    assert told["event_id"] == f"{1:016x}"
    assert told["time_utc"].endswith("+00:00")
    counts = listener.last("house/cam/counts")
    assert counts["in_view"] == {"person": 1, "car": 1}
    assert counts["lines"]["Tür {2}"] == {"in": 5, "out": 0}
    assert counts["zones"]["hall"] == {"objects": 2, "visits": 4, "alarm": True}
    # A state that changes is told at once, and a source that was removed is not left as live.
    control.states = {"other/cam": SourceState.STALLED}
    until(lambda: listener.last("house/other_cam/state") is not None)
    until(lambda: listener.last("house/cam/state") == {"state": "removed"})
    sink.close()
    sink.close()
    until(lambda: listener.last("house/status") == "offline")
    assert sink.counters == {"events_delivered": 1, "events_dropped": 0, "connections": 1}
    # Whoever comes later finds how things stand, but no old tracks and events.
    late = listen()
    until(lambda: "house/status" in late.retained())
    kept = {topic for topic in late.retained() if not topic.startswith("homeassistant/")}
    assert kept == {"house/status", "house/cam/counts", "house/cam/state", "house/other_cam/state"}
    assert late.retained()["house/status"] == "offline"


def test_tracks_that_were_moved_say_to_when(
    broker: Broker, listen: Callable[[], Listener], make_sink: Callable[..., MqttSink], make_result: Make
) -> None:
    broker.start()
    listener = listen()
    sink = make_sink(broker.url())
    sink.open(info())
    # Tracks do not wait for the broker.
    until(lambda: listener.last("house/status") == "online")
    motion = TrackMotion(np.array([[100, 0, 100, 0]], np.float32), np.full(1, 3, np.float32), np.zeros(1, np.float32))
    result = replace(make_result(1, boxes=[(1, 2, 30, 40)], events=(event(1),)), motion=motion)
    sink.write(result.moved_to(140_000_000))
    until(lambda: listener.last("house/cam/tracks") is not None and listener.last("house/cam/events") is not None)
    tracks = listener.last("house/cam/tracks")
    assert (tracks["captured_ns"], tracks["boxes_at_ns"]) == (40_000_000, 140_000_000)
    assert (tracks["objects"][0]["xyxy"], tracks["objects"][0]["std_px"]) == ([11, 2, 40, 40], 3)
    assert "boxes_at_ns" not in listener.last("house/cam/events")
    sink.close()


def test_home_assistant_gets_entities_whose_templates_work(
    broker: Broker, listen: Callable[[], Listener], make_sink: Callable[..., MqttSink], make_result: Make
) -> None:
    broker.start()
    listener = listen()
    sink = make_sink(broker.url(), discovery="ha")
    sink.steer(Control())  # type: ignore[arg-type]
    sink.open(info())
    sink.write(with_scene(make_result(0, boxes=[(1, 2, 9, 9)])))
    sink.close()
    until(lambda: listener.last("house/status") == "offline")
    configs = {t: json.loads(p) for t, p, _ in listener.messages if t.startswith("ha/")}
    shown: dict[str, str] = {}
    for topic, config in configs.items():
        _, component, device, object_id, word = topic.split("/")
        assert (device, word) == ("house_cam", "config")
        assert component in ("sensor", "binary_sensor")
        assert config["availability_topic"] == "house/status"
        assert config["unique_id"] == f"{device}_{object_id}"
        value = jinja2.Environment().from_string(config["value_template"])
        shown[config["name"]] = value.render(value_json=listener.last(config["state_topic"]))
        if component == "binary_sensor":
            assert shown[config["name"]] in ("ON", "OFF")
    assert shown == {
        "Connection": "ON",
        "Objects in view": "ON",
        "hall occupancy": "2",
        "hall alarm": "ON",
        'the "big" hall occupancy': "0",
        'the "big" hall alarm': "OFF",
        "door in": "3",
        "door out": "1",
        "Tür {2} hinein": "5",
        "Tür {2} hinaus": "0",
    }
    increasing = [c["name"] for c in configs.values() if c.get("state_class") == "total_increasing"]
    assert sorted(increasing) == ["Tür {2} hinaus", "Tür {2} hinein", "door in", "door out"]
    assert len({config["unique_id"] for config in configs.values()}) == len(configs) == 10


def test_without_discovery_nothing_else_is_told(
    broker: Broker, listen: Callable[[], Listener], make_sink: Callable[..., MqttSink], make_result: Make
) -> None:
    broker.start()
    listener = listen()
    sink = make_sink(broker.url(), discovery="", tracks_per_s=0)
    sink.open(info(is_live=False))
    sink.write(make_result(0, events=(event(1),)))
    sink.end_source(Closing("cam", 1.0, 0, (event(2),)))
    sink.close()
    until(lambda: listener.last("house/status") == "offline")
    assert {topic for topic, *_ in listener.messages} == {"house/status", "house/cam/events", "house/cam/counts"}
    events = listener.all("house/cam/events")
    assert [one["event_id"] for one in events] == [f"{n:016x}" for n in (1, 2)]
    assert events[0]["time_utc"] is None  # footage has no wall time


def test_tracks_are_told_at_a_rate(
    broker: Broker,
    listen: Callable[[], Listener],
    make_sink: Callable[..., MqttSink],
    make_result: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker.start()
    listener = listen()
    sink = make_sink(broker.url(), tracks_per_s=5)
    sink.open(info())
    until(lambda: sink.counters["connections"] == 1)
    now = [100.0]
    monkeypatch.setattr("sinks.mqtt.time.monotonic", lambda: now[0])
    for index in range(50):
        now[0] = 100 + index / 25
        sink.write(make_result(index))
        until(lambda: sink._link is not None and not sink._link._fresh)
    monkeypatch.undo()
    sink.close()
    until(lambda: listener.last("house/status") == "offline")
    assert [one["frame"] for one in listener.all("house/cam/tracks")] == list(range(0, 50, 5))


# -- brokers that come and go -----------------------------------------------------------------------------------------


def ids_of(listener: Listener) -> list[int]:
    return [int(one["event_id"], 16) for one in listener.all("house/cam/events")]


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_event_is_lost_while_the_broker_is_away(
    broker: Broker,
    listen: Callable[[], Listener],
    make_sink: Callable[..., MqttSink],
    make_result: Make,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    on_disk: bool,
) -> None:
    sink = make_sink(broker.url(), **({"spool": tmp_path / "spool"} if on_disk else {}))
    sink.steer(Control())  # type: ignore[arg-type]
    sink.open(info())
    n = 0

    def write(times: int) -> None:
        nonlocal n
        for _ in range(times):
            sink.write(with_scene(make_result(n, events=(event(n),))))
            n += 1

    write(40)  # nobody there yet
    for _ in range(3):
        broker.start()
        listener = listen()
        write(30)
        until(lambda there=listener: set(range(n - 30, n)) <= set(ids_of(there)))
        # The broker keeps nothing: everything retained is told anew.
        until(lambda there=listener: there.last("house/status") == "online" and there.last("house/cam/counts"))
        listener.close()
        broker.kill()
        write(50)
    broker.start()
    listener = listen()
    until(lambda: sink._backlog is not None and sink._backlog.n_waiting == 0)
    sink.close()
    until(lambda: listener.last("house/status") == "offline")
    assert set(range(n - 50, n)) <= set(ids_of(listener))
    assert sink.counters["events_dropped"] == 0
    assert sink.counters["events_delivered"] >= n
    away = [one for one in caplog.messages if "wait" in one]
    assert 1 <= len(away) <= 4  # said once for each time, not for each attempt
    assert "c4n4ry" not in caplog.text


def test_events_outlive_the_run_in_a_spool(
    broker: Broker,
    listen: Callable[[], Listener],
    make_sink: Callable[..., MqttSink],
    make_result: Make,
    tmp_path: Path,
) -> None:
    settings = {"spool": tmp_path / "spool", "drain_s": 0.1}
    first = make_sink(broker.url(), **settings)
    first.open(info())
    for n in range(10):
        first.write(make_result(n, events=(event(n),)))
    first.close()
    broker.start()
    listener = listen()
    second = make_sink(broker.url(), **(settings | {"drain_s": 5}))
    second.open(info())
    second.write(make_result(0, events=(event(10),)))
    second.close()
    until(lambda: listener.last("house/status") == "offline")
    assert ids_of(listener) == list(range(11))


def test_a_frozen_broker_holds_up_nobody(
    broker: Broker, make_sink: Callable[..., MqttSink], make_result: Make, caplog: pytest.LogCaptureFixture
) -> None:
    broker.start()
    sink = make_sink(broker.url(), drain_s=0.3)
    sink.open(info())
    until(lambda: sink.counters["connections"] == 1)
    assert broker.process is not None
    broker.process.send_signal(signal.SIGSTOP)
    boxes = [(1, 2, 9, 9)] * 50
    results = [with_scene(make_result(n, boxes=boxes, events=(event(n),))) for n in range(300)]
    began = time.monotonic()
    for result in results:
        sink.write(result)
    wrote_s = time.monotonic() - began
    sink.close()
    assert wrote_s < 3  # 0.1 s on a quiet machine
    assert time.monotonic() - began < wrote_s + 3
    assert "300 events were not delivered" in caplog.text


def test_the_will_is_told_when_this_process_is_killed(broker: Broker, listen: Callable[[], Listener]) -> None:
    broker.start()
    listener = listen()
    code = (
        "import sys; from sinks.mqtt import MqttConfig, MqttSink; from pipeline.core.frame import StreamInfo\n"
        "MqttSink(MqttConfig(url=sys.argv[1]), class_names=()).open(StreamInfo('cam', 8, 8, 25.0, True, None))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, broker.url()])
    try:
        until(lambda: listener.last("house/status") == "online", 20)
    finally:
        process.kill()
        process.wait()
    until(lambda: listener.last("house/status") == "offline")


def test_a_wrong_password_is_said_once_without_it(
    broker: Broker, make_sink: Callable[..., MqttSink], make_result: Make, caplog: pytest.LogCaptureFixture
) -> None:
    broker.start()
    caplog.set_level(logging.DEBUG)
    sink = make_sink(broker.url().replace(IN_URL, "c4n4ry-wrong"), drain_s=0.5)
    assert "c4n4ry" not in repr(sink._config)
    sink.open(info())
    sink.write(make_result(0, events=(event(0),)))
    until(lambda: "the broker refused" in caplog.text)
    sink.close()
    assert caplog.text.count("the broker refused") == 1
    assert "c4n4ry" not in caplog.text


# -- encryption -------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
    return key, certificate


# Where a handshake fails, paho leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_encrypted_and_the_certificate_is_checked(
    broker: Broker,
    certificate: tuple[Path, Path],
    make_sink: Callable[..., MqttSink],
    make_result: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker.more += f"\nkeyfile {certificate[0]}\ncertfile {certificate[1]}"
    broker.start()
    url = broker.url().replace("mqtt:", "mqtts:")
    trusting = make_sink(url, ca_file=certificate[1])
    trusting.open(info())
    for n in range(100):
        trusting.write(make_result(n, events=(event(n),)))
    until(lambda: trusting.counters["events_delivered"] == 100)
    wary = make_sink(url, drain_s=0.2)
    wary.open(info())
    until(lambda: "self-signed certificate" in caplog.text or "self signed certificate" in caplog.text)
    wary.close()
    assert wary.counters["connections"] == 0


# -- addresses and extras ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("mqtt://host", MqttPlace("host", 1883, False, None, None, "tracklight")),
        ("mqtts://host/", MqttPlace("host", 8883, True, None, None, "tracklight")),
        ("MQTT://u:p%40s@[::1]:99/a/b/", MqttPlace("::1", 99, False, "u", "p@s", "a/b")),
    ],
)
def test_addresses(text: str, place: MqttPlace) -> None:
    assert parse_place(text) == place
    assert parse_output(text) == OutputAddress(OutputKind.MQTT, text)


@pytest.mark.parametrize(
    "text", ["mqtt://", "mqtt:///x", "mqtt://h:x/", "mqtt://h/a/#", "mqtt://h/a+", "mqtt://h/$SYS", "mqtt://h/a//b"]
)
def test_addresses_that_cannot_work(text: str) -> None:
    with pytest.raises(UsageError, match="wanted mqtt://"):
        parse_output(text)


def test_an_address_that_cannot_work_keeps_its_secret() -> None:
    with pytest.raises(UsageError) as caught:
        parse_output("mqtt://me:c4n4ry-pw@host/+")
    assert "c4n4ry" not in str(caught.value)


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    sink = MqttSink(MqttConfig(url="mqtt://host"), class_names=())
    with pytest.raises(MissingExtraError, match=r"tracklight\[mqtt\]"):
        sink.open(info())
    sink.close()
