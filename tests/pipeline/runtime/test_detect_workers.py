"""Several threads that detect at once: the same results, every frame accounted for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from pipeline.core.errors import StageError, UsageError
from pipeline.core.frame import Frame
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

pytestmark = pytest.mark.timeout(20)


class _Crowd:
    """Lets frames through only once `size` threads are in the detector at the same time, the later ones first."""

    def __init__(self, size: int, n_frames: int) -> None:
        self._barrier = threading.Barrier(size)
        self._size = size
        self._n_frames = n_frames
        self._left = threading.Condition()
        self._n_left = 0
        self.most = 0

    def __call__(self, frames: Sequence[Frame]) -> None:
        turn = frames[0].index // self._size
        if (turn + 1) * self._size > self._n_frames:
            return
        self._barrier.wait(10)
        self.most = max(self.most, self._size)
        # The frame taken last leaves first: without putting in order, results would come backwards.
        ahead = turn * self._size + self._size - 1 - frames[0].index % self._size
        with self._left:
            self._left.wait_for(lambda: self._n_left >= ahead, timeout=10)
            self._n_left += 1
            self._left.notify_all()


def _run(
    stages: SimpleNamespace, workers: int | None, n_frames: int, **detector: object
) -> tuple[list[int], list[int]]:
    sink, trackers = stages.Sink(), []

    def make_tracker(info: object) -> object:
        trackers.append(stages.Tracker(info))
        return trackers[-1]

    made = stages.Detector(**{k: v for k, v in detector.items() if k != "n_parallel"})
    if "n_parallel" in detector:
        made.n_parallel = detector["n_parallel"]
    settings = RunnerSettings(detect_workers=workers)
    runner = Runner([stages.Source(n_frames=n_frames)], made, make_tracker, [SinkBinding("l", sink)], settings)
    report = runner.run()
    assert (report.sources["a"].emitted, report.sources["a"].dropped) == (n_frames, {})
    assert 0 < (report.stages["detect"].busy or 0) <= 1
    for result in sink.results:
        line = result.timeline
        stamps = [line.captured, line.dequeued, line.detect_begin, line.detect_end, line.track_end, line.emitted]
        assert stamps == sorted(stamps)
    return [int(r.tracks.xyxy[0, 2]) for r in sink.results], trackers[0].seen


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_results_are_those_of_one_worker_in_the_same_order(stages: SimpleNamespace, workers: int) -> None:
    crowd = _Crowd(workers, 24)
    assert _run(stages, workers, 24, before=crowd) == _run(stages, 1, 24)
    assert crowd.most == workers


@pytest.mark.parametrize(("n_parallel", "n_cores"), [(2, 8), (64, 2)])
def test_unless_told_there_are_as_many_as_the_detector_can_serve_and_there_are_cores(
    stages: SimpleNamespace, n_parallel: int, n_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.runtime.detect_stage.usable_cores", lambda: n_cores)
    crowd = _Crowd(2, 10)
    assert _run(stages, None, 10, n_parallel=n_parallel, before=crowd) == _run(stages, None, 10)
    assert crowd.most == 2


def test_a_live_source_has_the_detector_for_itself(stages: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.runtime.detect_stage.usable_cores", lambda: 4)
    callers: Counter[int] = Counter()
    opened = threading.Event()
    camera = stages.Source("cam", 3, is_live=True, wait=lambda _: opened.set())
    recorded = stages.Source("file", 200, wait=lambda _: opened.wait(5))
    detector = stages.Detector(before=lambda _: callers.update([threading.get_ident()]))
    detector.n_parallel = 4
    report = Runner([camera, recorded], detector, stages.Tracker).run()
    assert report.sources["file"].emitted == 200
    # Threads that waited for their turn when the camera opened take one batch each, then they end.
    assert sum(n for _, n in callers.most_common()[1:]) <= 3


@pytest.mark.parametrize("at", [0, 7])
def test_a_failure_in_one_of_them_ends_the_run_with_every_frame_accounted_for(stages: SimpleNamespace, at: int) -> None:
    sink = stages.Sink()
    runner = Runner(
        [stages.Source("a", 10**6), stages.Source("b", 10**6)],
        stages.Detector(fail_at=at),
        stages.Tracker,
        [SinkBinding("l", sink)],
        RunnerSettings(detect_workers=3, max_batch=2),
    )
    with pytest.raises(StageError, match=r"^detect at frame \d+ of [ab]: ValueError: no such layer$"):
        runner.run()
    accounts = runner.ledger.snapshot()
    assert all(account.missing == 0 for account in accounts.values())
    assert sum(account.dropped["failed"] for account in accounts.values()) >= 1
    assert sink.closed == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_a_stop_leaves_every_frame_accounted_for(stages: SimpleNamespace, at_once: bool) -> None:
    sink = stages.Sink()
    settings = RunnerSettings(detect_workers=3)
    runner = Runner(
        [stages.Source(n_frames=10**6)], stages.Detector(), stages.Tracker, [SinkBinding("l", sink)], settings
    )
    sink.before = lambda result: runner.stop(at_once=at_once) if result.frame.index == 20 else None
    report = runner.run()
    assert report.status == "interrupted"
    account = runner.ledger.snapshot()["a"]
    assert account.missing == 0
    assert [r.frame.index for r in sink.results] == list(range(len(sink.results)))
    if not at_once:
        assert account.emitted == account.produced == len(sink.results)


def test_fewer_than_one_is_refused(stages: SimpleNamespace) -> None:
    with pytest.raises(UsageError, match="wanted 1 detect worker or more, found 0"):
        Runner([stages.Source()], stages.Detector(), settings=RunnerSettings(detect_workers=0))
