"""The compiled and the NumPy build give the same tracks, bit for bit, whatever comes."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from tracker.bytetrack import ByteTrackConfig, ByteTracker
from tracker.track_table import TrackState

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tracker._fast") is None, reason="tracker._fast is not built (pip install -e .)"
)

SCORES = [0.05, 0.1, 0.25, 0.4, 0.5, 0.6, 0.9, 1.0]
SCORE_SHARES = [0.05, 0.05, 0.05, 0.1, 0.05, 0.1, 0.5, 0.1]

CONFIGS = st.builds(
    ByteTrackConfig,
    high_score=st.sampled_from([0.5, 0.25]),
    low_score=st.sampled_from([0.0, 0.1, 0.25]),
    new_track_score=st.sampled_from([0.5, 0.6, 1.0]),
    min_iou=st.sampled_from([1e-300, 0.1, 0.2, 0.5, 1.0]),
    min_iou_low=st.sampled_from([0.1, 0.5]),
    min_iou_new=st.sampled_from([0.1, 0.3]),
    fuse_score=st.booleans(),
    per_class=st.booleans(),
    buffer_s=st.sampled_from([0.0, 0.1, 0.5]),
    nominal_fps=st.sampled_from([10.0, 30.0]),
    output_predicted=st.booleans(),
    reference_compat=st.booleans(),
)


def twins(config):
    return ByteTracker(config, backend="cython"), ByteTracker(config, backend="numpy")


def check_alike(pair, detections, index, pts_s):
    """Feed one frame to both; what they say and hold is equal, and keeps the promises of Tracks."""
    a, b = (tracker.update(detections, index, pts_s) for tracker in pair)
    for field in dataclasses.fields(Tracks):
        x, y = getattr(a, field.name), getattr(b, field.name)
        assert x.dtype == y.dtype, field.name
        assert x.tolist() == y.tolist(), field.name
        assert not x.flags.writeable, field.name
        assert not y.flags.writeable, field.name
    Tracks(a.xyxy, a.confidence, a.class_id, a.track_id, a.detection_row)
    moves = [tracker.motion() for tracker in pair]
    for field in dataclasses.fields(TrackMotion):
        x, y = (getattr(motion, field.name) for motion in moves)
        assert x.tolist() == y.tolist(), field.name
        assert len(x) == len(a), field.name
        assert np.isfinite(x).all(), field.name
    for state in TrackState:
        assert pair[0].count(state) == pair[1].count(state), state
    assert len(pair[0]) == len(pair[1])
    return a


class Scene:
    """Boxes that wander in a small picture, so that they have many rivals.

    Args:
        seed: of the random numbers.
        n: number of objects.
        grid_px: boxes lie on a grid this wide, so that many pairs overlap equally; 0 for none.
    """

    def __init__(self, seed: int, n: int, grid_px: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.grid_px = grid_px
        side = 30 * np.sqrt(n) + 40
        self.corner = self.rng.uniform(0, side, (n, 2))
        self.size = self.rng.uniform(20, 60, (n, 2))
        self.velocity = self.rng.uniform(-4, 4, (n, 2))

    def frame(self) -> Detections:
        """The next frame: some boxes are missing, some stand twice, some have no area, and sometimes there is none."""
        rng = self.rng
        self.corner = self.corner + self.velocity
        seen = np.flatnonzero(rng.random(len(self.corner)) > rng.choice([0.1, 0.5, 1.0], p=[0.8, 0.1, 0.1]))
        seen = np.concatenate([seen, seen[rng.random(len(seen)) < 0.1]])
        xyxy = np.column_stack([self.corner, self.corner + self.size])[seen] + rng.normal(0, 1, (len(seen), 4))
        if self.grid_px:
            xyxy = np.round(xyxy / self.grid_px) * self.grid_px
        score = rng.choice(SCORES, len(seen), p=SCORE_SHARES)
        # An object has a class of its own, and is sometimes taken for another.
        class_id = (seen + (rng.random(len(seen)) < 0.1)) % 2
        return Detections(xyxy.astype(np.float32), score.astype(np.float32), class_id)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    config=CONFIGS,
    seed=st.integers(0, 2**16),
    n=st.sampled_from([1, 3, 8, 30]),
    grid_px=st.sampled_from([0, 1, 20]),
    clock=st.sampled_from(["even", "none", "jitter", "gaps", "cuts", "back"]),
)
def test_random_scenes(config, seed, n, grid_px, clock):
    scene, pair = Scene(seed, n, grid_px), twins(config)
    rng = np.random.default_rng(seed)
    index, now_s = 0, 0.0
    for _ in range(30):
        frames = int(rng.integers(1, 6)) if clock == "gaps" else 1
        index += frames
        now_s += frames / 30
        if clock == "jitter":
            now_s += rng.uniform(-0.01, 0.01)
        elif clock == "cuts" and rng.random() < 0.1:
            now_s += 5
        elif clock == "back" and rng.random() < 0.2:
            now_s -= 0.5
        check_alike(pair, scene.frame(), index, None if clock == "none" else now_s)


@pytest.mark.parametrize("compat", [False, True])
def test_a_crowd_that_is_one_block(compat):
    """A chain of boxes, each overlapping its neighbours: nothing falls apart, every search is large."""
    rng = np.random.default_rng(0)
    pair = twins(ByteTrackConfig(reference_compat=compat, per_class=False, min_iou=0.05))
    for i in range(25):
        left = 15.0 * np.arange(120) + rng.normal(0, 3, 120)
        rows = np.column_stack([left, np.zeros(120), left + 40, np.full(120, 90.0)])[rng.random(120) > 0.1]
        score = rng.choice([0.3, 0.9], len(rows))
        d = Detections(rows.astype(np.float32), score.astype(np.float32), np.zeros(len(rows), np.int64))
        check_alike(pair, d, i, i / 30)


def test_numbers_rise_and_fall():
    """From none to hundreds and back: the compiled build's memory grows while tracks are held."""
    pair = twins(ByteTrackConfig(buffer_s=0.2))
    names = set()
    for i, n in enumerate([0, 1, 2, 40, 41, 300, 300, 7, 0, 500, 1, 0, 0, 0, 0, 0, 0, 0, 3]):
        corner = np.column_stack([100.0 * np.arange(n), np.zeros(n)])
        xyxy = np.column_stack([corner, corner + 50]).astype(np.float32)
        tracks = check_alike(pair, Detections(xyxy, np.full(n, 0.9, np.float32), np.zeros(n, np.int64)), i, i / 30)
        names.update(tracks.track_id.tolist())
    assert len(names) > 100


