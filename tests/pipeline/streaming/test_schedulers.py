from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pipeline.core.errors import UsageError
from pipeline.streaming.planned import Planned
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree, Scheduler, ShrinkingTail, StrideK, scheduler
from pipeline.streaming.simulate import simulate
from pipeline.streaming.stream import NS, Stream


def frames(chosen: Scheduler, runtime_ns: int, n_frames: int = 12) -> list[int]:
    """Frames run on, 60 ns from one to the next."""
    stream = Stream("street", Fraction(NS, 60), n_frames, 640, 480)
    runtimes = Runtimes(np.array([runtime_ns]), "constant")
    chosen.begin(stream, runtimes)
    return [run.frame for run in simulate(stream, chosen, runtimes.draws(0))]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("idle-free", IdleFree), ("shrinking-tail", ShrinkingTail), ("planned", Planned), ("stride-2", StrideK)],
)
def test_by_name(name: str, kind: type) -> None:
    assert type(scheduler(name)) is kind


@pytest.mark.parametrize("name", ["fifo", "stride-", "stride-x", "stride--1", "", "Planned", "stride-2 "])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(UsageError, match="wanted idle-free, shrinking-tail, planned or stride-K"):
        scheduler(name)


def test_a_stride_counts_from_1() -> None:
    with pytest.raises(UsageError, match="from 1, found 0"):
        scheduler("stride-0")


@pytest.mark.parametrize(
    ("runtime_ns", "idle_free", "shrinking_tail"),
    [
        (40, list(range(12)), list(range(12))),
        (60, list(range(11)), list(range(11))),
        (80, [0, 1, 2, 4, 5, 6, 8, 9], [0, 1, 3, 4, 6, 7, 9, 10]),
        (90, [0, 1, 3, 4, 6, 7, 9], [0, 2, 4, 6, 8, 10]),
        (105, [0, 1, 3, 5, 7, 8], [0, 2, 4, 6, 8, 10]),
        (120, [0, 2, 4, 6, 8], [0, 2, 4, 6, 8]),
    ],
)
def test_shrinking_tail_waits_where_a_run_would_outlast_one_frame_more(
    runtime_ns: int, idle_free: list[int], shrinking_tail: list[int]
) -> None:
    assert frames(IdleFree(), runtime_ns) == idle_free
    assert frames(ShrinkingTail(), runtime_ns) == shrinking_tail


def test_shrinking_tail_never_waits_where_the_mean_is_below_one_interval() -> None:
    # A run of 1.3 frames ends in the middle of an interval; with a mean of 0.9 waiting would shorten the tail.
    stream = Stream("street", Fraction(NS, 60), 12, 640, 480)
    chosen = ShrinkingTail()
    chosen.begin(stream, Runtimes(np.array([54]), "mean"))
    assert chosen.take(78, 1, False)
    chosen.begin(stream, Runtimes(np.array([66]), "longer"))
    assert not chosen.take(114, 1, False)


def test_shrinking_tail_never_waits_twice() -> None:
    # Frame 1 arrives 2/3 ns before 33333334 ns, and a mean just below three intervals makes that look like a tail.
    stream = Stream("street", Fraction(30), 12, 640, 480)
    chosen = ShrinkingTail()
    chosen.begin(stream, Runtimes(np.array([100_000_000] * 9 + [99_999_999]), "almost three"))
    assert chosen.take(stream.arrival_ns(1), 1, True)


def test_a_stride_counts_frames_looked_at() -> None:
    assert frames(StrideK(1), 80) == frames(IdleFree(), 80)
    assert frames(StrideK(3), 40) == [0, 3, 6, 9]
    # Frames 1 and 3 arrive during runs and are not looked at: 2 and 5 are passed over.
    assert frames(StrideK(2), 100) == [0, 2, 4, 6, 8, 10]
    assert frames(StrideK(2), 130) == [0, 3, 6, 9]


def test_a_scheduler_begins_anew_with_each_stream() -> None:
    chosen = StrideK(4)
    assert frames(chosen, 40, 6) == frames(chosen, 40, 6) == [0, 4]
