"""Sources added, removed and begun anew while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from pipeline.core.errors import SourceError, UsageError
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding

pytestmark = pytest.mark.timeout(20)
OPEN = RunnerSettings(keep_open=True)


@contextmanager
def running(runner: Runner) -> Iterator[list[object]]:
    """The run in a thread of its own; stopped at the end. Gives the list that holds its report or error then."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(runner.run())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield outcome
    finally:
        runner.stop()
        thread.join(10)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads bring about."""
    waited = threading.Event()
    for _ in range(2000):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("did not come about in 10 s")


def indexes(sink: object, name: str) -> list[int]:
    return [result.frame.index for result in sink.results if result.frame.source_id == name]


def test_a_run_may_begin_without_sources(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    runner = Runner([], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], OPEN)
    with running(runner) as outcome:
        runner.add_source(stages.Source("a", 3))
        until(lambda: len(sink.results) == 3)
        runner.add_source(stages.Source("b", 2))
        until(lambda: len(sink.results) == 5)
        assert outcome == []
    assert outcome[0].status == "interrupted"
    assert {name: account.emitted for name, account in outcome[0].sources.items()} == {"a": 3, "b": 2}
    assert sink.opened == ["a", "b"]


def test_without_keep_open_it_ends_with_its_last_source(stages: SimpleNamespace) -> None:
    release, sink = threading.Event(), stages.Sink()
    first = stages.Source("a", 2, wait=lambda index: release.wait(5) if index else None)
    runner = Runner([first], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)])
    with running(runner) as outcome:
        until(lambda: len(sink.results) == 1)
        runner.add_source(stages.Source("b", 4))
        release.set()
        until(lambda: bool(outcome))
        assert outcome[0].status == "completed"
        with pytest.raises(UsageError, match="c: the run is over"):
            runner.add_source(stages.Source("c", 1))
    assert (indexes(sink, "a"), indexes(sink, "b")) == ([0, 1], [0, 1, 2, 3])


def test_a_removed_source_is_drained_and_its_own_sink_closed(stages: SimpleNamespace) -> None:
    everyone, own = stages.Sink(), stages.Sink()
    endless = stages.Source("a", 10**9, wait=lambda index: threading.Event().wait(0.001))
    runner = Runner([], stages.Detector(), stages.Tracker, [SinkBinding("all", everyone)], OPEN)
    with running(runner):
        runner.add_source(endless, [SinkBinding("own", own, "a")])
        until(lambda: len(own.results) > 5)
        runner.remove_source("a")
        until(lambda: own.closed == 1)
        assert everyone.closed == 0
        account = runner.ledger.snapshot()["a"]
        assert account.produced == account.emitted == len(own.results) == len(everyone.results)
        with pytest.raises(UsageError, match=r"wanted a source of this run \(none\), found 'a'"):
            runner.remove_source("a")
        # It may come back, with a sink of its own again.
        again = stages.Sink()
        runner.add_source(stages.Source("a", 4), [SinkBinding("own", again, "a")])
        until(lambda: len(again.results) == 4)
    assert again.closed == 1
    assert runner.report().sources["a"].emitted == len(everyone.results)
    assert runner.report().sinks["own"].written == 4


def test_a_source_begun_anew_follows_the_old_one_and_keeps_its_ids(stages: SimpleNamespace) -> None:
    sink, trackers = stages.Sink(), []

    class Tracker(stages.Tracker):
        resets = 0

        def reset(self) -> None:
            self.resets += 1

    def make_tracker(info: object) -> object:
        trackers.append(Tracker(info))
        return trackers[-1]

    pace = threading.Event()
    endless = stages.Source("a", 10**9, wait=lambda index: pace.wait(0.001))
    runner = Runner([endless], stages.Detector(), make_tracker, [SinkBinding("s", sink)], OPEN)
    with running(runner) as outcome:
        until(lambda: len(sink.results) > 5)
        runner.replace_source(stages.Source("a", 3))
        until(lambda: indexes(sink, "a")[-3:] == [0, 1, 2])
        assert endless.closed == 1
        assert outcome == []
    found = indexes(sink, "a")
    assert found == [*range(len(found) - 3), 0, 1, 2]
    assert [result.dropped_before for result in sink.results] == [0] * len(found)
    assert len(trackers) == 1
    assert trackers[0].resets == 1


def test_a_failed_source_can_be_begun_anew(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    failing = stages.Source("a", 9, fail_at=2)
    runner = Runner([failing], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], OPEN)
    with running(runner) as outcome:
        until(lambda: bool(runner.report().errors))
        runner.replace_source(stages.Source("a", 3))
        until(lambda: len(sink.results) == 5)
    assert outcome[0].errors == ()
    assert outcome[0].sources["a"].error is None


def test_a_failed_source_does_not_end_an_open_run(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    bad = stages.Source("bad", open_error=SourceError("not there"))
    runner = Runner([bad], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], OPEN)
    with running(runner) as outcome:
        until(lambda: bool(runner.report().errors))
        runner.add_source(stages.Source("good", 3))
        until(lambda: len(sink.results) == 3)
    assert outcome[0].sources["bad"].error == "source:bad: not there"


@pytest.mark.parametrize(("sink_options", "wanted"), [({"needs_main_thread": True}, "main thread"), ({}, "is not in")])
def test_what_cannot_be_added(stages: SimpleNamespace, sink_options: dict[str, bool], wanted: str) -> None:
    there = stages.Source("a", 10**9, wait=lambda index: threading.Event().wait(0.001))
    runner = Runner([there], stages.Detector(), stages.Tracker, (), OPEN)
    name = "b" if sink_options else "a"
    with running(runner), pytest.raises(UsageError, match=wanted):
        runner.add_source(stages.Source(name), [SinkBinding("own", stages.Sink(**sink_options), name)])


@pytest.mark.parametrize("fails", [True, False], ids=["failed", "connecting"])
def test_a_source_that_never_opened_takes_its_sink_along(stages: SimpleNamespace, fails: bool) -> None:
    """It may then come back under its name, with a sink of that name."""
    first = stages.Source("a", open_error=SourceError("not there"))
    if not fails:
        first.open = lambda: first.interrupted.wait(10) and first.__class__.open(first)
    sinks = [stages.Sink(), stages.Sink()]
    runner = Runner([], stages.Detector(), stages.Tracker, (), OPEN)
    with running(runner):
        runner.add_source(first, [SinkBinding("own", sinks[0], "a")])
        if fails:
            until(lambda: bool(runner.report().errors))
        runner.remove_source("a")
        runner.add_source(stages.Source("a", 3), [SinkBinding("own", sinks[1], "a")])
        assert sinks[0].closed == 1
        until(lambda: len(sinks[1].results) == 3)
    assert sinks[1].opened == ["a"]


def test_a_source_that_is_back_at_once_waits_for_the_end_of_its_old_sink(stages: SimpleNamespace) -> None:
    slow, again, pace = stages.Sink(before=lambda result: pace.wait(0.02)), stages.Sink(), threading.Event()
    endless = stages.Source("a", 10**9, wait=lambda index: pace.wait(0.001))
    runner = Runner([], stages.Detector(), stages.Tracker, (), OPEN)
    with running(runner):
        runner.add_source(endless, [SinkBinding("own", slow, "a")])
        until(lambda: len(slow.results) > 2)
        runner.remove_source("a")
        runner.add_source(stages.Source("a", 3), [SinkBinding("own", again, "a")])
        assert slow.closed == 1
        until(lambda: len(again.results) == 3)
    assert [r.frame.index for r in again.results] == [0, 1, 2]
    assert [r.frame.index for r in slow.results] == list(range(len(slow.results)))


def test_a_removed_source_that_hangs_stays_away(stages: SimpleNamespace) -> None:
    stuck, own, settings = threading.Event(), stages.Sink(), RunnerSettings(keep_open=True, watchdog_s=0.2, drain_s=1)
    hanging = stages.Source("a", 9, wait=lambda index: stuck.wait(15) if index == 2 else None)
    runner = Runner([], stages.Detector(), None, (), settings, remake_source=lambda name: stages.Source(name, 9))
    with running(runner):
        runner.add_source(hanging, [SinkBinding("own", own, "a")])
        until(lambda: len(own.results) == 2)
        runner.remove_source("a")
        until(lambda: own.closed == 1)
        assert runner.source_status() == ()
        assert len(own.results) == 2
    stuck.set()


@pytest.mark.parametrize("is_live", [False, True], ids=["record", "live"])
def test_sinks_hear_of_every_end_of_a_source(stages: SimpleNamespace, is_live: bool) -> None:
    sink, released = stages.Sink(is_live=is_live), []
    sink.release = lambda name: released.append((name, len(sink.results)))
    runner = Runner([], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], OPEN)
    with running(runner):
        runner.add_source(stages.Source("a", 1))
        until(lambda: released == [("a", 1)])
        runner.add_source(stages.Source("b", 1))
        until(lambda: released == [("a", 1), ("b", 2)])
        assert sink.closed == 0


def test_hundreds_of_restarts_leave_no_thread_behind(stages: SimpleNamespace) -> None:
    sink = stages.Sink()
    runner = Runner([stages.Source("a", 1)], stages.Detector(), stages.Tracker, [SinkBinding("s", sink)], OPEN)
    before = threading.active_count()
    with running(runner):
        for n in range(200):
            until(lambda n=n: len(sink.results) == n + 1)
            runner.replace_source(stages.Source("a", 1))
        until(lambda: len(sink.results) == 201)
        assert len(list(runner._crew)) < 10
    assert threading.active_count() == before
