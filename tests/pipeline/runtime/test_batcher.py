from __future__ import annotations

import threading

import numpy as np
import pytest

from pipeline.core.errors import UsageError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.channel import Channel, Policy


def _frame(source_id: str, index: int) -> Frame:
    return Frame(source_id, index, np.zeros((2, 2, 3), np.uint8), None, 0, CaptureClock.FILE)


def _filled(batcher: Batcher, source_id: str, n: int, *, closed: bool = True) -> Channel[Frame]:
    channel: Channel[Frame] = Channel(max(n, 1), Policy.BLOCK, batcher.changed)
    for i in range(n):
        channel.put(_frame(source_id, i))
    if closed:
        channel.close()
    batcher.add(source_id, channel)
    return channel


def _gathered(batcher: Batcher) -> list[list[tuple[str, int]]]:
    batches = []
    while batch := batcher.gather():
        batches.append([(f.source_id, f.index) for f in batch])
    return batches


def test_sources_are_served_in_turn_and_none_starves() -> None:
    batcher = Batcher(max_batch=1)
    _filled(batcher, "fast", 6)
    _filled(batcher, "slow", 2)
    order = [batch[0] for batch in _gathered(batcher)]
    assert order[:4] == [("fast", 0), ("slow", 0), ("fast", 1), ("slow", 1)]
    assert len(order) == 8


def test_a_recorded_source_alone_fills_the_batch() -> None:
    batcher = Batcher(max_batch=4)
    _filled(batcher, "a", 10)
    assert [len(batch) for batch in _gathered(batcher)] == [4, 4, 2]


def test_frames_of_a_source_keep_their_order_whatever_the_batch() -> None:
    for max_batch in (1, 2, 3, 5, 16):
        batcher = Batcher(max_batch=max_batch)
        _filled(batcher, "a", 7)
        _filled(batcher, "b", 3)
        flat = [item for batch in _gathered(batcher) for item in batch]
        assert [i for s, i in flat if s == "a"] == list(range(7))
        assert [i for s, i in flat if s == "b"] == list(range(3))


def test_a_quiet_source_is_not_waited_for_beyond_the_budget() -> None:
    batcher = Batcher(max_batch=2, max_wait_s=0.0)
    _filled(batcher, "a", 1)
    _filled(batcher, "quiet", 0, closed=False)
    assert [(f.source_id, f.index) for f in batcher.gather()] == [("a", 0)]


def test_it_waits_for_a_source_that_opens_late_and_ends_when_it_gives_up() -> None:
    batcher = Batcher()
    batcher.expect("late")
    thread = threading.Thread(target=lambda: _filled(batcher, "late", 1))
    thread.start()
    assert batcher.gather()[0].source_id == "late"
    thread.join()
    batcher.expect("never")
    thread = threading.Thread(target=lambda: batcher.give_up("never"))
    thread.start()
    assert batcher.gather() == []
    thread.join()


def test_abort_ends_a_waiting_gather_and_gives_frames_back() -> None:
    batcher = Batcher()
    _filled(batcher, "a", 3, closed=False)
    batcher.gather()
    assert [f.index for f in batcher.abort()] == [1, 2]
    assert batcher.gather() == []
    channel = _filled(batcher, "after", 0, closed=False)
    assert channel.aborted


def test_a_batch_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="1 or more"):
        Batcher(max_batch=0)
