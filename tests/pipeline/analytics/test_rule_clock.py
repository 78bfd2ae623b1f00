from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.analytics.rule_clock import RuleClock

CASES: dict[str, tuple[list[float | None], list[float]]] = {
    "media time": ([0.5, 0.54, 0.60, 7.0], [0.5, 0.54, 0.60, 7.0]),
    "stands still for a frame": ([0.0, 0.04, 0.04, 0.08], [0.0, 0.04, 0.04, 0.08]),
    "steps back a little": ([0.0, 0.04, 0.12, 0.08, 0.16], [0.0, 0.04, 0.12, 0.12, 0.16]),
    "starts anew": ([8.0, 8.04, 8.08, 0.0, 0.04], [8.0, 8.04, 8.08, 8.12, 8.16]),
    "is missing": ([None, None, None], [0.0, 0.04, 0.08]),
    "is missing for a while": ([1.0, 1.1, None, None, 1.4], [1.0, 1.1, 1.2, 1.3, 1.4]),
    "begins below 0": ([-0.08, -0.04, 0.0], [-0.08, -0.04, 0.0]),
}


@pytest.mark.parametrize(("pts_s", "expected"), CASES.values(), ids=CASES.keys())
def test_time_of_a_recording(pts_s: Any, expected: Any, make_frame: Any, make_info: Any) -> None:
    clock = RuleClock(make_info(fps=25.0))
    assert [clock.time_s(make_frame(i, at)) for i, at in enumerate(pts_s)] == pytest.approx(expected, abs=1e-12)


def test_time_that_never_moves_goes_on_in_the_end(make_frame: Any, make_info: Any) -> None:
    clock = RuleClock(make_info(fps=25.0))
    times = [clock.time_s(make_frame(i, 0.0)) for i in range(1000)]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(999 / 25, abs=0.6)


def test_a_recording_without_a_rate_is_taken_for_30_fps(make_frame: Any, make_info: Any) -> None:
    clock = RuleClock(make_info(fps=None))
    assert [clock.time_s(make_frame(i, None)) for i in (0, 1, 4)] == pytest.approx([0, 1 / 30, 4 / 30])


def test_a_file_that_loops_does_not_lose_time(make_frame: Any, make_info: Any) -> None:
    clock = RuleClock(make_info(fps=25.0))
    times = [clock.time_s(make_frame(i, (i % 50) / 25)) for i in range(500)]
    assert times == pytest.approx([i / 25 for i in range(500)])


def test_time_of_a_live_source_is_when_it_was_captured(make_frame: Callable[..., Any], make_info: Any) -> None:
    clock = RuleClock(make_info(is_live=True))
    frames = [make_frame(i, pts, captured_ns=ns) for i, (pts, ns) in enumerate([(7.0, 10**9), (7.1, 3 * 10**9)])]
    assert [clock.time_s(frame) for frame in frames] == [1.0, 3.0]
    assert clock.time_s(make_frame(2, 7.2, captured_ns=2 * 10**9)) == 3.0
