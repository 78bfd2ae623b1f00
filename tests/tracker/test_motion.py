"""Where tracks are said to be going."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.detections import Detections
from pipeline.core.protocols import ForecastingTracker
from tracker.bytetrack import ByteTrackConfig, ByteTracker
from tracker.track_table import REAL_COLUMNS
from tracker.velocity import Drift, Noise, begin, learn, measurement, motion, pass_time, step_noise

HEIGHT = 100.0
SIZE = np.array([40.0, HEIGHT])


def frame_of(corner, noise_px=0.0, rng=None, score=0.9):
    corner = np.asarray(corner, np.float64)
    xyxy = np.column_stack([corner, corner + SIZE])
    if rng is not None:
        xyxy = xyxy + rng.normal(0, noise_px, xyxy.shape)
    return Detections(xyxy.astype(np.float32), np.full(len(corner), score, np.float32), np.zeros(len(corner), np.int64))


def walk(tracker, start, velocity, fps, seconds, noise_px=0.0, seed=0, first=0):
    """Objects at constant velocity; returns their tracks, in the order of the objects, and the motion."""
    rng = np.random.default_rng(seed)
    start, velocity = np.asarray(start, np.float64), np.asarray(velocity, np.float64)
    for i in range(first, first + round(fps * seconds)):
        tracks = tracker.update(frame_of(start + velocity * i / fps, noise_px, rng), i, i / fps)
    return tracks, tracker.motion()


def far_apart(n):
    return np.column_stack([300.0 * np.arange(n), np.zeros(n)])


def test_it_is_a_forecasting_tracker(backend):
    assert isinstance(ByteTracker(backend=backend), ForecastingTracker)


def test_before_the_first_frame_and_after_a_reset_there_is_none(backend):
    tracker = ByteTracker(backend=backend)
    assert len(tracker.motion()) == 0
    walk(tracker, [[0, 0]], [[60, 0]], 30, 1)
    assert len(tracker.motion()) == 1
    tracker.reset()
    assert len(tracker.motion()) == 0
    _, again = walk(tracker, [[0, 0]], [[60, 0]], 30, 1)
    _, fresh = walk(ByteTracker(backend=backend), [[0, 0]], [[60, 0]], 30, 1)
    assert again.velocity.tolist() == fresh.velocity.tolist()
    assert again.std_px.tolist() == fresh.std_px.tolist()


def test_a_track_of_the_first_frame_is_not_known_to_move(backend):
    tracker = ByteTracker(backend=backend)
    tracker.update(frame_of([[0, 0]]), 0, 0.0)
    motion = tracker.motion()
    assert motion.velocity.tolist() == [[0, 0, 0, 0]]
    assert motion.std_px_s[0] > HEIGHT


def test_asking_changes_nothing(backend):
    asked, silent = ByteTracker(backend=backend), ByteTracker(backend=backend)
    for i in range(20):
        detections = frame_of([[3.0 * i, 0], [500 - 2.0 * i, 0]])
        a, b = asked.update(detections, i, i / 30), silent.update(detections, i, i / 30)
        assert asked.motion().velocity.tolist() == asked.motion().velocity.tolist()
        assert a.xyxy.tolist() == b.xyxy.tolist()
    assert asked.motion().velocity.tolist() == silent.motion().velocity.tolist()


def test_rows_are_in_the_order_of_the_tracks(backend):
    """Tracks that are found again come last in the table: motion goes with them."""
    tracker = ByteTracker(backend=backend)
    start, velocity = far_apart(4), np.array([[60, 0], [0, 60], [-60, 0], [0, 0]])
    for i in range(90):
        rows = [0, 1, 2, 3] if i % 7 else [1, 2, 3]
        at = start + velocity * i / 30
        tracks = tracker.update(frame_of(at[rows][::-1]), i, i / 30)
    motion = tracker.motion()
    assert len(tracks) == 4
    for box, moves in zip(tracks.xyxy, motion.velocity, strict=True):
        nearest = np.abs(at - box[:2]).sum(axis=1).argmin()
        np.testing.assert_allclose(moves[:2], velocity[nearest], atol=8)


@pytest.mark.parametrize("fps", [5, 10, 30, 60])
def test_the_velocity_is_that_of_the_world_at_every_frame_rate(backend, fps):
    velocity = np.array([[90, 0], [-60, 40], [0, 0], [60, -90]])
    start = np.add(far_apart(4), [[0, 0], [300, 0], [600, 0], [900, 900]])
    _, motion = walk(ByteTracker(backend=backend), start, velocity, fps, 6)
    np.testing.assert_allclose(motion.velocity[:, :2], velocity, atol=9)
    np.testing.assert_allclose(motion.velocity[:, 2:], velocity, atol=9)


def test_dropped_frames_change_nothing_in_a_steady_world(backend):
    tracker = ByteTracker(backend=backend)
    for i in [*range(30), *range(30, 120, 3), *range(120, 150, 7)]:
        tracker.update(frame_of([[2.0 * i, 0]]), i, i / 30)
    np.testing.assert_allclose(tracker.motion().velocity, [[60, 0, 60, 0]], atol=9)


def test_fast_objects_are_followed_within_few_frames(backend):
    """A car: five of its heights a second, at 30 frames/s."""
    tracker = ByteTracker(backend=backend)
    for i in range(8):
        tracker.update(frame_of([[500 / 30 * i, 0]], 1.0, np.random.default_rng(i)), i, i / 30)
    np.testing.assert_allclose(tracker.motion().velocity[0, [0, 2]], 500, rtol=0.15)


@pytest.mark.parametrize("fps", [10, 30])
def test_what_stands_still_stays(backend, fps):
    """Noise of 2 px on every side: a second ahead the boxes are where they are now, give or take that noise."""
    tracker = ByteTracker(backend=backend)
    start, shift = far_apart(8), []
    for i in range(fps * 10):
        tracker.update(frame_of(start, 2.0, np.random.default_rng(i)), i, i / fps)
        if i > fps * 2:
            shift.append(tracker.motion().velocity[:, :2])
    assert np.sqrt(np.mean(np.square(shift))) < 2.5
    assert np.median(np.abs(shift)) < 1


def test_what_all_do_at_once_is_found_at_once(backend):
    """The camera turns: ten people who stand still are told to move within three frames, and to stand soon after."""
    tracker = ByteTracker(backend=backend)
    start, x = far_apart(10), 0.0
    rng = np.random.default_rng(0)
    speed_px_s = [0.0] * 30 + [150.0] * 40 + [0.0] * 40 + [150.0] * 5
    for i, speed in enumerate(speed_px_s):
        x += speed / 30
        tracker.update(frame_of(start + np.array([x, 0]), 2.0, rng), i, i / 30)
    together = tracker.motion().velocity[:, 0]
    alone = ByteTracker(backend=backend)
    x, rng = 0.0, np.random.default_rng(0)
    for i, speed in enumerate(speed_px_s):
        x += speed / 30
        alone.update(frame_of(start[:1] + np.array([x, 0]), 2.0, rng), i, i / 30)
    assert abs(together.mean() - 150) < abs(alone.motion().velocity[0, 0] - 150)
    assert together.mean() > 110


def test_a_lost_track_keeps_its_velocity_and_grows_unsure(backend):
    tracker = ByteTracker(ByteTrackConfig(output_predicted=True), backend=backend)
    _, before = walk(tracker, [[0, 0]], [[90, 0]], 30, 3)
    for i in range(90, 105):
        tracks = tracker.update(Detections.empty(), i, i / 30)
    after = tracker.motion()
    assert tracks.detection_row.tolist() == [-1]
    np.testing.assert_allclose(after.velocity[0, 0], before.velocity[0, 0], rtol=0.2)
    assert after.std_px[0] > before.std_px[0]
    assert after.std_px_s[0] > before.std_px_s[0]


def test_tracks_that_are_not_shown_have_no_row(backend):
    tracker = ByteTracker(backend=backend)
    walk(tracker, far_apart(2), [[90, 0], [0, 0]], 30, 1)
    tracks = tracker.update(frame_of([[600.0, 500.0]]), 30, 1.0)
    assert len(tracks) == len(tracker.motion()) == 0


def test_a_cut_forgets_the_camera(backend):
    tracker = ByteTracker(backend=backend)
    walk(tracker, far_apart(10), np.full((10, 2), [150, 0]), 30, 2)
    tracker.update(frame_of(far_apart(10)), 60, 60.0)
    assert (tracker.motion().velocity == 0).all()


def test_the_detector_s_noise_is_learnt(backend):
    """An exact detector is believed: the doubt is small, and a velocity is learnt from few frames."""
    _, exact = walk(ByteTracker(backend=backend), far_apart(6), np.full((6, 2), [0, 50]), 30, 3, 0.2)
    _, rough = walk(ByteTracker(backend=backend), far_apart(6), np.full((6, 2), [0, 50]), 30, 3, 4)
    assert (exact.std_px * 1.5 < rough.std_px).all()


@pytest.mark.parametrize("noise_px", [1.0, 3.0])
def test_the_doubt_is_about_right(backend, noise_px):
    """Steady objects, some of which move: the foretold middle half a second on, in standard deviations."""
    rng = np.random.default_rng(1)
    start, velocity = far_apart(12), rng.normal(0, 40, (12, 2))
    tracker, off = ByteTracker(backend=backend), []
    for i in range(120):
        tracks = tracker.update(frame_of(start + velocity * i / 30, noise_px, rng), i, i / 30)
        motion = tracker.motion()
        if i < 45 or len(tracks) < 12:
            continue
        moved = motion.moved(tracks.xyxy, 0.5)
        true = start + velocity * (i / 30 + 0.5) + SIZE / 2
        order = np.abs(true[None] - (moved[:, None, :2] + moved[:, None, 2:]) / 2).sum(axis=2).argmin(axis=1)
        wrong = (moved[:, :2] + moved[:, 2:]) / 2 - true[order]
        off.append(np.abs(wrong) / motion.std_after(0.5)[:, None])
    assert np.mean(np.array(off) < 1) > 0.6
    assert np.mean(np.array(off) < 2) > 0.9


def test_time_flows():
    """A step over 0.3 s adds what steps over 0.1 s and 0.2 s add."""

    def passed(steps):
        real = np.zeros((1, REAL_COLUMNS))
        begin(real, measurement(np.array([[0, 0, 40, 100]])), np.array([0.9]), Noise())
        real[0, 21:25] = [30, -10, 1, 2]
        for dt_s in steps:
            pass_time(real, Drift(), dt_s)
        return real

    # The height, which noise is measured in, is that before each step.
    np.testing.assert_allclose(passed([0.3]), passed([0.1, 0.2]), rtol=0.01)
    assert min(step_noise(1e-6)) >= 0


def test_noise_stays_within_its_bounds():
    noise = Noise()
    for fits in ([0.0, 0.0], [1e9, 1e9], [0.0, 0.0]):
        for _ in range(200):
            noise.learn(fits, 10)
        assert noise.variance(0) ** 0.5 * (1 + 1e-9) >= 1 / 200
        assert noise.variance(0) ** 0.5 <= 1 / 20 * (1 + 1e-9)
        assert noise.variance(1) ** 0.5 <= 1 / 10 * (1 + 1e-9)


def test_nothing_to_learn_from():
    real, drift, noise = np.zeros((0, REAL_COLUMNS)), Drift(), Noise()
    learn(real, np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0), drift, noise, 0.1)
    assert [len(field) for field in motion(real, drift, noise)] == [0, 0, 0]


@settings(max_examples=30, deadline=None)
@given(
    boxes=st.lists(
        st.tuples(
            st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(1e-3, 1e5), st.floats(1e-3, 1e5), st.floats(0, 1)
        ),
        min_size=1,
        max_size=4,
    ),
    dt_s=st.sampled_from([1e-6, 1e-3, 0.04, 1.0, 1e4]),
    builds=st.sampled_from(["numpy", "cython"]),
)
def test_never_nan(boxes, dt_s, builds):
    if builds == "cython":
        pytest.importorskip("tracker._fast")
    tracker = ByteTracker(ByteTrackConfig(high_score=0, low_score=0, new_track_score=0), backend=builds)
    rows = np.array(boxes)
    xyxy = np.column_stack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]).astype(np.float32)
    for i in range(5):
        shifted = xyxy + np.float32(i % 2)
        tracker.update(Detections(shifted, rows[:, 4].astype(np.float32), np.zeros(len(rows), np.int64)), i, i * dt_s)
        motion = tracker.motion()
        for field in (motion.velocity, motion.std_px, motion.std_px_s, motion.std_after(0.1)):
            assert np.isfinite(field).all()


def test_moved_by_nothing_is_unmoved_and_moving_is_linear(backend):
    tracks, motion = walk(ByteTracker(backend=backend), far_apart(3), [[90, 0], [0, 30], [0, 0]], 30, 2, 1)
    assert motion.moved(tracks.xyxy, 0.0).tolist() == tracks.xyxy.tolist()
    one, two = motion.moved(tracks.xyxy, 0.1) - tracks.xyxy, motion.moved(tracks.xyxy, 0.2) - tracks.xyxy
    np.testing.assert_allclose(two, 2 * one, atol=1e-2)
