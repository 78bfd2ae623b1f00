"""Keyframes give the track back."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.archive.formats.keyframes import KeyBox, Thinner

Row = tuple[int, np.ndarray, bool]


def _thin(rows: list[Row], max_error_px: float, n_frames: int) -> list[KeyBox]:
    thinner = Thinner(max_error_px)
    kept = [box for frame, xyxy, occluded in rows for box in thinner.add(frame, xyxy, occluded=occluded)]
    return kept + list(thinner.end(n_frames))


def _as_shown(kept: list[KeyBox], n_frames: int) -> dict[int, tuple[np.ndarray, bool]]:
    """What an annotator sees: straight lines from one keyframe to the next, nothing from an `outside` one on."""
    shown = {}
    last = KeyBox(n_frames, kept[-1].xyxy, False) if kept else None
    for one, after in pairwise([*kept, *([last] if last else [])]):
        if not one.outside:
            for frame in range(one.frame, after.frame):
                share = (frame - one.frame) / (after.frame - one.frame)
                shown[frame] = (one.xyxy + share * (after.xyxy - one.xyxy), one.occluded)
    return shown


steps = st.tuples(
    st.integers(1, 4),
    st.tuples(*[st.floats(-8, 8, allow_nan=False)] * 4),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=1, max_size=40), st.sampled_from([0.0, 0.5, 1.0, 5.0]))
def test_what_is_left_out_comes_back_within_the_bound(walk: list, max_error_px: float) -> None:
    rows: list[Row] = []
    frame, xyxy = -1, np.array([50.0, 50, 80, 90])
    for step, move, occluded in walk:
        frame, xyxy = frame + step, np.round(xyxy + move, 2)
        rows.append((frame, xyxy, occluded))
    n_frames = frame + 3
    kept = _thin(rows, max_error_px, n_frames)
    frames = [box.frame for box in kept]
    assert frames == sorted(set(frames))
    shown = _as_shown(kept, n_frames)
    assert set(shown) == {row[0] for row in rows}
    for number, wanted, occluded in rows:
        found, is_occluded = shown[number]
        assert np.abs(found - wanted).max() <= max_error_px + 1e-5
        assert is_occluded == occluded


@pytest.mark.parametrize(("max_error_px", "wanted"), [(0.0, [0, 50, 99]), (1.0, [0, 51, 99])])
def test_straight_walks_have_few_keyframes(max_error_px: float, wanted: list[int]) -> None:
    rows = [
        (t, np.array([t, 0.0, 20 + t, 30]) * (1.0 if t <= 50 else 0) + (t > 50) * np.array([50.0, 0, 70, 30]), False)
        for t in range(100)
    ]
    kept = _thin(rows, max_error_px, 100)
    assert [box.frame for box in kept] == wanted


def test_more_tolerance_keeps_fewer() -> None:
    rng = np.random.default_rng(0)
    rows = [(t, np.round(np.array([t, 10.0, t + 30, 60]) + rng.normal(0, 0.7, 4), 2), False) for t in range(300)]
    counts = [len(_thin(rows, px, 300)) for px in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 300
    assert counts[-1] < 30


def test_nothing_stands_behind_the_end_of_the_video() -> None:
    rows = [(t, np.zeros(4), False) for t in (0, 1, 9)]
    assert [(box.frame, box.outside) for box in _thin(rows, 1.0, 10)] == [
        *((0, False), (1, False), (2, True), (9, False)),
    ]
