from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from pipeline.core.errors import SourceError, StageError, StopRequest, UsageError
from pipeline.core.result import FrameResult
from pipeline.runtime.ledger import AccountingError, Ledger
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

pytestmark = pytest.mark.timeout(20)


def _balanced(runner: Runner) -> bool:
    return all(account.missing == 0 for account in runner.ledger.snapshot().values())


def test_a_recorded_source_loses_nothing_and_keeps_its_order(stages: SimpleNamespace) -> None:
    source, sink, trackers = stages.Source(n_frames=50), stages.Sink(), []

    def make_tracker(info: object) -> object:
        trackers.append(stages.Tracker(info))
        return trackers[-1]

    report = Runner([source], stages.Detector(), make_tracker, [SinkBinding("list", sink)]).run()

    assert [r.frame.index for r in sink.results] == list(range(50))
    assert trackers[0].seen == list(range(50))
    assert [int(r.tracks.xyxy[0, 2]) for r in sink.results] == [i + 1 for i in range(50)]
    assert report.status == "completed"
    assert (report.sources["a"].produced, report.sources["a"].emitted, report.sources["a"].dropped) == (50, 50, {})
    assert (sink.opened, sink.closed, source.closed) == (["a"], 1, 1)
    for result in sink.results:
        line = result.timeline
        stamps = [line.captured, line.dequeued, line.detect_begin, line.detect_end, line.track_end, line.emitted]
        assert stamps == sorted(stamps)
        assert result.dropped_before == 0


def test_results_do_not_depend_on_batch_or_company(stages: SimpleNamespace) -> None:
    def tracks_of_a(others: int, max_batch: int) -> list[tuple[int, float]]:
        sources = [stages.Source("a", 20), *(stages.Source(f"o{i}", 13) for i in range(others))]
        sink = stages.Sink()
        bindings = [SinkBinding("list", sink, "a")]
        Runner(sources, stages.Detector(), stages.Tracker, bindings, RunnerSettings(max_batch=max_batch)).run()
        return [(r.frame.index, float(r.tracks.xyxy[0, 2])) for r in sink.results]

    alone = tracks_of_a(0, 1)
    assert len(alone) == 20
    assert tracks_of_a(3, 1) == tracks_of_a(3, 4) == tracks_of_a(0, 8) == alone


def test_a_live_source_gives_its_newest_frame_and_counts_the_rest(stages: SimpleNamespace) -> None:
    detector_has_one, all_read = threading.Event(), threading.Event()

    def wait(index: int) -> None:
        if index == 1:
            assert detector_has_one.wait(5)

    class Ending(stages.Source):  # type: ignore[misc, name-defined]
        def read(self) -> object:
            frame = super().read()
            if frame is None:
                all_read.set()
            return frame

    def before(_frames: object) -> None:
        detector_has_one.set()
        assert all_read.wait(5)

    sink = stages.Sink()
    source = Ending("cam", 30, is_live=True, wait=wait)
    report = Runner([source], stages.Detector(before=before), stages.Tracker, [SinkBinding("list", sink)]).run()

    assert [r.frame.index for r in sink.results] == [0, 29]
    assert [r.dropped_before for r in sink.results] == [0, 28]
    account = report.sources["cam"]
    assert (account.produced, account.emitted, account.dropped) == (30, 2, {"newer": 28})
    assert report.stages["read:cam"].busy is None, "waiting for a live source's next frame is no work"
    assert report.stages["queue"].busy is None


def test_a_slow_live_sink_drops_and_a_recording_one_does_not(stages: SimpleNamespace) -> None:
    recorded_all = threading.Event()
    record = stages.Sink(before=lambda r: recorded_all.set() if r.frame.index == 19 else None)
    live = stages.Sink(is_live=True, before=lambda _: recorded_all.wait(5))
    report = Runner(
        [stages.Source(n_frames=20)],
        stages.Detector(),
        stages.Tracker,
        [SinkBinding("record", record), SinkBinding("live", live)],
    ).run()
    assert len(record.results) == 20
    assert [r.frame.index for r in live.results][-2:] == [18, 19]
    shown = report.sinks["live"]
    assert (shown.handed, shown.written, shown.dropped) == (20, len(live.results), 20 - len(live.results))
    assert shown.dropped > 0


