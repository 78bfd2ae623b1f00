from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree, Scheduler, ShrinkingTail, StrideK
from pipeline.streaming.simulate import Run, outputs, simulate, simulate_unlimited
from pipeline.streaming.stream import NS, Stream


def stream(n_frames: int, interval_ns: Fraction = Fraction(10)) -> Stream:
    return Stream("street", NS / interval_ns, n_frames, 640, 480)


def frames_and_ends(runs: list[Run]) -> list[tuple[int, int]]:
    return [(run.frame, run.end_ns) for run in runs]


def test_takes_the_newest_and_waits_where_there_is_none() -> None:
    assert simulate(stream(6), IdleFree(), iter([4, 25, 3, 11, 99])) == [
        Run(0, 0, 4),
        Run(1, 10, 35),
        Run(3, 35, 38),
        Run(4, 40, 51),
    ]


def test_a_run_that_ends_with_the_stream_is_lost() -> None:
    assert frames_and_ends(simulate(stream(2), IdleFree(), iter([9, 10]))) == [(0, 9)]
    assert frames_and_ends(simulate(stream(2), IdleFree(), iter([9, 9]))) == [(0, 9), (1, 19)]


def test_sequences_share_the_draws() -> None:
    draws = iter([7, 7, 30, 7])
    assert len(simulate(stream(2), IdleFree(), draws)) == 2
    # The third run does not end in time; its draw is used up all the same.
    assert simulate(stream(2), IdleFree(), draws) == []
    assert next(draws) == 7


def test_without_limit_an_older_frame_can_end_last() -> None:
    runs = simulate_unlimited(stream(3), iter([40, 5, 20]))
    assert runs == [Run(1, 10, 15), Run(0, 0, 40), Run(2, 20, 40)]


def test_outputs_carry_what_is_found_in_their_frame() -> None:
    found = [Boxes.empty() for _ in range(3)]
    made = outputs([Run(2, 20, 29)], found.__getitem__)
    assert [(output.at_ns, output.input_frame) for output in made] == [(29, 2)]
    assert made[0].boxes is found[2]


@pytest.mark.parametrize(("draws", "text"), [([5, 0], "above 0 ns, found 0"), ([-3], "found -3"), ([5], "too few")])
@pytest.mark.parametrize("device", [lambda s, d: simulate(s, IdleFree(), d), simulate_unlimited])
def test_refused(device: Callable[..., list[Run]], draws: list[int], text: str) -> None:
    with pytest.raises(UsageError, match=f"street: wanted .*{text}"):
        device(stream(2), iter(draws))


def _by_ticks(some: Stream, scheduler: Scheduler, draws: list[int]) -> list[Run]:
    """The same device, looked at nanosecond by nanosecond."""
    runs, seen, busy_until, was_idle = [], -1, 0, False
    drawn = iter(draws)
    for now in range(some.end_ns):
        if now < busy_until:
            continue
        newest = max(frame for frame in range(some.n_frames) if some.arrival_ns(frame) <= now)
        if newest == seen:
            was_idle = True
            continue
        seen = newest
        if scheduler.take(now, newest, was_idle):
            busy_until = now + next(drawn)
            runs.append(Run(newest, now, busy_until))
            was_idle = False
        else:
            was_idle = True
    return [run for run in runs if run.end_ns < some.end_ns]


@given(
    st.integers(1, 12),
    st.fractions(3, 12, max_denominator=7),
    st.sampled_from([IdleFree, ShrinkingTail, lambda: StrideK(2), lambda: StrideK(3)]),
    st.lists(st.integers(1, 40), min_size=40, max_size=40),
)
def test_equals_a_device_looked_at_every_nanosecond(
    n_frames: int, interval_ns: Fraction, make: Callable[[], Scheduler], draws: list[int]
) -> None:
    some, runtimes = stream(n_frames, interval_ns), Runtimes(np.array(draws), "some")
    one, other = make(), make()
    one.begin(some, runtimes)
    other.begin(some, runtimes)
    assert simulate(some, one, iter(draws)) == _by_ticks(some, other, draws)
