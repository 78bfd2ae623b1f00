"""Media time: what is repaired, what is kept."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.media_time import MediaTime
from sources.natural import natural_key


@pytest.mark.parametrize(
    ("stamps", "seconds", "repaired"),
    [
        ([0, 1, 2], [0, 0.1, 0.2], 0),
        ([7, 8, 30], [0, 0.1, 2.3], 0),
        ([None, None, 2], [0, 0.1, 0.2], 3),
        ([0, None, None], [0, 0.1, 0.2], 2),
        ([0, 10, 10, 11], [0, 1.0, 1.02, 1.1], 1),
        ([0, 10, 9, 12], [0, 1.0, 1.02, 1.2], 1),
        ([0, 50, 0, 1, 2], [0, 5.0, 5.02, 5.12, 5.22], 1),
        ([0, 50, 0, 50, 0], [0, 5.0, 5.02, 10.02, 10.04], 2),
    ],
    ids=["even", "from the first", "none at first", "none later", "twice", "disorder", "joined", "joined twice"],
)
def test_table(stamps: list[int | None], seconds: list[float], repaired: int) -> None:
    time = MediaTime(None, Fraction(1, 10), 0.02 if None not in stamps else 0.1)
    assert [time.seconds(s) for s in stamps] == pytest.approx(seconds)
    assert time.repaired == repaired


def test_a_known_start_is_zero() -> None:
    time = MediaTime(5, Fraction(1, 10), 0.1)
    assert time.seconds(6) == pytest.approx(0.1)


@given(st.lists(st.none() | st.integers(-(10**9), 10**9), max_size=40))
def test_time_always_grows(stamps: list[int | None]) -> None:
    time = MediaTime(None, Fraction(1, 90000), 0.04)
    seconds = [time.seconds(s) for s in stamps]
    assert all(a < b for a, b in pairwise(seconds))


def test_natural_order() -> None:
    names = ["img10.png", "Img2.png", "img1.png", "a/10.png", "a/9.png", "1.png", "img.png"]
    ordered = [str(p) for p in sorted(map(Path, names), key=natural_key)]
    assert ordered == ["1.png", "a/9.png", "a/10.png", "img1.png", "Img2.png", "img10.png", "img.png"]
