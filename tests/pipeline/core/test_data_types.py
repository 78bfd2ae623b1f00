from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import boxes
from pipeline.core.detections import Detections
from pipeline.core.errors import ShapeError, StageError, TracklightError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.timeline import STAMPS, Timeline
from pipeline.core.tracks import Tracks


def _image(height: int = 4, width: int = 6) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def _frame(image: np.ndarray, index: int = 0) -> Frame:
    return Frame("cam", index, image, None, 0, CaptureClock.FILE)


class TestFrame:
    def test_image_is_read_only_and_the_callers_array_is_not(self) -> None:
        image = _image()
        frame = _frame(image)
        with pytest.raises(ValueError, match="read-only"):
            frame.image[0, 0, 0] = 1
        image[0, 0, 0] = 7
        assert frame.image[0, 0, 0] == 7
        assert frame.shape_hw == (4, 6)
        assert str(frame) == "frame 0 of cam"

    @pytest.mark.parametrize(
        ("image", "wanted"),
        [
            (np.zeros((4, 6), np.uint8), r"wanted shape \(n, n, 3\), found \(4, 6\)"),
            (np.zeros((4, 6, 4), np.uint8), "wanted shape"),
            (np.zeros((4, 6, 3), np.float32), "wanted dtype uint8, found float32"),
            ([[1, 2, 3]], "wanted a numpy array, found list"),
        ],
    )
    def test_wrong_image_is_refused(self, image: object, wanted: str) -> None:
        with pytest.raises(ShapeError, match=wanted):
            _frame(image)

    def test_negative_index_is_refused(self) -> None:
        with pytest.raises(UsageError, match="0 or more"):
            _frame(_image(), index=-1)

    def test_is_frozen(self) -> None:
        with pytest.raises(FrozenInstanceError):
            _frame(_image()).index = 3


@pytest.mark.parametrize(
    ("fields", "expectation"),
    [
        ({}, nullcontext()),
        ({"source_id": ""}, pytest.raises(UsageError, match="wanted a name")),
        ({"width_px": 0}, pytest.raises(UsageError, match="at least 1x1")),
        ({"declared_fps": 0.0}, pytest.raises(UsageError, match="positive")),
        ({"declared_fps": float("nan")}, pytest.raises(UsageError, match="positive")),
    ],
)
def test_stream_info(fields: dict, expectation: AbstractContextManager) -> None:
    values = {
        "source_id": "a",
        "width_px": 2,
        "height_px": 2,
        "declared_fps": None,
        "is_live": False,
        "n_frames": None,
    }
    with expectation:
        StreamInfo(**(values | fields))


class TestDetections:
    def test_empty_and_select(self) -> None:
        assert len(Detections.empty()) == 0
        found = Detections(
            np.arange(12, dtype=np.float32).reshape(3, 4), np.array([0.1, 0.5, 0.9], np.float32), np.array([0, 1, 2])
        )
        kept = found.select(found.confidence > 0.3)
        assert kept.class_id.tolist() == [1, 2]
        assert found.select(np.array([2, 0])).class_id.tolist() == [2, 0]

    @pytest.mark.parametrize(
        ("xyxy", "confidence", "class_id"),
        [
            (np.zeros((2, 5), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int64)),
            (np.zeros((2, 4)), np.zeros(2, np.float32), np.zeros(2, np.int64)),
            (np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros(2, np.int64)),
            (np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32)),
        ],
    )
    def test_wrong_arrays_are_refused(self, xyxy: np.ndarray, confidence: np.ndarray, class_id: np.ndarray) -> None:
        with pytest.raises(ShapeError):
            Detections(xyxy, confidence, class_id)


class TestTracks:
    @pytest.mark.parametrize(("ids", "wanted"), [([1, 1], "once per frame"), ([0, 1], "1 or more")])
    def test_ids_are_positive_and_unique(self, ids: list[int], wanted: str) -> None:
        two = np.array(ids)
        with pytest.raises(UsageError, match=wanted):
            Tracks(np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int64), two, two)

    def test_select_keeps_rows_together(self) -> None:
        tracks = Tracks(
            np.arange(8, dtype=np.float32).reshape(2, 4),
            np.array([0.5, 0.6], np.float32),
            np.array([1, 2]),
            np.array([7, 8]),
            np.array([0, -1]),
        )
        one = tracks.select(tracks.detection_row < 0)
        assert (one.track_id.tolist(), one.class_id.tolist(), one.xyxy[0, 0]) == ([8], [2], 4.0)


