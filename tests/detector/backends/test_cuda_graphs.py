"""What a GPU records per input shape, on streams and graphs that work on the CPU."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from detector.backends.cuda_graphs import CALLS_BEFORE_RECORDING, MAX_SHAPES, RecordedWork


class Doubling:
    """Work whose calls are counted."""

    def __init__(self) -> None:
        self.n_prepared = self.n_called = 0

    def __call__(self, buffer: torch.Tensor) -> Any:
        self.n_prepared += 1

        def work() -> list[torch.Tensor]:
            self.n_called += 1
            return [buffer.float() * 2, buffer.float() + 1]

        return work


@pytest.fixture
def cuda(tensorrt_stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    return tensorrt_stand_in.StandInCuda(monkeypatch)


def picture(value: int, shape: tuple[int, ...] = (1, 4, 4, 3)) -> torch.Tensor:
    return torch.full(shape, value, dtype=torch.uint8)


def test_a_shape_is_recorded_when_it_comes_often_and_replayed_from_then_on(cuda: Any) -> None:
    doubling = Doubling()
    work = RecordedWork(torch.device("cpu"), torch.uint8, doubling, record=True)
    for value in range(10):
        doubled, raised = work(picture(value))
        assert (doubled == 2 * value).all()
        assert (raised == value + 1).all()
    assert (doubling.n_prepared, doubling.n_called) == (1, CALLS_BEFORE_RECORDING)
    assert work.n_recorded == 1
    assert [graph.n_replays for graph in cuda.graphs] == [10 - CALLS_BEFORE_RECORDING + 1]


def test_outputs_stay_where_they_are(cuda: Any) -> None:
    work = RecordedWork(torch.device("cpu"), torch.uint8, Doubling(), record=True)
    addresses = [[output.data_ptr() for output in work(picture(value))] for value in range(6)]
    assert addresses[-1] == addresses[-2] == addresses[2]


def test_shapes_keep_graphs_of_their_own(cuda: Any) -> None:
    work = RecordedWork(torch.device("cpu"), torch.uint8, Doubling(), record=True)
    for value in range(8):
        for side in (2, 3, 5):
            assert (work(picture(value, (1, side, side, 3)))[0] == 2 * value).all()
    assert work.n_recorded == 3


def test_shapes_are_bounded_and_the_one_used_longest_ago_goes(cuda: Any) -> None:
    doubling = Doubling()
    work = RecordedWork(torch.device("cpu"), torch.uint8, doubling, record=True)
    for side in range(1, MAX_SHAPES + 1):
        work(picture(1, (1, side, side, 3)))
    work(picture(1, (1, 1, 1, 3)))
    work(picture(1, (1, 99, 99, 3)))
    assert doubling.n_prepared == MAX_SHAPES + 1
    work(picture(1, (1, 1, 1, 3)))
    assert doubling.n_prepared == MAX_SHAPES + 1
    work(picture(1, (1, 2, 2, 3)))
    assert doubling.n_prepared == MAX_SHAPES + 2


def test_nothing_is_recorded_unless_asked(cuda: Any) -> None:
    doubling = Doubling()
    work = RecordedWork(torch.device("cpu"), torch.uint8, doubling, record=False)
    for value in range(6):
        assert (work(picture(value))[0] == 2 * value).all()
    assert (doubling.n_called, work.n_recorded, cuda.graphs) == (6, 0, [])


def test_streams_wait_for_each_other(cuda: Any) -> None:
    """The caller's next steps wait for the results; the next picture waits until the last results have been read."""
    caller = cuda.current
    work = RecordedWork(torch.device("cpu"), torch.uint8, Doubling(), record=True)
    work(picture(1))
    assert caller.waited_for == [work.stream]
    assert work.stream.waited_for == [caller]
    assert cuda.current is caller


def test_clearing(cuda: Any) -> None:
    work = RecordedWork(torch.device("cpu"), torch.uint8, Doubling(), record=True)
    for _ in range(4):
        work(picture(1))
    work.clear()
    assert work.n_recorded == 0
