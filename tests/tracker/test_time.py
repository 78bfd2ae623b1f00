"""The tracker lives in seconds: neither a jittered clock nor a dropped frame changes who is who."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageError
from tracker.bytetrack import ByteTrackConfig, ByteTracker
from tracker.kalman import Motion, initiate, predict
from tracker.step_clock import StepClock

FPS = 30.0


def track(tracker, frames, detect, indices=None):
    indices = range(len(frames)) if indices is None else indices
    return [tracker.update(detect(rows), i, t) for i, (t, rows) in zip(indices, frames, strict=True)]


def ids(outputs):
    return [o.track_id.tolist() for o in outputs]


def all_ids(outputs):
    return {i for frame in ids(outputs) for i in frame}


@given(
    first=st.floats(0.001, 2.0),
    second=st.floats(0.001, 2.0),
    height=st.floats(5, 500),
    fps=st.sampled_from([10, 25, 30]),
)
def test_two_steps_are_one_long_step(first, second, height, fps):
    motion = Motion(1 / fps)
    states = []
    for steps in ([first, second], [first + second]):
        mean, cov = initiate(np.array([[50.0, 60.0, 0.5, height]]), motion)
        mean[0, 4:6] = 10.0, -5.0
        for dt_s in steps:
            predict(mean, cov, dt_s, motion.step_noise(dt_s))
        states.append((mean, cov))
    np.testing.assert_allclose(states[0][0], states[1][0], rtol=1e-9)
    np.testing.assert_allclose(states[0][1], states[1][1], rtol=1e-9, atol=1e-12)


@given(dt_s=st.floats(1e-4, 10.0))
def test_noise_grows_steadily_and_is_a_covariance(dt_s):
    motion = Motion(1 / FPS)
    pp, pv, vv, app, apv, avv = motion.step_noise(dt_s)
    for position, shared, velocity in ((pp, pv, vv), (app, apv, avv)):
        assert min(position, velocity) > 0
        assert position * velocity > shared * shared
    # No cliff anywhere: 1 % more time is a little more noise.
    more = motion.step_noise(dt_s * 1.01)
    assert 1 < more[0] / pp < 1.05
    assert 1 < more[2] / vv < 1.05


def test_noise_of_the_nominal_interval_is_the_published_one():
    pp, pv, vv, *_ = Motion(1 / FPS).step_noise(1 / FPS)
    assert pp == pytest.approx((1 / 20) ** 2)
    assert pv == pytest.approx(0, abs=1e-15)
    assert vv == pytest.approx((FPS / 160) ** 2)


def test_motion_needs_an_interval():
    with pytest.raises(UsageError, match="more than 0 s"):
        Motion(0.0)


@pytest.mark.parametrize("seed", range(5))
def test_jittered_clock_gives_the_same_ids(walkers, detect, backend, seed):
    """Timestamps 5 ms off either way, 30 fps: same ids as with exact ones, boxes within a pixel."""
    even = np.arange(150) / FPS
    jitter = even + np.random.default_rng(seed).uniform(-0.005, 0.005, len(even))
    exact = walkers(even, seed=seed)
    # The scene is seen when it is seen; only the stamps are off.
    off = [(float(t), rows) for t, (_, rows) in zip(jitter, exact, strict=True)]
    a, b = (track(ByteTracker(backend=backend), frames, detect) for frames in (exact, off))
    assert ids(a) == ids(b)
    worst = max(float(abs(p.xyxy - q.xyxy).max()) for p, q in zip(a, b, strict=True))
    assert worst < 1.0
    assert len(all_ids(a)) == 6


def test_dropped_frames_keep_the_ids(walkers, detect, backend):
    frames = walkers(np.arange(150) / FPS, speed=200.0)
    kept = np.random.default_rng(0).random(len(frames)) > 0.6
    kept[:2] = True
    part = [f for f, keep in zip(frames, kept, strict=True) if keep]
    outputs = track(ByteTracker(backend=backend), part, detect, np.flatnonzero(kept).tolist())
    assert all_ids(outputs) == set(range(1, 7))
    assert all(len(o) == 6 for o in outputs)


@pytest.mark.parametrize("drop", [False, True])
def test_without_times_frame_numbers_count(walkers, detect, backend, drop):
    """At the nominal rate no timestamps are as good as exact ones, dropped frames included."""
    frames = walkers(np.arange(100) / FPS, speed=200.0)
    indices = [i for i in range(100) if not (drop and i % 7 in (3, 4))]
    frames = [frames[i] for i in indices]
    untimed = [(None, rows) for _, rows in frames]
    a, b = (track(ByteTracker(backend=backend), f, detect, indices) for f in (frames, untimed))
    assert ids(a) == ids(b)
    np.testing.assert_allclose(a[-1].xyxy, b[-1].xyxy, atol=1e-2)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda t: [*t[:50], t[49], *t[51:]], id="one time twice"),
        pytest.param(lambda t: [*t[:50], t[48], *t[51:]], id="one step back"),
        pytest.param(lambda t: t[:50] + [x - 1000 for x in t[50:]], id="clock set back"),
        pytest.param(lambda t: t[:50] + [x - t[50] for x in t[50:]], id="file loops"),
        pytest.param(lambda t: t[:50] + [None] * 3 + t[53:], id="times missing"),
        pytest.param(lambda t: [0.0] * 100, id="clock stands still"),
    ],
)
def test_a_lying_clock_costs_no_id(walkers, detect, backend, spoil):
    frames = walkers(np.arange(100) / FPS)
    times = spoil([t for t, _ in frames])
    lied = [(t, rows) for t, (_, rows) in zip(times, frames, strict=True)]
    assert ids(track(ByteTracker(backend=backend), lied, detect)) == [[1, 2, 3, 4, 5, 6]] * 100


def test_a_clock_that_stands_still_still_empties_the_buffer(detect, backend):
    tracker = ByteTracker(ByteTrackConfig(buffer_s=0.5), backend=backend)
    rows = [[0, 0, 50, 100, 0.9]]
    for i in range(40):
        tracker.update(detect(rows if i < 2 else []), i, 0.0)
    assert len(tracker) == 0


def test_a_gap_longer_than_the_buffer_forgets_everything(walkers, detect, backend):
    """An hour's outage: standing people would match, yet nobody knows that they are the same."""
    times = np.concatenate([np.arange(50) / FPS, 3600 + np.arange(50) / FPS])
    outputs = track(ByteTracker(backend=backend), walkers(times, speed=0.0), detect)
    before, after = (all_ids(part) for part in (outputs[:50], outputs[50:]))
    assert before == set(range(1, 7))
    assert not before & after
    assert len(after) == 6