class TestFailure:
    def test_a_detector_that_fails_ends_the_run_and_names_stage_and_frame(self, stages: SimpleNamespace) -> None:
        sink = stages.Sink()
        source = stages.Source(n_frames=100)
        runner = Runner([source], stages.Detector(fail_at=5), stages.Tracker, [SinkBinding("list", sink)])
        with pytest.raises(StageError, match=r"^detect at frame 5 of a: ValueError: no such layer$"):
            runner.run()
        assert runner.report().status == "failed"
        assert _balanced(runner)
        assert runner.ledger.snapshot()["a"].dropped["failed"] >= 1
        assert (sink.closed, source.closed) == (1, 1)

    def test_a_source_interrupted_by_the_failure_of_another_stage_is_not_blamed(self, stages: SimpleNamespace) -> None:
        opening = stages.Source("b")

        def open_until_interrupted() -> None:
            opening.interrupted.wait()
            raise SourceError("was interrupted while opening")

        opening.open = open_until_interrupted
        runner = Runner([stages.Source("a"), opening], stages.Detector(fail_at=0), stages.Tracker)
        with pytest.raises(StageError, match=r"^detect at frame 0 of a"):
            runner.run()
        assert runner.report().errors == ("detect at frame 0 of a: ValueError: no such layer",)

    def test_a_sink_that_fails_closes_the_others(self, stages: SimpleNamespace) -> None:
        bad, good = stages.Sink(fail_at=3), stages.Sink()
        runner = Runner(
            [stages.Source(n_frames=100)],
            stages.Detector(),
            stages.Tracker,
            [SinkBinding("bad", bad), SinkBinding("good", good)],
        )
        with pytest.raises(StageError, match=r"sink:bad at frame 3 of a: .*No space left"):
            runner.run()
        assert (bad.closed, good.closed) == (1, 1)
        assert _balanced(runner)

    def test_a_tracker_that_fails_is_named(self, stages: SimpleNamespace) -> None:
        def broken(_info: object) -> object:
            raise KeyError("lost")

        runner = Runner([stages.Source()], stages.Detector(), broken)
        with pytest.raises(StageError, match=r"^track at frame 0 of a"):
            runner.run()
        assert _balanced(runner)

    def test_the_only_source_fails_after_its_frames_were_written(self, stages: SimpleNamespace) -> None:
        sink = stages.Sink()
        runner = Runner([stages.Source(fail_at=7)], stages.Detector(), stages.Tracker, [SinkBinding("list", sink)])
        with pytest.raises(StageError, match="source:a at frame 6 of a: the cable was pulled"):
            runner.run()
        assert len(sink.results) == 7
        assert runner.report().errors == ("source:a at frame 6 of a: the cable was pulled",)

    def test_one_of_several_sources_fails_alone(self, stages: SimpleNamespace) -> None:
        sink = stages.Sink()
        sources = [stages.Source("a", 30), stages.Source("b", open_error=SourceError("not there"))]
        report = Runner(sources, stages.Detector(), stages.Tracker, [SinkBinding("list", sink)]).run()
        assert report.status == "partial"
        assert report.sources["b"].error == "source:b: not there"
        assert len(sink.results) == 30

    def test_unless_the_settings_say_otherwise(self, stages: SimpleNamespace) -> None:
        sources = [stages.Source("a", 10**6), stages.Source("b", open_error=SourceError("not there"))]
        runner = Runner(sources, stages.Detector(), stages.Tracker, settings=RunnerSettings(fail_fast=True))
        with pytest.raises(StageError, match="source:b: not there"):
            runner.run()
        assert _balanced(runner)


