"""Where tracks are said to be going."""

from __future__ import annotations

import numpy as np

from tracker.bytetrack import ByteTrackConfig, ByteTracker


def test_before_the_first_frame_and_after_a_reset_there_is_none(backend, detect):
    tracker = ByteTracker(backend=backend)
    assert len(tracker.motion()) == 0
    tracker.update(detect([[0, 0, 40, 100, 0.9]]), 0, 0.0)
    assert len(tracker.motion()) == 1
    tracker.reset()
    assert len(tracker.motion()) == 0


def test_a_walker_s_speed_is_found_in_the_order_of_the_tracks(backend, detect):
    tracker = ByteTracker(ByteTrackConfig(), backend=backend)
    for i in range(60):
        t = i / 30
        tracks = tracker.update(detect([[60 * t, 0, 60 * t + 40, 100, 0.9], [800, 300, 840, 400, 0.8]]), i, t)
    motion = tracker.motion()
    assert len(motion) == len(tracks) == 2
    np.testing.assert_allclose(motion.velocity, [[60, 0, 60, 0], [0, 0, 0, 0]], atol=2)
