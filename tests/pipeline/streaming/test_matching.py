from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import match
from pipeline.streaming.outputs import Output
from pipeline.streaming.simulate import outputs, simulate_unlimited
from pipeline.streaming.stream import NS, Stream

RATES = st.sampled_from([Fraction(30), Fraction(30000, 1001), Fraction(25), Fraction(10), Fraction(NS, 7)])


def stream(n_frames: int = 4, fps: Fraction = Fraction(10)) -> Stream:
    return Stream("street", fps, n_frames, 640, 480)


def out(at_ns: int, frame: int) -> Output:
    return Output(at_ns, frame, Boxes.empty())


@st.composite
def streams_with_outputs(draw: st.DrawFn) -> tuple[Stream, list[Output]]:
    some = stream(draw(st.integers(1, 8)), draw(RATES))
    frames = draw(st.lists(st.integers(0, some.n_frames - 1), max_size=8))
    interval = int(NS / some.fps)
    waits = st.one_of(st.integers(0, 3 * interval), st.sampled_from([0, 1, interval, interval + 1, 2 * interval]))
    found = [out(some.arrival_ns(frame) + draw(waits), frame) for frame in frames]
    return some, sorted(found, key=lambda output: output.at_ns)


def test_the_last_output_that_was_there_stands_until_the_next() -> None:
    matched = match([out(150_000_000, 0), out(290_000_000, 1)], stream(5))
    assert matched.output.tolist() == [-1, -1, 0, 1, 1]
    assert matched.input_frame.tolist() == [-1, -1, 0, 1, 1]
    assert (matched.misses, matched.in_time, matched.mismatch) == (2, 0, 2 + 2 + 3)
    assert matched.mean_staleness == pytest.approx(7 / 3)
    assert matched.mean_staleness_ms == pytest.approx(700 / 3)


@pytest.mark.parametrize(("at_ns", "misses"), [(199_999_999, 2), (200_000_000, 2), (200_000_001, 3)])
def test_the_instant_itself_counts(at_ns: int, misses: int) -> None:
    assert match([out(at_ns, 0)], stream()).misses == misses


def test_an_output_that_comes_with_the_frame_answers_for_it_at_any_rate() -> None:
    # 1/30 s is no whole number of ns; both the arrival and the instant of asking are rounded up.
    thirty = stream(600, Fraction(30))
    at_once = [out(thirty.arrival_ns(frame), frame) for frame in range(600)]
    assert match(at_once, thirty).in_time == 600
    # 100 ms after a frame's arrival, three frames later to the nanosecond.
    late = [out(thirty.arrival_ns(frame) + 100_000_000, frame) for frame in range(597)]
    assert (match(late, thirty).staleness == 3).all()


def test_of_outputs_at_one_instant_the_last_answers() -> None:
    assert match([out(200_000_000, 2), out(200_000_000, 1)], stream()).input_frame.tolist() == [-1, -1, 1, 1]


def test_without_outputs_every_frame_is_a_miss() -> None:
    matched = match([], stream())
    assert (matched.misses, matched.in_time, matched.mismatch) == (4, 0, 0)
    assert math.isnan(matched.mean_staleness)


@given(streams_with_outputs(), st.fractions(-3, 3, max_denominator=8))
def test_equals_asking_frame_by_frame(case: tuple[Stream, list[Output]], eta: Fraction) -> None:
    some, found = case
    matched = match(found, some, eta)
    for frame in range(some.n_frames):
        asked_ns = math.ceil((frame - eta) * NS / some.fps)
        there = [k for k, output in enumerate(found) if output.at_ns <= asked_ns]
        expected = there[-1] if there else -1
        assert matched.output[frame] == expected
        assert matched.input_frame[frame] == (found[expected].input_frame if there else -1)


@given(streams_with_outputs(), st.integers(-4, 4))
def test_a_whole_eta_shifts_the_frames(case: tuple[Stream, list[Output]], eta: int) -> None:
    some, found = case
    now, shifted = match(found, some), match(found, some, Fraction(eta))
    for frame in range(some.n_frames):
        if 0 <= frame - eta < some.n_frames:
            assert shifted.output[frame] == now.output[frame - eta]


@given(st.integers(1, 12), RATES, st.integers(1, 400_000_000), st.integers(1, 400_000_000), st.fractions(-2, 2))
def test_a_faster_device_without_limit_never_shows_an_older_picture(
    n_frames: int, fps: Fraction, one_ns: int, other_ns: int, eta: Fraction
) -> None:
    # Not true of mismatch, which leaves misses out, nor of runtimes that differ: then an old frame can end last.
    some = stream(n_frames, fps)
    fast, slow = (
        match(outputs(simulate_unlimited(some, iter([ns] * n_frames)), lambda _: Boxes.empty()), some, eta)
        for ns in sorted((one_ns, other_ns))
    )
    assert (fast.input_frame >= slow.input_frame).all()
    assert fast.misses <= slow.misses


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([out(300_000_000, 0), out(299_999_999, 1)], "street: wanted outputs in the order of time, found output 1"),
        ([out(400_000_000, 4)], r"street: wanted outputs of frames 0\.\.3, found frame 4 in output 0"),
        ([out(400_000_000, 1), out(400_000_000, -1)], "found frame -1 in output 1"),
        ([out(-1, 0)], "street: wanted outputs after their picture, found output 0 at -1 ns, of frame 0"),
        ([out(199_999_999, 2)], "of frame 2, which arrives at 200000000 ns; the frame rate or the clock is another"),
    ],
)
def test_refused(found: list[Output], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        match(found, stream())


def test_numbers_are_whole() -> None:
    matched = match([out(0, 0)], stream())
    assert matched.output.dtype == matched.input_frame.dtype == np.int64