def test_results_stay_as_they_were_given():
    """No later frame writes into what an earlier one gave, and nothing of the caller's arrays is kept."""
    scene, tracker = Scene(3, 10, 0), ByteTracker(backend="cython")
    given = []
    for i in range(20):
        d = scene.frame()
        xyxy = d.xyxy.copy()
        tracks = tracker.update(Detections(xyxy, d.confidence, d.class_id), i, i / 30)
        xyxy[:] = np.nan
        given.append((tracks, tracks.xyxy.copy(), tracks.track_id.copy()))
    assert sum(len(tracks) for tracks, _, _ in given) > 80
    for tracks, boxes, ids in given:
        assert (tracks.xyxy == boxes).all()
        assert (tracks.track_id == ids).all()


def test_arrays_with_gaps_in_memory():
    scene, pair = Scene(4, 20, 0), twins(ByteTrackConfig())
    whole = ByteTracker(backend="cython")
    for i in range(20):
        d = scene.frame()
        wide = np.zeros((2 * len(d), 6), np.float32)
        wide[::2, 1:5] = d.xyxy
        twice = np.repeat(d.class_id, 2)
        parts = Detections(wide[::2, 1:5], np.repeat(d.confidence, 2)[::2], twice[::2])
        assert len(d) < 2 or not parts.xyxy.flags.c_contiguous
        tracks = check_alike(pair, parts, i, i / 30)
        assert tracks.track_id.tolist() == whole.update(d, i, i / 30).track_id.tolist()


def test_refused_detections_and_resets_leave_both_alike():
    scene, pair = Scene(5, 12, 0), twins(ByteTrackConfig())
    for i in range(40):
        d = scene.frame()
        if i % 7 == 3 and len(d):
            broken = d.xyxy.copy()
            broken[-1, 2] = np.nan
            for tracker in pair:
                with pytest.raises(UsageError, match=f"in row {len(d) - 1};"):
                    tracker.update(Detections(broken, d.confidence, d.class_id), i, i / 30)
        if i == 25:
            for tracker in pair:
                tracker.reset()
        check_alike(pair, d, i, i / 30)
