"""Media time of a live stream when the camera's clock drifts, is set, or pictures come late."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from sources.live_time import MAX_APART_S, WINDOW_S, LiveTime


def run(stamps_s: list[float], arrivals_s: list[float]) -> tuple[list[float], LiveTime]:
    time = LiveTime()
    seconds = [time.seconds(s, round(a * 1e9)) for s, a in zip(stamps_s, arrivals_s, strict=True)]
    assert all(a < b for a, b in pairwise(seconds))
    return seconds, time


@pytest.mark.parametrize("rate", [1.001, 0.999, 1.05, 0.95])
def test_a_drifting_clock_stays_bounded_for_days(rate: float) -> None:
    """Six days of one picture every 10 s, and a clock that is a minute to two hours off by then."""
    arrivals = [10.0 * i for i in range(50_000)]
    seconds, time = run([a * rate for a in arrivals], arrivals)
    apart = max(abs(s - a) for s, a in zip(seconds, arrivals, strict=True))
    assert apart <= MAX_APART_S + 2 * WINDOW_S * abs(rate - 1) + 10 * abs(rate - 1)
    assert time.corrected > 0


def test_uneven_arrival_changes_nothing() -> None:
    rng = random.Random(3)
    stamps = [i / 25 for i in range(5000)]
    late = [s + rng.random() * 0.8 for s in stamps]
    arrivals = [max(late[: i + 1][-20:]) for i in range(len(late))]
    seconds, time = run(stamps, arrivals)
    assert time.corrected == 0
    assert seconds == stamps


def test_pictures_that_come_late_in_a_bundle_keep_their_times() -> None:
    stamps = [i / 25 for i in range(500)]
    arrivals = [max(s, 9.0) if s > 4 else s for s in stamps]
    seconds, time = run(stamps, arrivals)
    assert time.corrected == 0
    assert seconds == stamps


@pytest.mark.parametrize("jump_s", [86_400.0, 95_443.7, 2.0])
def test_a_clock_set_forward_is_no_gap(jump_s: float) -> None:
    arrivals = [i / 25 for i in range(500)]
    seconds, time = run([a + (jump_s if i >= 100 else 0) for i, a in enumerate(arrivals)], arrivals)
    assert seconds == pytest.approx(arrivals, abs=1e-6)
    assert time.corrected == 1


def test_stamps_that_stood_still_are_made_up_for() -> None:
    """A camera that paused for a minute and whose stamps do not show it."""
    arrivals = [i / 25 if i < 100 else i / 25 + 60 for i in range(1000)]
    seconds, time = run([i / 25 for i in range(1000)], arrivals)
    assert time.corrected == 1
    assert seconds[-1] == pytest.approx(arrivals[-1], abs=0.1)


def test_a_real_gap_is_kept() -> None:
    arrivals = [i / 25 if i < 100 else i / 25 + 60 for i in range(200)]
    seconds, time = run(arrivals, arrivals)
    assert seconds == arrivals
    assert time.corrected == 0
