"""What the tracker promises, and what it does differently from the published code."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.core import protocols
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from tracker.bytetrack import ByteTrackConfig, ByteTracker
from tracker.track_table import TrackState

BOX = [100.0, 100.0, 160.0, 220.0]
FPS = 30.0


def run(tracker, frames):
    """Ids per frame of detections at 30 fps."""
    return [tracker.update(d, i, i / FPS).track_id.tolist() for i, d in enumerate(frames)]


def shifted(dx, score=0.9, dy=0.0):
    return [BOX[0] + dx, BOX[1] + dy, BOX[2] + dx, BOX[3] + dy, score]


def test_is_a_tracker(backend):
    assert isinstance(ByteTracker(backend=backend), protocols.Tracker)


def test_ids_last_and_detection_rows_point_at_the_boxes(detect, backend):
    tracker = ByteTracker(backend=backend)
    first = tracker.update(detect([shifted(0), shifted(300)]), 0, 0.0)
    second = tracker.update(detect([shifted(302), shifted(2)]), 1, 1 / FPS)
    assert first.track_id.tolist() == second.track_id.tolist() == [1, 2]
    assert first.detection_row.tolist() == [0, 1]
    assert second.detection_row.tolist() == [1, 0]
    assert second.confidence.tolist() == [np.float32(0.9)] * 2


def test_a_track_begun_later_needs_a_second_sighting(detect, backend):
    tracker = ByteTracker(backend=backend)
    nothing, box = detect([]), detect([shifted(0)])
    assert run(tracker, [nothing, box, box, nothing, box]) == [[], [], [1], [], [1]]


def test_a_low_score_keeps_a_track_and_starts_none(detect, backend):
    tracker = ByteTracker(backend=backend)
    low, high = detect([shifted(0, 0.2)]), detect([shifted(0)])
    assert run(tracker, [low, low, high, high, low, low]) == [[], [], [], [1], [1], [1]]


def test_a_lost_track_is_found_by_a_high_score_only(detect, backend):
    tracker = ByteTracker(backend=backend)
    high, low, nothing = detect([shifted(0)]), detect([shifted(0, 0.3)]), detect([])
    assert run(tracker, [high, nothing, low, high]) == [[1], [], [], [1]]


@pytest.mark.parametrize(("empty_frames", "same_id"), [(5, True), (14, True), (15, False), (16, False), (40, False)])
def test_a_lost_track_waits_for_the_buffer(detect, backend, empty_frames, same_id):
    config = ByteTrackConfig(buffer_s=0.5)
    ids = run(
        ByteTracker(config, backend=backend),
        [detect([shifted(0)])] * 3 + [detect([])] * empty_frames + [detect([shifted(0)])] * 2,
    )
    assert ids[-1] == ([1] if same_id else [2])


class TestDefects:
    """Each defect of the published code: there with reference_compat, gone without."""

    @pytest.fixture(params=[True, False], ids=["published", "fixed"])
    def published(self, request):
        return request.param

    @pytest.fixture
    def make(self, backend, published):
        def build(**settings):
            return ByteTracker(ByteTrackConfig(reference_compat=published, **settings), backend=backend)

        return build

    @pytest.mark.parametrize("score", [0.5, 0.1])
    def test_score_at_a_threshold(self, detect, make, published, score):
        ids = run(make(), [detect([shifted(0)]), detect([shifted(0, score)])])
        assert ids == [[1], [] if published else [1]]

    def test_removed_track_comes_back(self, detect, make, published):
        # Seen last at frame 0: 16 frames later its buffer of 15 frames has passed.
        frames = [detect([shifted(0)])] + [detect([])] * 16 + [detect([shifted(0)])] * 2
        assert run(make(buffer_s=0.5), frames)[-1] == ([1] if published else [2])

    def test_revived_track_is_forgotten_at_once(self, detect, make, published):
        frames = [detect([shifted(0)])] + [detect([])] * 16 + [detect([shifted(0)])] * 3
        frames += [detect([])] + [detect([shifted(0)])] * 2
        ids = run(make(buffer_s=0.5), frames)
        assert ids[-1] == [2]
        assert ids[-4] == ([1] if published else [2])

    def test_equal_age_duplicate_hides_the_visible_track(self, detect, make, published):
        # The lost one lived through frames 0..2, the visible one through 1..3.
        lost, visible = shifted(0), shifted(4)
        frames = [[lost], [lost, visible], [lost, visible], [visible]]
        ids = run(make(), [detect(rows) for rows in frames])
        assert ids == [[1], [1], [1, 2], [] if published else [2]]

    def test_touching_boxes_overlap(self, detect, make, published):
        settings = {"fuse_score": False, "min_iou": 1e-9, "min_iou_new": 1e-9}
        ids = run(make(**settings), [detect([shifted(0)]), detect([shifted(60)]), detect([shifted(60)])])
        assert ids[1] == ([1] if published else [])

    def test_dropped_frames_are_predicted_over(self, detect, make, published):
        tracker = make(min_iou=0.5)
        for i in range(10):
            tracker.update(detect([shifted(6 * i)]), i, i / FPS)
        # Ten frames were dropped: the box moved on by its own width.
        found = tracker.update(detect([shifted(6 * 19)]), 19, 19 / FPS).track_id.tolist()
        assert found == ([] if published else [1])

    def test_a_new_track_moves(self, detect, make, published):
        tracker = make(min_iou=0.55, min_iou_new=0.3)
        ids = run(tracker, [detect([]), *(detect([shifted(14 * i)]) for i in range(3))])
        assert ids == [[], [], [1], [] if published else [1]]

    def test_callers_array_is_untouched(self, make):
        xyxy = np.array([BOX], np.float32)
        make().update(Detections(xyxy, np.ones(1, np.float32), np.zeros(1, np.int64)), 0, 0.0)
        assert xyxy.tolist() == [BOX]

    def test_ids_are_counted_per_instance_and_never_reused(self, detect, make):
        first, other = make(), make()
        box = detect([shifted(0)])
        assert run(first, [box]) == run(other, [box]) == [[1]]
        first.reset()
        assert run(first, [box]) == [[2]]
        assert run(other, [box]) == [[1]]


def test_memory_is_bounded(detect, backend):
    """A new object in every place and frame: what is held stays within the buffer."""
    rng = np.random.default_rng(0)
    for compat in (False, True):
        tracker = ByteTracker(ByteTrackConfig(buffer_s=0.2, reference_compat=compat), backend=backend)
        held = []
        for i in range(1500):
            # Each place is seen twice, so that the track is confirmed before it is lost.
            if i % 2 == 0:
                corner = rng.uniform(0, 4000, (4, 2))
                rows = np.column_stack([corner, corner + 50, np.full(4, 0.9)])
            tracker.update(detect(rows), i, i / FPS)
            held.append(len(tracker))
        assert max(held[750:]) <= max(held[:750]) <= 60
        assert vars(tracker).keys() == vars(ByteTracker(backend=backend)).keys()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 3, 4])
def test_values_that_are_not_finite_are_refused(detect, backend, value, column):
    tracker = ByteTracker(backend=backend)
    run(tracker, [detect([shifted(0)])])
    rows = np.array([shifted(0), shifted(300)])
    rows[1, column] = value
    with pytest.raises(UsageError, match=r"finite boxes and scores.* in row 1; check the detector"):
        tracker.update(detect(rows), 1, 1 / FPS)
    assert tracker.update(detect([shifted(0)]), 1, 1 / FPS).track_id.tolist() == [1], "the bad call left no trace"


def test_boxes_without_area_are_ignored(detect, backend):
    tracker = ByteTracker(backend=backend)
    flat, thin, turned = [5, 5, 50, 5, 0.9], [5, 5, 5, 50, 0.9], [50, 50, 5, 5, 0.9]
    tracks = tracker.update(detect([flat, shifted(0), thin, turned]), 0, 0.0)
    assert tracks.detection_row.tolist() == [1]
    assert len(tracker) == 1


def test_classes_never_mix_per_class(detect, backend):
    tracker = ByteTracker(ByteTrackConfig(per_class=True), backend=backend)
    person, car = detect([shifted(0)], [0]), detect([shifted(0)], [2])
    for i, d in enumerate([person, person, car, car]):
        tracks = tracker.update(d, i, i / FPS)
    assert (tracks.track_id.tolist(), tracks.class_id.tolist()) == ([2], [2])


def test_without_per_class_the_majority_names_the_track(detect, backend):
    tracker = ByteTracker(ByteTrackConfig(per_class=False), backend=backend)
    seen = [2, 2, 7, 2, 7, 7, 7, 7]
    labels = []
    for i, class_id in enumerate(seen):
        tracks = tracker.update(detect([shifted(0)], [class_id]), i, i / FPS)
        assert tracks.track_id.tolist() == [1]
        labels.append(int(tracks.class_id[0]))
    assert labels == [2, 2, 2, 2, 2, 2, 7, 7]


def test_predicted_rows(detect, backend):
    tracker = ByteTracker(ByteTrackConfig(output_predicted=True), backend=backend)
    for i in range(10):
        tracker.update(detect([shifted(6 * i)]), i, i / FPS)
    tracks = tracker.update(detect([]), 10, 10 / FPS)
    assert (tracks.track_id.tolist(), tracks.detection_row.tolist()) == ([1], [-1])
    assert tracks.xyxy[0, 0] == pytest.approx(BOX[0] + 60, abs=1.0)


def test_reset_forgets_the_tracks(detect, backend):
    tracker = ByteTracker(backend=backend)
    run(tracker, [detect([shifted(0)])])
    tracker.reset()
    assert len(tracker) == 0
    assert tracker.update(detect([]), 0, 0.0).track_id.tolist() == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"high_score": 0.7}, "low_score <= high_score <= new_track_score"),
        ({"min_iou": 0}, "greater than 0"),
        ({"buffer_s": -1}, "greater than or equal to 0"),
        ({"nominal_fps": 0}, "greater than 0"),
        ({"match_thresh": 0.8}, "match_thresh"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ByteTrackConfig(**settings)


def test_every_setting_says_its_unit():
    for field in dataclasses.fields(ByteTrackConfig):
        assert field.default.description


BOXES = st.lists(
    st.tuples(
        st.floats(0, 500, width=32),
        st.floats(0, 500, width=32),
        st.floats(0, 200, width=32),
        st.floats(0, 200, width=32),
        st.floats(0, 1, width=32),
        st.integers(0, 2),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(BOXES, max_size=8), compat=st.booleans(), per_class=st.booleans(), data=st.data())
def test_whatever_comes(detect, backend, frames, compat, per_class, data):
    """Ids are new or known, rows point at boxes, and every held track is in one of the four states."""
    config = ByteTrackConfig(reference_compat=compat, per_class=per_class, buffer_s=0.1)
    tracker = ByteTracker(config, backend=backend)
    highest = 0
    for i, boxes in enumerate(frames):
        rows = [[x, y, x + w, y + h, score] for x, y, w, h, score, _ in boxes]
        tracks = tracker.update(detect(rows, [b[5] for b in boxes]), i, i / FPS)
        now = set(tracks.track_id.tolist())
        assert len(now) == len(tracks)
        assert np.isfinite(tracks.xyxy).all()
        matched = tracks.detection_row[tracks.detection_row >= 0].tolist()
        assert len(set(matched)) == len(matched) == len(tracks)
        assert all(0 <= row < len(boxes) for row in matched)
        if per_class:
            assert tracks.class_id.tolist() == [boxes[row][5] for row in matched]
        assert len(tracker) == sum(tracker.count(state) for state in TrackState)
        highest = max(now | {highest})
    tracker.reset()
    assert tracker.update(detect([shifted(0)]), 0, 0.0).track_id[0] > highest


def test_order_of_detections_does_not_matter(detect, walkers, backend):
    frames = walkers(np.arange(60) / FPS)
    rng = np.random.default_rng(1)
    straight, mixed = ByteTracker(backend=backend), ByteTracker(backend=backend)
    names = {}
    for i, (t, rows) in enumerate(frames):
        order = rng.permutation(len(rows))
        a = straight.update(detect(rows), i, t)
        b = mixed.update(detect(rows[order]), i, t)
        where = {int(order[row]): k for k, row in enumerate(b.detection_row)}
        for k, row in enumerate(a.detection_row):
            twin = where[int(row)]
            np.testing.assert_allclose(a.xyxy[k], b.xyxy[twin], atol=1e-3)
            assert names.setdefault(int(a.track_id[k]), int(b.track_id[twin])) == int(b.track_id[twin])
    assert len(names) == 6