@pytest.mark.parametrize("fps", [0.5, 1, 5])
def test_slow_sources_are_no_outage(walkers, detect, backend, fps):
    """Frames further apart than the buffer are simply the source's rate."""
    outputs = track(ByteTracker(backend=backend), walkers(np.arange(30) / fps, speed=2.0), detect)
    assert ids(outputs) == [[1, 2, 3, 4, 5, 6]] * 30


class TestStepClock:
    def clock(self):
        return StepClock(1 / FPS, max_gap_s=1.0)

    def test_first_step_is_none(self):
        assert self.clock().step(17, 5.0) == (0.0, False)

    def test_difference_of_times(self):
        clock = self.clock()
        clock.step(0, 5.0)
        assert clock.step(3, 5.25) == (0.25, False)

    def test_interval_is_learned(self):
        clock = self.clock()
        assert clock.interval_s == pytest.approx(1 / 30)
        for i in range(20):
            clock.step(i, i * 0.1)
        assert clock.interval_s == pytest.approx(0.1)
        assert clock.step(22, None)[0] == pytest.approx(0.3)

    def test_one_outlier_teaches_nothing(self):
        clock = self.clock()
        for i in range(20):
            clock.step(i, i * 0.1)
        assert clock.step(20, 500.0)[1]
        assert clock.interval_s == pytest.approx(0.1)

    @pytest.mark.parametrize("index", [5, 4, 0])
    def test_frame_numbers_that_do_not_rise_count_as_one(self, index):
        clock = self.clock()
        clock.step(5, None)
        assert clock.step(index, None)[0] == pytest.approx(1 / 30)

    @pytest.mark.parametrize("pts_s", [math.nan, math.inf])
    def test_times_that_are_no_numbers(self, pts_s):
        with pytest.raises(UsageError, match=r"pts_s: wanted seconds or None, found (nan|inf) at frame 3"):
            self.clock().step(3, pts_s)
