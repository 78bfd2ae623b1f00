from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.channel import Channel, ChannelClosedError, Policy
from pipeline.runtime.in_order import InOrder

pytestmark = pytest.mark.timeout(20)


def _make(capacity: int = 64, max_ahead: int = 64) -> tuple[InOrder[int, int], Channel[int], list[int]]:
    channel: Channel[int] = Channel(capacity, Policy.BLOCK)
    lost: list[int] = []

    def lose(results: Iterable[int]) -> None:
        lost.extend(results)

    return InOrder(itertools.count().__next__, channel, max_ahead, lose), channel, lost


def _drained(channel: Channel[int]) -> list[int]:
    return [channel.get() for _ in range(len(channel))]  # type: ignore[misc]


@given(st.permutations(range(8)), st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_results_come_out_in_the_order_of_taking_whatever_order_they_are_done_in(
    order: list[int], sizes: list[int]
) -> None:
    line, channel, _ = _make()
    assert [line.take() for _ in order] == [(n, n) for n in range(8)]
    for number in order:
        line.done(number, [number] * sizes[number])
    assert _drained(channel) == [n for n in range(8) for _ in range(sizes[n])]


def test_who_is_too_far_ahead_waits_for_the_slowest() -> None:
    line, channel, _ = _make(max_ahead=2)
    line.done(1, [1])
    finished = threading.Event()

    def run_ahead() -> None:
        line.done(2, [2])
        finished.set()

    thread = threading.Thread(target=run_ahead)
    thread.start()
    assert not finished.wait(0.1)
    assert len(channel) == 0
    line.done(0, [0])
    assert finished.wait(5)
    thread.join(5)
    assert _drained(channel) == [0, 1, 2]


def test_an_abort_returns_what_is_held_and_refuses_what_comes() -> None:
    line, channel, lost = _make(max_ahead=2)
    line.done(1, [10, 11])
    refused = threading.Event()

    def run_ahead() -> None:
        with pytest.raises(ChannelClosedError):
            line.done(3, [30])
        refused.set()

    thread = threading.Thread(target=run_ahead)
    thread.start()
    assert line.abort() == [10, 11]
    thread.join(5)
    assert refused.is_set()
    assert lost == [30]
    assert line.abort() == []
    assert len(channel) == 0


def test_results_that_the_channel_refuses_are_lost_and_counted() -> None:
    line, channel, lost = _make(capacity=2)
    line.done(1, [3, 4])
    taking = threading.Thread(target=lambda: [channel.get(), channel.abort()])
    taking.start()
    with pytest.raises(ChannelClosedError):
        line.done(0, [0, 1, 2, 2])
    taking.join(5)
    held = line.abort()
    assert held == [3, 4]
    assert lost[-1] == 2
