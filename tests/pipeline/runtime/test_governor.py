"""Which rung a run stands on: steps down at once, up with patience, and the best one only when it is clear."""

from __future__ import annotations

import pytest

from pipeline.runtime.governor import BestGovernor, StepGovernor, Window

LADDER = (2.0, 1.2, 0.8, 0.4)
"""Loads of four rungs where the first would be busy for twice the time."""


def _window(missed: float = 0.0, loads: tuple[float, ...] = LADDER, age_s: float = 0.1) -> Window:
    return Window(missed, age_s, loads)


@pytest.mark.parametrize(
    ("rung", "window", "wanted"),
    [
        (0, _window(0.5), 2),  # straight to the first rung that is expected to hold
        (1, _window(0.2), 2),
        (2, _window(0.2), 3),  # expected to hold, and does not: something else takes time
        (3, _window(0.9), 3),  # there is nothing below
        (0, _window(0.5, (4.0, 3.0, 2.0, 1.5)), 3),  # none holds: the last
        (0, _window(0.1), 0),  # the limit itself is no overload
        (0, _window(0.0, age_s=0.31), 2),
        (0, _window(0.0, age_s=0.3), 0),
    ],
)
def test_an_overload_leads_down_at_once(rung: int, window: Window, wanted: int) -> None:
    after, why = StepGovernor(0.1, 0.3, 3).look(rung, window)
    assert after == wanted
    assert bool(why) == (wanted != rung or window.missed > 0.1)


def test_the_reason_is_told() -> None:
    governor = StepGovernor(0.1, 0.3, 1)
    assert governor.look(0, _window(0.42))[1] == "42% of frames missed"
    assert governor.look(0, _window(0.0, age_s=0.5))[1] == "results 500 ms old"


def test_up_goes_one_step_after_room_for_a_while() -> None:
    governor = StepGovernor(0.1, None, 3)
    roomy = _window(0.0, (0.8, 0.5, 0.3, 0.1))
    assert [governor.look(3, roomy)[0] for _ in range(3)] == [3, 3, 2]
    assert [governor.look(2, roomy)[0] for _ in range(3)] == [2, 2, 1]


def test_one_window_without_room_begins_the_wait_anew() -> None:
    governor = StepGovernor(0.1, None, 3)
    roomy, tight = _window(0.0, (0.8, 0.5)), _window(0.0, (0.95, 0.5))
    looks = [governor.look(1, window)[0] for window in (roomy, roomy, tight, roomy, roomy, roomy)]
    assert looks == [1, 1, 1, 1, 1, 0]


def test_a_step_up_that_fails_doubles_the_wait_and_one_that_holds_resets_it() -> None:
    governor = StepGovernor(0.1, None, 1)
    roomy, overload, quiet = _window(0.0, (0.8, 0.5)), _window(0.5, (0.8, 0.5)), _window(0.0, (0.8, 0.5))

    def windows_until_up() -> int:
        return next(n for n in range(1, 50) if governor.look(1, roomy)[0] == 0)

    waits = []
    for _ in range(5):
        waits.append(windows_until_up())
        assert governor.look(0, overload)[0] == 1
    assert waits == [1, 2, 4, 8, 8]
    assert windows_until_up() == 8
    for _ in range(4):
        assert governor.look(0, quiet)[0] == 0
    assert governor.look(0, overload)[0] == 1
    assert windows_until_up() == 1


def test_age_alone_can_forbid_a_step_up() -> None:
    # Twice the load: results would be 0.4 s old.
    governor = StepGovernor(0.1, 0.3, 1)
    assert governor.look(1, _window(0.0, (0.8, 0.4), age_s=0.2))[0] == 1
    assert governor.look(1, _window(0.0, (0.8, 0.4), age_s=0.14))[0] == 0


def test_the_best_rung_is_taken_when_two_windows_agree_that_it_is_clearly_better() -> None:
    def window(*accuracy: float) -> Window:
        return Window(0.0, 0.1, (1.0,) * len(accuracy), accuracy)

    governor = BestGovernor()
    assert governor.look(0, window(0.30, 0.315, 0.2)) == (0, "")
    assert governor.look(0, window(0.30, 0.315, 0.2)) == (0, "")
    assert governor.look(0, window(0.30, 0.35, 0.2)) == (0, "")
    assert governor.look(0, window(0.30, 0.2, 0.35)) == (0, "")
    assert governor.look(0, window(0.30, 0.2, 0.35)) == (2, "streaming accuracy 0.350 expected in place of 0.300")
    assert governor.look(2, window(0.30, 0.2, 0.35)) == (2, "")
