"""Gaps of a track are filled offline. Parity with the published tool: test_golden.py."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from pipeline.core.errors import ShapeError, UsageError
from tracker import interpolation
from tracker.interpolation import fill_gaps


def track(frames, track_id=1):
    return np.array([[f, track_id, 10.0 * f, 5.0, 20.0, 40.0, 0.9] for f in frames]).reshape(-1, 7)


def test_example_in_the_docstring():
    assert doctest.testmod(interpolation).failed == 0


@pytest.mark.parametrize(
    ("frames", "settings", "wanted"),
    [
        ([1, 2, 5], {"min_rows": 3}, [1, 2, 3, 4, 5]),
        ([1, 2, 5], {"min_rows": 4}, [1, 2, 5]),
        ([1, 2, 5], {"min_rows": 1, "max_missing": 1}, [1, 2, 5]),
        ([1, 2, 5], {"min_rows": 1, "max_missing": 2}, [1, 2, 3, 4, 5]),
        ([5, 1, 2], {"min_rows": 1}, [1, 2, 3, 4, 5]),
        ([], {}, []),
        ([4], {"min_rows": 1}, [4]),
    ],
)
def test_which_gaps(frames, settings, wanted):
    rows = track(frames)
    before = rows.copy()
    filled = fill_gaps(rows, **settings)
    assert (rows == before).all()
    assert filled[:, 0].tolist() == wanted
    np.testing.assert_allclose(filled[:, 2], 10 * filled[:, 0])
    assert (filled[:, 6] == -1).sum() == len(wanted) - len(frames)


def test_tracks_do_not_mix():
    rows = np.concatenate([track([1, 2, 3], 1), track([6, 7, 8], 2), track([1, 3], 3)])
    filled = fill_gaps(rows, min_rows=2)
    assert len(filled) == len(rows) + 1
    assert filled[filled[:, 6] == -1][:, :2].tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("rows", "settings", "error", "message"),
    [
        (np.zeros((2, 6)), {}, ShapeError, r"rows \(n, 7\), found shape \(2, 6\)"),
        (track([1]), {"max_missing": 0}, UsageError, "from 1, found 0 and 6"),
        (track([1, 1]), {}, UsageError, "found 1 twice in frame 1"),
    ],
)
def test_refusals(rows, settings, error, message):
    with pytest.raises(error, match=message):
        fill_gaps(rows, **settings)
