from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageError
from pipeline.runtime.channel import Channel, ChannelClosedError, Policy


def _in_thread(body: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_items_come_in_order_and_the_end_comes_after_the_last() -> None:
    channel: Channel[int] = Channel(3, Policy.BLOCK)
    for i in range(3):
        assert channel.put(i) is None
    channel.close()
    assert [channel.get(), channel.get(), channel.get()] == [0, 1, 2]
    with pytest.raises(ChannelClosedError):
        channel.get()
    assert channel.finished


def test_newest_displaces_the_oldest_and_hands_it_back() -> None:
    channel: Channel[int] = Channel(2, Policy.NEWEST)
    assert [channel.put(i) for i in range(5)] == [None, None, 0, 1, 2]
    assert (channel.n_put, channel.n_displaced, len(channel)) == (5, 3, 2)
    assert [channel.get(), channel.get()] == [3, 4]


@pytest.mark.parametrize("policy", list(Policy))
def test_a_note_keeps_its_place_and_takes_no_room(policy: Policy) -> None:
    channel: Channel[int | str] = Channel(2, policy)
    channel.note("before")
    channel.put(1)
    channel.note("after 1")
    channel.put(2)
    assert (channel.n_put, len(channel)) == (2, 2)
    assert [channel.get() for _ in range(4)] == ["before", 1, "after 1", 2]


def test_a_note_outlives_what_it_follows() -> None:
    channel: Channel[int | str] = Channel(2, Policy.NEWEST)
    for i in range(6):
        channel.put(i)
        if i == 2:
            channel.note("after 2")
    channel.note("last")
    channel.close()
    assert not channel.finished
    assert [channel.get() for _ in range(4)] == ["after 2", 4, 5, "last"]
    assert channel.finished
    with pytest.raises(ChannelClosedError):
        channel.note("late")


def test_a_note_wakes_whoever_waits() -> None:
    channel: Channel[str] = Channel(1, Policy.NEWEST)
    found: list[str | None] = []
    thread = _in_thread(lambda: found.append(channel.get()))
    channel.note("end")
    thread.join()
    assert found == ["end"]
    channel.note("lost")
    assert channel.abort() == ["lost"]


def test_a_blocked_put_goes_on_when_there_is_room() -> None:
    channel: Channel[int] = Channel(1, Policy.BLOCK)
    channel.put(1)
    thread = _in_thread(lambda: channel.put(2))
    assert channel.get() == 1
    assert channel.get() == 2
    thread.join()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_blocked_put_is_refused_when_the_channel_ends(end: str) -> None:
    channel: Channel[int] = Channel(1, Policy.BLOCK)
    channel.put(1)
    refused = threading.Event()

    def put() -> None:
        try:
            channel.put(2)
        except ChannelClosedError:
            refused.set()

    thread = _in_thread(put)
    getattr(channel, end)()
    thread.join()
    assert refused.is_set()


def test_a_blocked_get_ends_with_the_channel() -> None:
    channel: Channel[int] = Channel(1, Policy.BLOCK)
    ended = threading.Event()

    def get() -> None:
        try:
            channel.get()
        except ChannelClosedError:
            ended.set()

    thread = _in_thread(get)
    channel.close()
    thread.join()
    assert ended.is_set()


def test_abort_gives_back_what_nobody_will_get() -> None:
    channel: Channel[int] = Channel(4, Policy.BLOCK)
    channel.put(1)
    channel.put(2)
    assert channel.abort() == [1, 2]
    assert channel.abort() == []
    assert channel.aborted
    with pytest.raises(ChannelClosedError):
        channel.get()
    with pytest.raises(ChannelClosedError):
        channel.put(3)


def test_get_with_a_timeout_and_poll_return_none_when_empty() -> None:
    channel: Channel[int] = Channel(1, Policy.BLOCK)
    assert channel.get(timeout_s=0.0) is None
    assert channel.poll() is None


def test_a_capacity_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="1 or more"):
        Channel(0, Policy.BLOCK)


@given(
    capacity=st.integers(1, 5),
    policy=st.sampled_from(list(Policy)),
    steps=st.lists(st.sampled_from(["put", "get"]), max_size=60),
)
def test_nothing_is_lost_or_invented(capacity: int, policy: Policy, steps: list[str]) -> None:
    channel: Channel[int] = Channel(capacity, policy)
    taken: list[int] = []
    displaced: list[int] = []
    n = 0
    for step in steps:
        if step == "put" and (policy is Policy.NEWEST or len(channel) < capacity):
            gone = channel.put(n)
            n += 1
            if gone is not None:
                displaced.append(gone)
        elif step == "get" and (item := channel.poll()) is not None:
            taken.append(item)
        assert len(channel) <= capacity
    left = channel.abort()
    assert sorted([*taken, *displaced, *left]) == list(range(n))
    assert taken == sorted(taken)
