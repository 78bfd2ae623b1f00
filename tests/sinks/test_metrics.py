"""Prometheus figures and probes: of made-up runs, and of a real one while it goes on."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.core.control import (
    Histogram,
    QueueDepth,
    RunMeasures,
    SinkAccount,
    SourceState,
    SourceStatus,
)
from pipeline.core.detections import Detections
from pipeline.core.errors import MissingExtraError, SinkError, UsageError
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.protocols import ClosingSink, SteeringSink
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from sinks import probe_server
from sinks.address import OutputAddress, OutputKind, parse_output
from sinks.metrics import MetricsConfig, MetricsSink
from sinks.run_metrics import LATENCY_BOUNDS_S, RunMetrics

pytestmark = pytest.mark.timeout(30)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(2000):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("did not come about in 10 s")


def parsed(text: bytes) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def of(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset((k.rstrip("_"), v) for k, v in labels.items())]


def status(source_id: str = "cam", state: SourceState = SourceState.LIVE, **changes: Any) -> SourceStatus:
    known: dict[str, Any] = {
        "is_live": True,
        "width_px": 64,
        "height_px": 48,
        "produced": 12,
        "emitted": 10,
        "dropped": {"newer": 2},
        "frames_per_s": 24.5,
        "latency_p50_ms": 20.0,
        "latency_p95_ms": 40.0,
        "age_s": 0.25,
        "counters": {"corrupt": 3},
        "error": None,
    }
    return SourceStatus(source_id, state, **(known | changes))


class Control:
    """A run that says what it is told to say."""

    def __init__(
        self,
        *statuses: SourceStatus,
        sinks: Mapping[str, SinkAccount] | None = None,
        busy_s: Mapping[str, float] | None = None,
    ) -> None:
        self.statuses = statuses
        self.sinks = sinks or {}
        self.busy_s = busy_s or {}
        self.rungs: tuple[Mapping[str, float], str] = ({}, "")

    def sources(self) -> tuple[SourceStatus, ...]:
        return self.statuses

    def measures(self, bounds_s: tuple[float, ...]) -> RunMeasures:
        histogram = Histogram(tuple(range(len(bounds_s))), 20, 1.5)
        queues = {"detect:cam": QueueDepth(1, 2)}
        return RunMeasures(
            {"cam": histogram, "gone": histogram}, {"detect": histogram}, queues, self.sinks, self.busy_s, *self.rungs
        )


def scene(crossings: tuple[int, int] = (0, 0), occupancy: int = 0, visits: int = 0, alarm: bool = False) -> Scene:
    corners = np.zeros((4, 2))
    layout = SceneLayout(("door",), (("in", "out"),), np.zeros((1, 2, 2)), ("hall",), (corners,))
    return Scene(layout, np.array([crossings]), np.array([occupancy]), np.array([visits]), np.array([alarm]))


def event(kind: EventKind, rule: str, *, over: bool = True, **values: Any) -> Event:
    return Event("0" * 16, kind, rule, "cam", 1.0, 1.0 if over else None, 0, 3, values=values)


@pytest.fixture
def serve() -> Iterator[Callable[..., MetricsSink]]:
    made: list[MetricsSink] = []

    def build(control: Any = None, **settings: Any) -> MetricsSink:
        sink = MetricsSink(MetricsConfig(url="0", **settings), class_names=("person", "car"))
        made.append(sink)
        if control is not None:
            sink.steer(control)
        return sink

    yield build
    for sink in made:
        sink.close()


def get(sink: MetricsSink, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(sink: MetricsSink) -> bool:
    try:
        return get(sink, "/healthz")[0] == 200
    except (ConnectionError, http.client.RemoteDisconnected):
        return False


# -- what the page says -----------------------------------------------------------------------------------------------


def test_it_is_a_sink_that_steers(serve: Callable[..., MetricsSink]) -> None:
    sink = serve()
    assert isinstance(sink, SteeringSink)
    assert isinstance(sink, ClosingSink)
    assert not sink.is_live  # else events were dropped with their frames


def test_every_figure_of_a_source_is_there(serve: Callable[..., MetricsSink]) -> None:
    sinks = {"out.jsonl": SinkAccount(10, 8, 1, {"torn": 4})}
    samples = parsed(get(serve(Control(status(), sinks=sinks)), "/metrics")[1])
    assert of(samples, "tracklight_frames_produced_total", source="cam") == 12
    assert of(samples, "tracklight_frames_emitted_total", source="cam") == 10
    assert of(samples, "tracklight_frames_dropped_total", source="cam", reason="newer") == 2
    assert of(samples, "tracklight_source_incidents_total", source="cam", incident="corrupt") == 3
    assert of(samples, "tracklight_source_incidents_total", source="cam", incident="reconnects") == 0
    assert of(samples, "tracklight_frames_per_second", source="cam") == 24.5
    assert of(samples, "tracklight_result_age_seconds", source="cam") == 0.25
    assert of(samples, "tracklight_queue_frames", stage="detect:cam") == 1
    assert of(samples, "tracklight_queue_capacity_frames", stage="detect:cam") == 2
    assert of(samples, "tracklight_sink_results_total", sink="out.jsonl", outcome="written") == 8
    assert of(samples, "tracklight_sink_results_total", sink="out.jsonl", outcome="dropped") == 1
    assert of(samples, "tracklight_sink_incidents_total", sink="out.jsonl", incident="torn") == 4
    states = {state: of(samples, "tracklight_source_state", source="cam", state=state) for state in SourceState}
    assert states == {state: float(state == "live") for state in SourceState}
    assert of(samples, "tracklight_latency_seconds_bucket", source="cam", le="0.0025") == 1
    assert of(samples, "tracklight_latency_seconds_bucket", source="cam", le="+Inf") == 20
    assert of(samples, "tracklight_latency_seconds_count", source="cam") == 20
    assert of(samples, "tracklight_latency_seconds_sum", source="cam") == 1.5
    assert of(samples, "tracklight_stage_seconds_count", stage="detect") == 20
    # A source that was removed is not shown any more.
    assert not any(("source", "gone") in labels for _, labels in samples)


def test_what_latency_costs_a_live_source(serve: Callable[..., MetricsSink]) -> None:
    cost = LatencyCost(90, 1, 120.0, 3.5, 0.7, 0.25, 0.125, 0.5, 0.02, 0.01, 0.9, 0.1)
    blind = replace(cost, mean_iou=None, below_50=None, below_75=None, ap50_lost=None)
    control = Control(status(latency_costs={"emission": cost, "display": blind}), status("file"))
    samples = parsed(get(serve(control), "/metrics")[1])
    names = {"tracklight_age_seconds": 0.12, "tracklight_staleness_frames": 3.5, "tracklight_shown_iou_ratio": 0.7}
    for name, value in {**names, "tracklight_latency_ap50_lost_ratio": 0.1}.items():
        assert of(samples, name, source="cam", at="emission") == value
    assert of(samples, "tracklight_shown_boxes_off_ratio", source="cam", at="emission", iou="0.5") == 0.125
    assert of(samples, "tracklight_shown_boxes_off_ratio", source="cam", at="emission", iou="0.75") == 0.5
    shown = {name for name, labels in samples if ("at", "display") in labels}
    assert shown == {"tracklight_age_seconds", "tracklight_staleness_frames"}, "what is not known is left out"
    assert not any(("source", "file") in labels and ("at", "emission") in labels for _, labels in samples)


def test_where_the_overload_has_led(serve: Callable[..., MetricsSink]) -> None:
    control = Control(status())
    sink = serve(control)
    assert not any(name.startswith("tracklight_overload") for name, _ in parsed(get(sink, "/metrics")[1]))
    control.rungs = ({"640": 12.5, "416": 30.0}, "416")
    samples = parsed(get(sink, "/metrics")[1])
    assert of(samples, "tracklight_overload_rung_seconds_total", rung="640") == 12.5
    assert [of(samples, "tracklight_overload_rung", rung=rung) for rung in ("640", "416")] == [0, 1]


def test_the_process_is_there_from_the_system(serve: Callable[..., MetricsSink]) -> None:
    samples = parsed(get(serve(Control()), "/metrics")[1])
    assert of(samples, "process_resident_memory_bytes") > 1e6
    assert of(samples, "process_open_fds") > 3
    assert of(samples, "process_threads") >= 2
    assert of(samples, "process_cpu_seconds_total") > 0


def test_scenes_and_events(serve: Callable[..., MetricsSink], make_result: Callable[..., FrameResult]) -> None:
    sink = serve(Control(status()))

    def write(index: int, shown: Scene, *events: Event, classes: tuple[int, ...] = ()) -> Samples:
        result = make_result(index, boxes=[(1, 2, 9, 9)] * len(classes), class_id=classes, events=events)
        sink.write(replace(result, scene=shown))
        return parsed(get(sink, "/metrics")[1])

    samples = write(0, scene())
    # There with 0 before anything happens, so that the first one is a rise.
    assert of(samples, "tracklight_crossings_total", source="cam", line="door", direction="in") == 0
    assert of(samples, "tracklight_zone_visits_total", source="cam", zone="hall") == 0
    crossing = event(EventKind.CROSSING, "door", direction="in")
    visit = event(EventKind.VISIT, "hall", over=False)
    samples = write(1, scene((1, 0), 2, 1, True), crossing, visit, classes=(0, 0, 1))
    assert of(samples, "tracklight_crossings_total", source="cam", line="door", direction="in") == 1
    assert of(samples, "tracklight_events_total", source="cam", kind="visit", rule="hall") == 1
    assert of(samples, "tracklight_zone_visits_total", source="cam", zone="hall") == 1
    assert of(samples, "tracklight_zone_objects", source="cam", zone="hall") == 2
    assert of(samples, "tracklight_zone_alarm", source="cam", zone="hall") == 1
    assert of(samples, "tracklight_objects", source="cam", class_="person") == 2
    # The end of a visit is no second visit; who has left is in view no more.
    samples = write(2, scene((1, 0), 0, 1), event(EventKind.VISIT, "hall"), classes=(1,))
    assert of(samples, "tracklight_events_total", source="cam", kind="visit", rule="hall") == 1
    assert of(samples, "tracklight_objects", source="cam", class_="person") == 0
    # The source begins anew: its scene counts from 0, the page goes on.
    sink.end_source(Closing("cam", 1.0, 0))
    samples = write(0, scene((1, 0)), crossing)
    assert of(samples, "tracklight_crossings_total", source="cam", line="door", direction="in") == 2
    assert of(samples, "tracklight_objects", source="cam", class_="car") == 0


def test_a_counter_that_begins_anew_goes_on(serve: Callable[..., MetricsSink]) -> None:
    control = Control(status(counters={"reconnects": 5}))
    sink = serve(control)
    seen = []
    for n in (5, 7, 0, 2, 1):
        control.statuses = (status(counters={"reconnects": n}),)
        samples = parsed(get(sink, "/metrics")[1])
        seen.append(of(samples, "tracklight_source_incidents_total", source="cam", incident="reconnects"))
    assert seen == [5, 7, 7, 9, 10]


def test_no_credentials_in_labels(serve: Callable[..., MetricsSink]) -> None:
    secret = "rtsp://me:c4n4ry-pw@host/stream"
    control = Control(status(secret), sinks={secret: SinkAccount(1, 1, 0, {})})
    text = get(serve(control), "/metrics")[1].decode()
    assert "c4n4ry" not in text
    assert "rtsp://***@host/stream" in text


def test_memory_of_gpus_where_torch_uses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 1,
        mem_get_info=lambda _index: (3, 10),
        memory_allocated=lambda _index: 1,
        memory_reserved=lambda _index: 2,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    samples = parsed(RunMetrics(()).text())
    names = ("allocated", "reserved", "free", "total")
    assert [of(samples, f"tracklight_gpu_memory_{n}_bytes", device="cuda:0") for n in names] == [1, 2, 3, 10]
    cuda.is_initialized = lambda: False
    assert not any("gpu" in name for name, _ in parsed(RunMetrics(()).text()))


def test_it_never_loads_torch() -> None:
    code = (
        "import sys; from sinks.run_metrics import RunMetrics; RunMetrics(()).text(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_it_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[metrics\]"):
        MetricsSink(MetricsConfig(), class_names=())


# -- probes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "age_s", "code"),
    [
        (SourceState.LIVE, 0.1, 200),
        (SourceState.LIVE, None, 200),  # a model may take minutes to be made ready
        (SourceState.LIVE, 31.0, 503),
        (SourceState.BACKING_OFF, 500.0, 200),  # a restart of this program brings no camera back
        (SourceState.ENDED, 500.0, 200),
    ],
)
def test_alive(serve: Callable[..., MetricsSink], state: SourceState, age_s: float | None, code: int) -> None:
    found, body = get(serve(Control(status(), status("b", state, age_s=age_s))), "/healthz")
    assert found == code
    assert (b"b: frames come" in body) == (code == 503)


def test_a_stage_that_hangs_is_named(serve: Callable[..., MetricsSink]) -> None:
    control = Control(status(), busy_s={"sink:a.mp4": 1.0, "source:cam": 60.0})
    sink = serve(control, hang_s=5)
    assert get(sink, "/healthz")[0] == 200  # a source that hangs is begun anew by the run
    control.busy_s = {"sink:rtsp://u:pw@h/x": 6.0}
    assert get(sink, "/healthz") == (503, b"sink:rtsp://***@h/x: at one piece of work for 6 s\n")


def test_ready_from_the_first_result_or_all_sources(serve: Callable[..., MetricsSink]) -> None:
    waits = status("b", SourceState.CONNECTING, produced=0, emitted=0)
    control = Control(status(emitted=0), waits)
    sink = serve(control)
    assert get(sink, "/readyz")[0] == 503
    control.statuses = (status(emitted=1), waits)
    assert get(sink, "/readyz")[0] == 200
    control.statuses = (waits,)  # once ready, always ready
    assert get(sink, "/readyz")[0] == 200
    assert get(serve(Control(status(emitted=0), status("b", emitted=0))), "/readyz")[0] == 200


# -- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "headers", "code"),
    [
        ("/metrics?x=1", "GET", {}, 200),
        ("/metrics", "HEAD", {}, 200),
        ("/metrics", "GET", {"Host": "localhost:9464"}, 200),
        ("/metrics", "GET", {"Host": "evil.example"}, 403),
        ("/metrics", "GET", {"Host": "127.0.0.1.evil.example"}, 403),
        ("/metrics", "GET", {"Host": "[::1"}, 403),
        ("/../etc/passwd", "GET", {}, 404),
        ("/", "GET", {}, 404),
        ("/metrics", "POST", {}, 501),
        ("/" + "a" * 70_000, "GET", {}, 414),
    ],
)
def test_what_is_answered(
    serve: Callable[..., MetricsSink], path: str, method: str, headers: dict[str, str], code: int
) -> None:
    assert get(serve(Control()), path, method, **headers)[0] == code


def test_on_an_open_address_any_name_will_do(serve: Callable[..., MetricsSink]) -> None:
    assert get(serve(Control(), host="0.0.0.0"), "/healthz", Host="tracklight:9464")[0] == 200


def test_whoever_dawdles_is_cut_and_keeps_nobody_out(
    serve: Callable[..., MetricsSink], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_server, "DEADLINE_S", 0.3)
    monkeypatch.setattr(probe_server, "MAX_CONNECTIONS", 2)
    sink = serve(Control())
    dawdlers = [socket.create_connection(("127.0.0.1", sink.port), timeout=5) for _ in range(2)]
    try:
        for dawdler in dawdlers:
            dawdler.sendall(b"GET /metrics HTTP/1.1\r\n")
        with socket.create_connection(("127.0.0.1", sink.port), timeout=5) as third:
            assert third.recv(1) == b""  # two are there already
        for dawdler in dawdlers:
            assert dawdler.recv(1) == b""
        until(lambda: answers(sink))
    finally:
        for dawdler in dawdlers:
            dawdler.close()


def test_close_does_not_wait_for_clients(serve: Callable[..., MetricsSink]) -> None:
    sink = serve(Control())
    with socket.create_connection(("127.0.0.1", sink.port)) as client:
        client.sendall(b"GET")
        began = time.monotonic()
        sink.close()
        sink.close()
        assert time.monotonic() - began < probe_server.DEADLINE_S / 2


def test_a_port_that_is_taken(serve: Callable[..., MetricsSink]) -> None:
    sink = serve(Control())
    other = MetricsSink(MetricsConfig(url=str(sink.port)), class_names=())
    with pytest.raises(SinkError, match=f"127.0.0.1:{sink.port}"):
        other.steer(Control())
    other.close()


def test_a_page_that_fails_is_logged_and_told_without_its_reason(
    serve: Callable[..., MetricsSink], caplog: pytest.LogCaptureFixture
) -> None:
    control = Control()
    control.sources = lambda: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    code, body = get(serve(control), "/metrics")
    assert code == 500
    assert b"division" not in body
    assert "division" in caplog.text


# -- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [("metrics", "9464"), ("metrics:8000", "8000"), ("METRICS:1", "1")])
def test_addresses(text: str, value: str) -> None:
    assert parse_output(text) == OutputAddress(OutputKind.METRICS, value)


@pytest.mark.parametrize("text", ["metrics:", "metrics:x", "metrics:70000", "metrics:0"])
def test_addresses_that_cannot_work(text: str) -> None:
    with pytest.raises(UsageError, match="wanted a port from 1 to 65535"):
        parse_output(text)


# -- a real run -------------------------------------------------------------------------------------------------------


class Source:
    """Frames for ever, each after `step`; counts from 0 whenever it is made anew."""

    def __init__(self, step: threading.Semaphore) -> None:
        self.source_id = "cam"
        self._step = step
        self._over = threading.Event()
        self._index = 0

    def open(self) -> StreamInfo:
        return StreamInfo("cam", 8, 8, 25.0, False, None)

    def read(self) -> Frame | None:
        while not self._step.acquire(timeout=0.01):
            if self._over.is_set():
                return None
        if self._over.is_set():
            self._step.release()  # it is the next one's
            return None
        self._index += 1
        image = np.zeros((8, 8, 3), np.uint8)
        return Frame("cam", self._index - 1, image, self._index / 25, time.monotonic_ns(), CaptureClock.FILE)

    def interrupt(self) -> None:
        self._over.set()

    def close(self) -> None: ...

    @property
    def counters(self) -> Mapping[str, int]:
        return {"corrupt": self._index}


class Detector:
    class_names = ("person",)

    def warmup(self) -> None: ...

    def detect(self, frames: Any) -> list[Detections]:
        return [Detections.empty() for _ in frames]

    def close(self) -> None: ...


def test_counters_never_fall_while_a_source_is_restarted(serve: Callable[..., MetricsSink]) -> None:
    step = threading.Semaphore(0)
    sink = serve()
    runner = Runner([Source(step)], Detector(), None, [SinkBinding("m", sink)], RunnerSettings(keep_open=True))
    sink.steer(SimpleNamespace(sources=runner.source_status, measures=runner.measures))
    thread = threading.Thread(target=runner.run)
    thread.start()
    pages: list[Samples] = []

    def frames(n: int) -> None:
        step.release(n)
        until(lambda: of(page(), "tracklight_frames_emitted_total", source="cam") == wanted)

    def page() -> Samples:
        pages.append(parsed(get(sink, "/metrics")[1]))
        return pages[-1]

    try:
        assert get(sink, "/readyz")[0] == 503
        for wanted in (4, 7, 12):
            before = of(pages[-1], "tracklight_frames_emitted_total", source="cam") if pages else 0
            frames(int(wanted - before))
            runner.replace_source(Source(step))
            page()
        assert get(sink, "/readyz")[0] == get(sink, "/healthz")[0] == 200
        last = page()
    finally:
        runner.stop()
        thread.join()
    assert of(last, "tracklight_latency_seconds_count", source="cam") == 12
    assert of(last, "tracklight_source_incidents_total", source="cam", incident="corrupt") == 12
    buckets = [of(last, "tracklight_latency_seconds_bucket", source="cam", le=str(bound)) for bound in LATENCY_BOUNDS_S]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 12
    for stage in ("read:cam", "queue", "detect", "sink:m"):
        assert of(last, "tracklight_stage_seconds_count", stage=stage) == 12
    counters = [key for key in last if key[0].endswith(("_total", "_count", "_bucket"))]
    for earlier, later in pairwise(pages):
        for key in counters:
            assert later.get(key, 0) >= earlier.get(key, 0), key


class StuckSink:
    """Holds every result until it is told to let go."""

    needs_image = needs_main_thread = is_live = False
    shared = True

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def open(self, info: StreamInfo) -> None: ...

    def write(self, result: FrameResult) -> None:
        assert self.go_on.wait(20)

    def close(self) -> None: ...


def test_an_output_of_a_real_run_that_hangs_is_named_until_it_goes_on(serve: Callable[..., MetricsSink]) -> None:
    step, stuck, sink = threading.Semaphore(1), StuckSink(), serve(hang_s=0.2)
    sinks = [SinkBinding("m", sink), SinkBinding("stuck.mp4", stuck)]
    runner = Runner([Source(step)], Detector(), None, sinks, RunnerSettings(keep_open=True))
    sink.steer(SimpleNamespace(sources=runner.source_status, measures=runner.measures))
    thread = threading.Thread(target=runner.run)
    thread.start()
    try:
        until(lambda: get(sink, "/healthz")[1].startswith(b"sink:stuck.mp4: at one piece of work"))
        stuck.go_on.set()
        step.release()
        until(lambda: runner.measures(()).sinks["stuck.mp4"].written == 2)
        until(lambda: "sink:stuck.mp4" not in runner.measures(()).busy_s)
    finally:
        stuck.go_on.set()
        runner.stop()
        thread.join()
