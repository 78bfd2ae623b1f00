"""A stream whose bytes no longer line up, told from one whose next key frame is far off."""

from __future__ import annotations

import pytest

from sources.flow import Flow, StalledError

INTERVAL_S = 0.04


def healthy(flow: Flow, pictures: int, interval_s: float = INTERVAL_S) -> None:
    for number in range(pictures):
        flow.check()
        flow.packet(interval_s)
        flow.picture(number * interval_s)


def test_few_packets_without_a_picture_are_no_stream() -> None:
    flow = Flow(2.5)
    healthy(flow, 100)
    for _ in range(2):
        flow.check()
        flow.packet(1.2)
    flow.check()
    flow.packet(0.2)
    with pytest.raises(StalledError, match=r"no whole picture in 2\.6 s, and 3 packets where 65 were due"):
        flow.check()


def test_a_key_frame_that_is_far_off_is_waited_for() -> None:
    flow = Flow(2.5)
    healthy(flow, 100)
    for _ in range(500):
        flow.check()
        flow.packet(INTERVAL_S)


def test_before_the_first_picture_nothing_is_known() -> None:
    flow = Flow(2.5)
    for _ in range(5):
        flow.check()
        flow.packet(3)


def test_a_slow_stream_is_no_stalled_one() -> None:
    flow = Flow(2.5)
    healthy(flow, 20, interval_s=3.0)
    flow.packet(3.0)
    flow.check()


def test_a_reader_that_was_elsewhere_has_not_waited() -> None:
    flow = Flow(2.5)
    healthy(flow, 100)
    flow.picture(100.0)
    flow.packet(0.001)
    flow.check()


def test_a_picture_makes_up_for_what_was_before() -> None:
    flow = Flow(2.5)
    healthy(flow, 100)
    flow.packet(2.4)
    flow.picture(6.4)
    flow.packet(2.4)
    flow.check()
