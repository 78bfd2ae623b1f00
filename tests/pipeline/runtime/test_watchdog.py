"""Stages that hang: named, and freed where that is possible."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pipeline.core.errors import StageError
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

pytestmark = pytest.mark.timeout(20)
WATCHED = RunnerSettings(watchdog_s=0.3, drain_s=0.5)


@pytest.fixture
def stuck() -> threading.Event:
    """What a stage hangs on; let go at the test's end, so that its thread ends too."""
    event = threading.Event()
    yield event
    event.set()


def test_a_source_that_hangs_is_begun_anew_alone(
    stages: SimpleNamespace, stuck: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    sink = stages.Sink()
    hanging = stages.Source("a", 9, wait=lambda index: stuck.wait(15) if index == 3 else None)
    pace = threading.Event()
    other = stages.Source("b", 50, wait=lambda index: pace.wait(0.02))
    runner = Runner(
        [hanging, other],
        stages.Detector(),
        stages.Tracker,
        [SinkBinding("s", sink)],
        WATCHED,
        remake_source=lambda name: stages.Source(name, 4),
    )
    report = runner.run()
    assert [r.frame.index for r in sink.results if r.frame.source_id == "a"] == [0, 1, 2, 0, 1, 2, 3]
    assert report.sources["b"].emitted == 50
    assert report.status == "completed"
    assert caplog.messages == [
        "source:a at what follows frame 2 of a: TimeoutError: hangs for more than 0.3 s; it is begun anew"
    ]


def test_a_source_that_hangs_and_cannot_be_made_again_fails_alone(
    stages: SimpleNamespace, stuck: threading.Event
) -> None:
    sink = stages.Sink()
    hanging = stages.Source("a", 9, wait=lambda index: stuck.wait(15))
    report = Runner(
        [hanging, stages.Source("b", 5)], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], WATCHED
    ).run()
    assert report.status == "partial"
    assert "hangs" in report.sources["a"].error
    assert report.sources["b"].emitted == 5


def test_a_source_that_tries_again_does_not_hang(stages: SimpleNamespace) -> None:
    """A camera that is off for long: each attempt is a sign of life."""
    source = stages.Source("a", 2)
    source.attempts = 0
    pace = threading.Event()

    def trying(index: int) -> None:
        for _ in range(10 if index else 0):
            source.attempts += 1
            pace.wait(0.1)

    source.wait = trying
    report = Runner([source], stages.Detector(), stages.Tracker, [], WATCHED).run()
    assert report.sources["a"].emitted == 2
    assert report.errors == ()


def test_a_live_sink_that_hangs_is_let_go(stages: SimpleNamespace, stuck: threading.Event) -> None:
    record = stages.Sink()
    view = stages.Sink(is_live=True, before=lambda result: stuck.wait(15))
    pace = threading.Event()
    source = stages.Source("a", 40, wait=lambda index: pace.wait(0.02))
    bindings = [SinkBinding("record", record), SinkBinding("view", view)]
    report = Runner([source], stages.Detector(), stages.Tracker, bindings, WATCHED).run()
    assert len(record.results) == 40
    assert report.status == "partial"
    assert report.errors == ("sink:view at frame 0 of a: TimeoutError: hangs for more than 0.3 s",)
    assert report.sinks["view"].written == 0


def test_a_live_sink_that_hangs_is_begun_anew_with_the_sources_that_are_open(
    stages: SimpleNamespace, stuck: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    record = stages.Sink()
    hanging = stages.Sink(is_live=True, before=lambda result: stuck.wait(15) if result.frame.index == 2 else None)
    again = stages.Sink(is_live=True)
    pace = threading.Event()
    sources = [stages.Source(name, 40, wait=lambda index: pace.wait(0.02)) for name in ("a", "b")]
    bindings = [SinkBinding("record", record), SinkBinding("view", hanging, "a", remake=lambda: again)]
    report = Runner(sources, stages.Detector(), stages.Tracker, bindings, WATCHED).run()
    assert caplog.messages == ["sink:view at frame 2 of a: TimeoutError: hangs for more than 0.3 s; it is begun anew"]
    assert (report.status, report.errors) == ("completed", ())
    assert again.opened == ["a"]
    assert [r.frame.index for r in again.results] == list(range(again.results[0].frame.index, 40))
    assert {r.frame.source_id for r in again.results} == {"a"}
    assert again.closed == 1
    # Nobody else lost anything, and both selves of the sink are in its account.
    assert len(record.results) == 80
    account = report.sinks["view"]
    assert account.written == len(hanging.results) + len(again.results)
    assert account.handed == account.written + account.dropped
    assert 30 <= account.handed <= 40


def test_a_live_sink_that_hangs_at_the_very_end_is_let_go(stages: SimpleNamespace, stuck: threading.Event) -> None:
    hanging = stages.Sink(is_live=True, before=lambda result: stuck.wait(15) if result.frame.index == 3 else None)
    bindings = [SinkBinding("view", hanging, remake=lambda: stages.Sink(is_live=True))]
    report = Runner([stages.Source("a", 4)], stages.Detector(), stages.Tracker, bindings, WATCHED).run()
    assert report.status == "partial"
    assert report.sources["a"].emitted == 4


def test_a_live_sink_that_always_hangs_is_let_go(stages: SimpleNamespace, stuck: threading.Event) -> None:
    made = []

    def hanging() -> object:
        made.append(stages.Sink(is_live=True, before=lambda result: stuck.wait(15)))
        return made[-1]

    pace = threading.Event()
    source = stages.Source("a", 80, wait=lambda index: pace.wait(0.02))
    bindings = [SinkBinding("view", hanging(), remake=hanging)]
    settings = RunnerSettings(watchdog_s=0.15, drain_s=0.5)
    report = Runner([source], stages.Detector(), stages.Tracker, bindings, settings).run()
    assert len(made) == 3
    assert report.status == "partial"
    assert report.sources["a"].emitted == 80


def test_a_source_that_always_hangs_is_given_up(stages: SimpleNamespace, stuck: threading.Event) -> None:
    made = []

    def hanging(name: str) -> object:
        made.append(stages.Source(name, 9, wait=lambda index: stuck.wait(15)))
        return made[-1]

    pace = threading.Event()
    other = stages.Source("b", 80, wait=lambda index: pace.wait(0.02))
    settings = RunnerSettings(watchdog_s=0.15, drain_s=0.5)
    report = Runner([hanging("a"), other], stages.Detector(), stages.Tracker, [], settings, remake_source=hanging).run()
    assert len(made) == 3
    assert "hangs" in report.sources["a"].error
    assert report.sources["b"].emitted == 80


@pytest.mark.parametrize("stage", ["detect", "track", "sink:s"])
def test_any_other_stage_that_hangs_ends_the_run(stages: SimpleNamespace, stuck: threading.Event, stage: str) -> None:
    def hang(_: object) -> None:
        stuck.wait(15)

    class Tracker(stages.Tracker):
        def update(self, *args: object) -> object:
            hang(None)
            return super().update(*args)

    runner = Runner(
        [stages.Source("a", 5)],
        stages.Detector(before=hang if stage == "detect" else None),
        Tracker if stage == "track" else stages.Tracker,
        [SinkBinding("s", stages.Sink(before=hang if stage == "sink:s" else None))],
        WATCHED,
    )
    with pytest.raises(StageError, match=f"{stage} at frame 0 of a: TimeoutError: hangs for more than 0.3 s"):
        runner.run()
