"""The compiled and the NumPy build of the inner loops agree, and nothing chooses between them in silence."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import BackendError, ShapeError, UsageError
from tracker import kernels
from tracker.association import associate, solve
from tracker.bytetrack import ByteTrackConfig, ByteTracker

BUILT = importlib.util.find_spec("tracker._fast") is not None
needs_extension = pytest.mark.skipif(not BUILT, reason="tracker._fast is not built (pip install -e .)")


def crowd(rng, n, frame):
    """Boxes that overlap a lot and move: many rivals per track."""
    centre = np.column_stack([np.linspace(0, 20 * n, n) + 3 * frame, 200 + 20 * np.sin(np.arange(n) + frame / 9)])
    size = rng.uniform(40, 80, (n, 2))
    score = rng.uniform(0.05, 1, (n, 1))
    rows = np.column_stack([centre - size / 2, centre + size / 2, score])
    return rows[rng.random(n) > 0.15]


@needs_extension
@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_both_builds_track_alike(detect, compat, per_class, seed):
    rng = np.random.default_rng(seed)
    config = ByteTrackConfig(reference_compat=compat, per_class=per_class, output_predicted=True)
    fast, slow = (ByteTracker(config, backend=name) for name in ("cython", "numpy"))
    for i in range(60):
        rows = crowd(rng, 40, i)
        d = detect(rows, rng.integers(0, 2, len(rows)))
        a, b = fast.update(d, i, i / 30), slow.update(d, i, i / 30)
        assert a.track_id.tolist() == b.track_id.tolist()
        assert a.detection_row.tolist() == b.detection_row.tolist()
        assert a.class_id.tolist() == b.class_id.tolist()
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1e-4)


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


def test_unknown_build():
    with pytest.raises(UsageError, match="wanted one of cython, numpy, found 'fortran'"):
        ByteTracker(backend="fortran")


def test_missing_build_is_an_error(monkeypatch):
    monkeypatch.setitem(kernels.MODULES, "cython", "tracker._not_built")
    with pytest.raises(BackendError, match=r"wanted 'cython', found no compiled tracker\._not_built"):
        kernels.load_kernels("cython")


def test_default_build():
    if kernels.VARIABLE not in os.environ:
        assert ("cython" if BUILT else "numpy") == kernels.BACKEND


@pytest.mark.parametrize("name", ["numpy", pytest.param("cython", marks=needs_extension)])
def test_environment_forces_a_build(name):
    code = "from tracker import kernels; print(kernels.BACKEND)"
    environment = {**os.environ, kernels.VARIABLE: name}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name
