"""What the reference's made-up sequences do not show; its numbers are in test_reference_cases.py."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.published_forecast import PublishedForecast
from pipeline.streaming.stream import Stream

STREAM = Stream("street", Fraction(10), 100, 640, 480)


def boxes(*ltwh: tuple[float, float, float, float], score: tuple[float, ...] = (), class_id: int = 0) -> Boxes:
    n = len(ltwh)
    return Boxes(
        np.array(ltwh, np.float64).reshape(-1, 4),
        np.array(score) if score else np.ones(n),
        np.full(n, class_id),
        np.arange(1, n + 1),
    )


def forecast() -> PublishedForecast:
    begun = PublishedForecast()
    begun.begin(STREAM)
    return begun


def test_a_box_seen_once_stays() -> None:
    shown = forecast().boxes(Output(0, 0, boxes((10, 10, 50, 80))), 7)
    assert shown.ltwh.tolist() == [[10, 10, 50, 80]]


def test_a_box_seen_twice_moves_with_the_covariance_of_8_x_8() -> None:
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 1)
    shown = moving.boxes(Output(0, 2, boxes((18, 10, 50, 80))), 5)
    # The filter written out with full matrices.
    motion = np.eye(8) + 2 * np.eye(8, k=4)
    covariance = motion @ (100 * np.eye(8)) @ motion.T + 4 * np.eye(8)
    gain = covariance[:, :4] @ np.linalg.inv(covariance[:4, :4] + 10 * np.eye(4))
    state = np.array([10, 10, 50, 80, 0, 0, 0, 0]) + gain @ [8, 0, 0, 0]
    assert shown.ltwh[0] == pytest.approx(state[:4] + 3 * state[4:])


def test_a_box_belongs_to_a_track_of_its_class_only() -> None:
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 0)
    shown = moving.boxes(Output(0, 1, boxes((14, 10, 50, 80), class_id=1)), 9)
    assert shown.ltwh.tolist() == [[14, 10, 50, 80]]


def test_the_surer_box_chooses_its_track_first() -> None:
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 0)
    shown = moving.boxes(Output(0, 1, boxes((12, 10, 50, 80), (18, 10, 50, 80), score=(0.5, 0.9))), 4)
    # The box at 18 has it, though that at 12 overlaps more; the other is new and stays.
    assert shown.score.tolist() == [0.9, 0.5]
    assert shown.track_id.tolist() == [2, 1]
    assert shown.ltwh[0, 0] > 25
    assert shown.ltwh[1].tolist() == [12, 10, 50, 80]


def test_of_tracks_overlapped_alike_the_later_is_taken() -> None:
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80), (20, 10, 50, 80))), 0)
    shown = moving.boxes(Output(0, 1, boxes((15, 10, 50, 80))), 2)
    # From 20 to 15: it moves to the left.
    assert shown.ltwh[0, 0] < 13


def test_an_output_without_boxes_leaves_the_tracks_where_they_were_going() -> None:
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 0)
    second = Output(0, 1, boxes((14, 10, 50, 80)))
    before = moving.boxes(second, 3)
    after = moving.boxes(Output(0, 3, Boxes.empty()), 3)
    assert after.ltwh == pytest.approx(before.ltwh)


def test_a_stream_without_boxes() -> None:
    moving = forecast()
    assert len(moving.boxes(Output(0, 0, Boxes.empty()), 0)) == 0
    assert len(moving.boxes(Output(0, 1, Boxes.empty()), 5)) == 0
    assert len(moving.boxes(Output(0, 2, boxes((10, 10, 50, 80))), 5)) == 1


def test_an_older_frame_may_come_last() -> None:
    # On devices without limit a frame can be overtaken: the state goes back in time.
    moving = forecast()
    moving.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 0)
    moving.boxes(Output(0, 4, boxes((26, 10, 50, 80))), 4)
    shown = moving.boxes(Output(0, 2, boxes((18, 10, 50, 80))), 4)
    assert shown.ltwh[0, 0] == pytest.approx(26, abs=1)


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ((-20, -10, 50, 80), [[0, 0, 30, 70]]),
        ((620, 470, 50, 80), [[620, 470, 20, 10]]),
        ((700, 10, 50, 80), []),
        ((10, 10, 7.9, 10.9), []),  # 7 x 10 whole px
        ((10, 10, 7.9, 11), [[10, 10, 7.9, 11]]),
        ((10, 10, 15.9, 5.9), [[10, 10, 15.9, 5.9]]),  # 15 x 5 whole px, just enough
    ],
)
def test_cut_to_the_picture(box: tuple[float, float, float, float], shown: list[list[float]]) -> None:
    found = forecast().boxes(Output(0, 0, boxes(box)), 0)
    assert found.ltwh == pytest.approx(np.array(shown).reshape(-1, 4))


@given(
    st.lists(
        st.lists(st.tuples(st.integers(-50, 650), st.integers(-50, 500), *[st.integers(1, 300)] * 2), max_size=5),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 20),
)
def test_whatever_comes_lies_in_the_picture(found: list[list[tuple[int, int, int, int]]], later: int) -> None:
    moving = forecast()
    for frame, some in enumerate(found):
        shown = moving.boxes(Output(0, frame, boxes(*some)), frame + later).ltwh
        assert (shown[:, :2] >= 0).all()
        assert (shown[:, :2] + shown[:, 2:] <= [640 + 1e-9, 480 + 1e-9]).all()
        assert (np.trunc(shown[:, 2]) * np.trunc(shown[:, 3]) >= 75).all()
