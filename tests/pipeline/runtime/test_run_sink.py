"""Sinks that keep a record of the run are told how it ended, once, when all is over."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import StageError
from pipeline.core.run_facts import RunFacts, RunSink
from pipeline.runtime.runner import Runner, SinkBinding

pytestmark = pytest.mark.timeout(20)


@pytest.fixture
def record_keeper(stages: SimpleNamespace) -> Any:
    """A sink that notes how the run ended, and counts something."""

    class RecordKeeper(stages.Sink):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.ends: list[tuple[str, int]] = []

        @property
        def counters(self) -> Mapping[str, int]:
            return {"stored": len(self.results)}

        def begin_run(self, facts: RunFacts) -> None:
            raise AssertionError("whoever makes the sink tells it, not the runner")

        def end_run(self, status: str) -> None:
            self.ends.append((status, self.closed))

    return RecordKeeper()


def test_completed(stages: SimpleNamespace, record_keeper: Any) -> None:
    assert isinstance(record_keeper, RunSink)
    report = Runner([stages.Source()], stages.Detector(), sinks=[SinkBinding("record", record_keeper)]).run()
    assert record_keeper.ends == [("completed", 1)]
    assert report.sinks["record"].counters == {"stored": 10}
    assert report.to_json()["sinks"]["record"] == {
        "handed": 10,
        "written": 10,
        "dropped": 0,
        "counters": {"stored": 10},
    }


def test_failed(stages: SimpleNamespace, record_keeper: Any) -> None:
    runner = Runner([stages.Source()], stages.Detector(fail_at=5), sinks=[SinkBinding("record", record_keeper)])
    with pytest.raises(StageError):
        runner.run()
    assert record_keeper.ends == [("failed", 1)]


def test_a_source_that_fails_alone(stages: SimpleNamespace, record_keeper: Any) -> None:
    sources = [stages.Source("a"), stages.Source("b", fail_at=2)]
    Runner(sources, stages.Detector(), sinks=[SinkBinding("record", record_keeper)]).run()
    assert record_keeper.ends == [("partial", 1)]


def test_interrupted(stages: SimpleNamespace, record_keeper: Any) -> None:
    source = stages.Source(n_frames=10**9)
    runner = Runner([source], stages.Detector(), sinks=[SinkBinding("record", record_keeper)])
    record_keeper.before = lambda result: runner.stop() if result.frame.index == 5 else None
    runner.run()
    assert record_keeper.ends == [("interrupted", 1)]


def test_a_sink_of_the_main_thread(stages: SimpleNamespace, record_keeper: Any) -> None:
    record_keeper.needs_main_thread = True
    Runner([stages.Source()], stages.Detector(), sinks=[SinkBinding("record", record_keeper)]).run()
    assert record_keeper.ends == [("completed", 1)]


def test_other_sinks_have_no_counters(stages: SimpleNamespace) -> None:
    report = Runner([stages.Source()], stages.Detector(), sinks=[SinkBinding("list", stages.Sink())]).run()
    assert report.sinks["list"].counters == {}