class TestTimeline:
    def test_stamps_are_set_once_and_in_order(self) -> None:
        timeline = Timeline(captured=10)
        for i, name in enumerate(STAMPS[1:]):
            timeline.stamp(name, 20 + i)
        assert timeline.between_ms("captured", "emitted") == pytest.approx(14e-6)
        with pytest.raises(UsageError, match="set already"):
            timeline.stamp("emitted", 99)

    def test_an_instant_before_an_earlier_one_is_refused(self) -> None:
        with pytest.raises(UsageError, match="lies before 'captured'"):
            Timeline(captured=10).stamp("detect_end", 9)

    def test_unknown_name_and_unset_span(self) -> None:
        with pytest.raises(UsageError, match="wanted one of captured"):
            Timeline().stamp("shown", 1)
        assert Timeline().between_ms("captured", "emitted") is None


def test_every_error_inherits_the_tree_and_its_builtin() -> None:
    from pipeline.core import errors

    builtins = {
        "UsageError": ValueError,
        "ConfigError": ValueError,
        "ShapeError": ValueError,
        "MissingExtraError": ImportError,
        "CheckpointError": ValueError,
        "DatasetError": ValueError,
        "SourceError": OSError,
        "SinkError": OSError,
        "StoreError": OSError,
        "RefusedRecordError": OSError,
        "BackendError": RuntimeError,
        "TrainingError": RuntimeError,
        "StageError": RuntimeError,
    }
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, TracklightError) and value is not TracklightError
    }
    assert classes.keys() == builtins.keys()
    for name, value in classes.items():
        assert issubclass(value, builtins[name])


def test_stage_error_names_stage_frame_and_cause() -> None:
    cause = errors_cause = ValueError("boom")
    error = StageError("detect", cause, "frame 3 of cam")
    assert str(error) == "detect at frame 3 of cam: ValueError: boom"
    assert error.__cause__ is errors_cause


_finite = st.floats(-1e4, 1e4, width=32)
_boxes = st.lists(st.tuples(_finite, _finite, _finite, _finite), max_size=8).map(
    lambda rows: np.array([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in rows], np.float32).reshape(
        -1, 4
    )
)


class TestBoxes:
    @given(_boxes)
    def test_round_trips(self, xyxy: np.ndarray) -> None:
        np.testing.assert_allclose(boxes.cxcywh_to_xyxy(boxes.xyxy_to_cxcywh(xyxy)), xyxy, atol=0.01)
        np.testing.assert_allclose(boxes.ltwh_to_xyxy(boxes.xyxy_to_ltwh(xyxy)), xyxy, atol=0.01)

    @given(_boxes, _boxes)
    def test_iou_is_symmetric_and_bounded(self, a: np.ndarray, b: np.ndarray) -> None:
        iou = boxes.iou_matrix(a, b)
        assert iou.shape == (len(a), len(b))
        np.testing.assert_array_equal(iou, boxes.iou_matrix(b, a).T)
        assert ((iou >= 0) & (iou <= 1 + 1e-6)).all()

    def test_iou_by_hand(self) -> None:
        a = np.array([[0, 0, 2, 2], [5, 5, 5, 5]], np.float32)
        b = np.array([[1, 0, 3, 2], [5, 5, 5, 5]], np.float32)
        np.testing.assert_allclose(boxes.iou_matrix(a, b), [[1 / 3, 0], [0, 0]], rtol=1e-6)

    def test_clip_returns_a_new_array(self) -> None:
        xyxy = np.array([[-5, -5, 50, 50]], np.float32)
        assert boxes.clip(xyxy, (20, 30)).tolist() == [[0, 0, 30, 20]]
        assert xyxy[0, 0] == -5
