from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.media_time import TICKS_PER_S, MediaTime

Make = Callable[..., FrameResult]
MS = 1_000_000


def times(make: Make, info: StreamInfo, pts_s: list[float | None], captured_ms: list[int] | None = None) -> list[float]:
    clock = MediaTime(info)
    captured = captured_ms or [40 * i for i in range(len(pts_s))]
    frames = [make(i, pts_s=p, captured_ns=c * MS).frame for i, (p, c) in enumerate(zip(pts_s, captured, strict=True))]
    return [clock.ticks(frame) / TICKS_PER_S for frame in frames]


@pytest.mark.parametrize(
    ("fps", "live", "pts_s", "captured_ms", "expected"),
    [
        pytest.param(30.0, False, [0.5, 0.52, 0.7], None, [0.5, 0.52, 0.7], id="a file keeps its times"),
        pytest.param(10.0, False, [None] * 3, None, [0, 0.1, 0.2], id="no times: announced rate"),
        pytest.param(None, False, [None] * 3, None, [0, 0.04, 0.08], id="no times, no rate: 25"),
        pytest.param(25.0, True, [None] * 3, [500, 700, 710], [0, 0.2, 0.21], id="live without times: clock"),
        pytest.param(25.0, True, [100.0, 100.1, 100.3], [0, 90, 310], [0, 0.1, 0.3], id="live with times"),
        pytest.param(25.0, True, [9.0, 9.04, 0.0, 0.04], [0, 40, 3040, 3090], [0, 0.04, 3.04, 3.08], id="reconnect"),
        pytest.param(25.0, True, [1.0, 1.04, 5e4, 5e4 + 0.04], [0, 40, 80, 120], [0, 0.04, 0.08, 0.12], id="leap"),
        pytest.param(25.0, True, [1.0, None, 1.08], [0, 40, 80], [0, 0.04, 0.08], id="live, one time missing"),
    ],
)
def test_times(
    make_result: Make,
    make_info: Callable[..., StreamInfo],
    fps: float | None,
    live: bool,
    pts_s: list[float | None],
    captured_ms: list[int] | None,
    expected: list[float],
) -> None:
    info = make_info(fps=fps, is_live=live)
    assert times(make_result, info, pts_s, captured_ms) == pytest.approx(expected, abs=1 / TICKS_PER_S)


@given(
    pts_s=st.lists(st.none() | st.floats(0, 1e5), min_size=1, max_size=20),
    live=st.booleans(),
)
def test_time_always_goes_forward(
    make_result: Make, make_info: Callable[..., StreamInfo], pts_s: list[float | None], live: bool
) -> None:
    got = times(make_result, make_info(is_live=live), pts_s)
    assert got[0] >= 0
    assert all(a < b for a, b in itertools.pairwise(got))