class TestStop:
    def test_what_was_read_is_written(self, stages: SimpleNamespace) -> None:
        sink = stages.Sink()
        runner = Runner([stages.Source(n_frames=10**6)], stages.Detector(), stages.Tracker, [SinkBinding("l", sink)])
        sink.before = lambda r: runner.stop() if r.frame.index == 20 else None
        report = runner.run()
        assert report.status == "interrupted"
        account = report.sources["a"]
        assert account.produced == account.emitted == len(sink.results)
        assert sink.closed == 1

    def test_at_once_gives_up_what_was_read_and_counts_it(self, stages: SimpleNamespace) -> None:
        sink = stages.Sink()
        runner = Runner([stages.Source(n_frames=10**6)], stages.Detector(), stages.Tracker, [SinkBinding("l", sink)])

        def stop(result: FrameResult) -> None:
            if result.frame.index == 20:
                deadline = time.monotonic() + 5
                # More is read than fits between the tracker and this sink (21 written, 8 held, 1 in hand).
                while runner.report().sources["a"].produced < 34 and time.monotonic() < deadline:
                    time.sleep(0.001)
                runner.stop(at_once=True)
                while not runner.report().sources["a"].dropped and time.monotonic() < deadline:
                    time.sleep(0.001)

        sink.before = stop
        report = runner.run()
        assert report.status == "interrupted"
        assert _balanced(runner)
        assert set(report.sources["a"].dropped) == {"stopped"}
        assert [result.frame.index for result in sink.results] == list(range(21))
        assert sink.closed == 1

    def test_a_stuck_detector_is_given_up_at_the_deadline(self, stages: SimpleNamespace) -> None:
        release = threading.Event()
        runner = Runner(
            [stages.Source(n_frames=10**6)],
            stages.Detector(before=lambda _: release.wait(3)),
            settings=RunnerSettings(drain_s=0.2),
        )
        timer = threading.Timer(0.1, runner.stop)
        timer.start()
        began = time.monotonic()
        try:
            with pytest.raises(StageError, match="detect: TimeoutError: is blocked"):
                runner.run()
            assert time.monotonic() - began < 2.5
        finally:
            release.set()
            timer.join()

    def test_a_stop_before_the_start_opens_nothing(self, stages: SimpleNamespace) -> None:
        source = stages.Source()
        runner = Runner([source], stages.Detector())
        runner.stop()
        assert runner.run().status == "interrupted"
        assert source.opened == 0

    def test_the_person_watching_may_ask_for_the_end(self, stages: SimpleNamespace) -> None:
        def quit_at_ten(result: object) -> None:
            if result.frame.index >= 10:
                raise StopRequest

        sink = stages.Sink(needs_main_thread=True, before=quit_at_ten)
        report = Runner(
            [stages.Source(n_frames=10**6)], stages.Detector(), stages.Tracker, [SinkBinding("window", sink)]
        ).run()
        assert report.status == "interrupted"
        assert sink.thread == threading.current_thread().name
        assert sink.closed == 1


def test_the_report_names_the_stage_that_set_the_pace(stages: SimpleNamespace) -> None:
    slow = stages.Detector(before=lambda _: time.sleep(0.005))
    report = Runner([stages.Source(n_frames=20)], slow, stages.Tracker).run()
    assert report.bounded_by.startswith("detect (")
    live = stages.Source("cam", 5, is_live=True, wait=lambda _: time.sleep(0.01))
    assert Runner([live], stages.Detector(), stages.Tracker).run().bounded_by.startswith("the live sources' own rate")


def test_max_frames_counts_per_source(stages: SimpleNamespace) -> None:
    report = Runner(
        [stages.Source("a", 50), stages.Source("b", 3)],
        stages.Detector(),
        stages.Tracker,
        settings=RunnerSettings(max_frames=5),
    ).run()
    assert {name: source.emitted for name, source in report.sources.items()} == {"a": 5, "b": 3}


def test_a_source_without_frames_still_opens_and_closes_its_sink(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    report = Runner([stages.Source(n_frames=0)], stages.Detector(), stages.Tracker, [SinkBinding("l", sink)]).run()
    assert (sink.opened, sink.closed, report.emitted_per_s) == (["a"], 1, 0.0)


def test_without_a_tracker_results_hold_detections_only(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    Runner([stages.Source(n_frames=3)], stages.Detector(), None, [SinkBinding("l", sink)]).run()
    assert [(len(r.detections), len(r.tracks)) for r in sink.results] == [(1, 0)] * 3


def test_the_report_is_plain_json(stages: SimpleNamespace) -> None:
    import json

    report = Runner([stages.Source(n_frames=5)], stages.Detector(), stages.Tracker).run()
    data = json.loads(json.dumps(report.to_json()))
    assert data["sources"]["a"]["produced"] == 5
    assert set(data["stages"]) >= {"read:a", "queue", "detect", "track"}
    assert data["environment"]["versions"]["numpy"]


def test_wrong_wiring_is_refused(stages: SimpleNamespace) -> None:
    with pytest.raises(UsageError, match="at least one source"):
        Runner([], stages.Detector())
    with pytest.raises(UsageError, match="different ids"):
        Runner([stages.Source("a"), stages.Source("a")], stages.Detector())


def test_the_ledger_notices_a_frame_that_vanished() -> None:
    ledger = Ledger()
    ledger.open("a")
    ledger.produced("a")
    with pytest.raises(AccountingError, match="1 are unaccounted for"):
        ledger.check()
    ledger.dropped("a", "newer")
    ledger.check()
