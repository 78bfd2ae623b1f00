"""Tracks and detections are matched at least total cost; both builds choose alike where several are equally good."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import ShapeError
from tracker.association import NEVER, associate, blocks, solve

needs_extension = pytest.mark.skipif(
    importlib.util.find_spec("tracker._assignment") is None, reason="not built (pip install -e .)"
)


def compiled(cost, max_cost):
    from tracker import _assignment

    return _assignment.solve(cost, max_cost)


def with_numpy(cost, max_cost):
    partner = np.full(len(cost), -1)
    found = associate(cost, max_cost)
    partner[found.tracks] = found.detections
    return partner.tolist()


@needs_extension
@settings(max_examples=400, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    seed=st.integers(0, 2**20),
    max_cost=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9]),
    levels=st.sampled_from([0, 2, 4, 10, 100]),
)
def test_equal_to_lap(shape, seed, max_cost, levels):
    """With few levels of cost most assignments tie, with each other and with the limit."""
    cost = np.random.default_rng(seed).random(shape)
    if levels:
        cost = np.round(cost * levels) / levels
    assert compiled(cost, max_cost) == with_numpy(cost, max_cost)


@needs_extension
@pytest.mark.parametrize("levels", [0, 3, 50])
@pytest.mark.parametrize("shape", [(60, 60), (80, 30), (30, 80)])
def test_one_large_block(shape, levels):
    cost = np.random.default_rng(1).random(shape)
    if levels:
        cost = np.round(cost * levels) / levels
    allowed = cost <= 0.5
    assert len(blocks(allowed)) == 1
    found = compiled(cost, 0.5)
    assert found == solve(np.where(allowed, cost, NEVER), 0.5).tolist()
    assert sum(j >= 0 for j in found) == min(shape)


@needs_extension
def test_every_entry_equal():
    for n in range(1, 12):
        cost = np.full((n, n), 0.25)
        assert compiled(cost, 0.5) == with_numpy(cost, 0.5)
        assert sorted(compiled(cost, 0.5)) == list(range(n))


def test_blocks_share_nothing_and_leave_nothing_out():
    rng = np.random.default_rng(2)
    for _ in range(50):
        allowed = rng.random((rng.integers(0, 30), rng.integers(0, 30))) < 0.05
        left = allowed.copy()
        for rows, columns in blocks(allowed):
            assert (np.diff(rows) > 0).all()
            assert (np.diff(columns) > 0).all()
            assert left[np.ix_(rows, columns)].any()
            assert not np.delete(left[rows], columns, axis=1).any()
            assert not np.delete(left[:, columns], rows, axis=0).any()
            left[np.ix_(rows, columns)] = False
        assert not left.any()


@given(
    shape=st.tuples(st.integers(0, 7), st.integers(0, 7)),
    seed=st.integers(0, 2**16),
    max_cost=st.sampled_from([0.3, 0.5, 0.8, 0.9]),
)
@settings(max_examples=200)
def test_shortcut_finds_the_optimum(shape, seed, max_cost):
    """Taking out undisputed pairs first gives what the solver gives on the whole matrix."""
    cost = np.random.default_rng(seed).random(shape)
    before = cost.copy()
    rows, columns = associate(cost, max_cost)
    assert (cost == before).all()
    assert (np.diff(rows) > 0).all()
    assert len(set(columns.tolist())) == len(columns)
    assert (cost[rows, columns] <= max_cost).all()
    if cost.size:
        whole = solve(cost, max_cost)
        assert whole[rows].tolist() == columns.tolist()
        assert (whole >= 0).sum() == len(rows)


def test_cost_must_be_a_matrix():
    with pytest.raises(ShapeError, match=r"cost matrix \(n, m\), found shape \(3,\)"):
        associate(np.zeros(3), 0.5)
