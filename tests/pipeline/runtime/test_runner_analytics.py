"""Analytics in a run: whose events reach whom, and what a source's end tells."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.core.errors import StageError
from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.core.tracks import Tracks
from pipeline.runtime.runner import Runner, SinkBinding

pytestmark = pytest.mark.timeout(20)


class EveryThird:
    """A crossing at every third frame; counts what it saw."""

    def __init__(self, info: StreamInfo, fail_at: int | None = None) -> None:
        self.info = info
        self.fail_at = fail_at
        self.n_frames = 0

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        assert frame.source_id == self.info.source_id
        if frame.index == self.fail_at:
            raise ValueError("no such zone")
        self.n_frames += 1
        counts = np.array([[self.n_frames, 0]])
        layout = SceneLayout(("door",), (("in", "out"),), np.zeros((1, 2, 2)), (), ())
        scene = Scene(layout, counts, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, bool))
        return (self._event(frame.index / 25, frame.index),) if frame.index % 3 == 0 else (), scene

    def finish(self) -> Closing:
        return Closing(self.info.source_id, self.n_frames / 25, 0, (self._event(99.0, self.n_frames),))

    def _event(self, at_s: float, frame: int) -> Event:
        name = self.info.source_id
        number = event_id(name, EventKind.CROSSING, "door", at_s, ())
        return Event(number, EventKind.CROSSING, "door", name, at_s, at_s, 0, frame)


def closing_sink(stages: SimpleNamespace, **options: object) -> object:
    """A ListSink that also keeps what it is told at the end, and whether it was still open then."""

    class Keeper(stages.Sink):
        def end_source(self, closing: Closing) -> None:
            n_results = sum(result.frame.source_id == closing.source_id for result in self.results)
            self.closings.append((closing, self.closed, n_results))

    sink = Keeper(**options)
    sink.closings = []
    return sink


def test_events_and_scenes_reach_the_sinks_of_their_source(stages: SimpleNamespace) -> None:
    everyone, only_b, plain = closing_sink(stages), closing_sink(stages), stages.Sink()
    bindings = [SinkBinding("all", everyone), SinkBinding("b", only_b, "b"), SinkBinding("plain", plain)]
    sources = [stages.Source("a", 7), stages.Source("b", 4)]
    runner = Runner(sources, stages.Detector(), stages.Tracker, bindings, analyst_factory=EveryThird)
    report = runner.run()

    found = {name: [r for r in everyone.results if r.frame.source_id == name] for name in ("a", "b")}
    assert [[e.frame for e in r.events] for r in found["a"]] == [[0], [], [], [3], [], [], [6]]
    assert [int(r.scene.crossings[0, 0]) for r in found["b"]] == [1, 2, 3, 4]
    assert report.stages["analyse"].duration.count == 11
    # Each source ends once, after all its results and before the sink closes.
    assert sorted((c.source_id, closed, n) for c, closed, n in everyone.closings) == [("a", 0, 7), ("b", 0, 4)]
    assert [(c.source_id, closed, n) for c, closed, n in only_b.closings] == [("b", 0, 4)]
    assert plain.closed == 1


def test_a_source_that_ends_is_told_while_others_go_on(stages: SimpleNamespace) -> None:
    told, sink = threading.Event(), closing_sink(stages)
    keep = sink.end_source
    sink.end_source = lambda closing: (keep(closing), told.set())
    # The long source waits in its middle until the end of the short one was told.
    waited = []
    long = stages.Source("long", 6, wait=lambda index: waited.append(told.wait(5)) if index == 3 else None)
    sources = [stages.Source("short", 2), long]
    Runner(sources, stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], analyst_factory=EveryThird).run()
    assert waited == [True]
    assert [(c.source_id, n) for c, _, n in sink.closings] == [("short", 2), ("long", 6)]


def test_a_live_sink_is_told_the_end_and_loses_no_picture_for_it(stages: SimpleNamespace) -> None:
    sink = closing_sink(stages, is_live=True)
    bindings = [SinkBinding("live", sink)]
    runner = Runner([stages.Source("a", 5)], stages.Detector(), stages.Tracker, bindings, analyst_factory=EveryThird)
    report = runner.run()
    assert [c.source_id for c, _, _ in sink.closings] == ["a"]
    assert report.sinks["live"].handed == 5
    assert report.sinks["live"].written == len(sink.results)


def test_a_source_without_rules_runs_beside_one_with(stages: SimpleNamespace) -> None:
    sink = closing_sink(stages)

    def only_a(info: StreamInfo) -> EveryThird | None:
        return EveryThird(info) if info.source_id == "a" else None

    sources = [stages.Source("a", 3), stages.Source("b", 3)]
    Runner(sources, stages.Detector(), stages.Tracker, [SinkBinding("all", sink)], analyst_factory=only_a).run()
    assert {r.frame.source_id: r.scene is not None for r in sink.results} == {"a": True, "b": False}
    assert [c.source_id for c, _, _ in sink.closings] == ["a"]


def test_without_analytics_results_carry_none(stages: SimpleNamespace) -> None:
    sink = closing_sink(stages)
    report = Runner([stages.Source("a", 3)], stages.Detector(), stages.Tracker, [SinkBinding("all", sink)]).run()
    assert [(r.events, r.scene) for r in sink.results] == [((), None)] * 3
    assert sink.closings == []
    assert "analyse" not in report.stages


def test_an_analyst_that_fails_ends_the_run_and_loses_no_frame(stages: SimpleNamespace) -> None:
    sink = closing_sink(stages)
    runner = Runner(
        [stages.Source("a", 9)],
        stages.Detector(),
        stages.Tracker,
        [SinkBinding("all", sink)],
        analyst_factory=lambda info: EveryThird(info, fail_at=5),
    )
    with pytest.raises(StageError, match=r"track.*frame 5 of a.*no such zone"):
        runner.run()
    assert all(account.missing == 0 for account in runner.ledger.snapshot().values())
    # A failed run ends no events: the store knows that it was cut short.
    assert sink.closings == []
    assert sink.closed == 1


def test_the_report_tells_the_counts(stages: SimpleNamespace) -> None:
    class Counted(EveryThird):
        def finish(self) -> Closing:
            none = np.zeros(0, np.int64)
            layout = SceneLayout(("door",), (("in", "out"),), np.zeros((1, 2, 2)), ("room",), (np.zeros((3, 2)),))
            scene = Scene(layout, np.array([[3, 1]]), none, np.array([5]), np.zeros(1, bool), {"person": 4})
            return Closing(self.info.source_id, 2.0, 0, (), scene, summary={"room": {"occupancy_mean": 0.5}})

    report = Runner([stages.Source("a", 3)], stages.Detector(), stages.Tracker, analyst_factory=Counted).run()
    assert report.to_json()["analytics"] == {
        "a": {
            "end_s": 2.0,
            "objects": {"person": 4},
            "lines": {"door": {"in": 3, "out": 1}},
            "zones": {"room": {"visits": 5, "occupancy_mean": 0.5}},
        }
    }
