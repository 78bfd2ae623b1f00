"""On which rung of a ladder a run stands: decided from what was measured in the last seconds, and not too often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROOM = 0.9
"""A rung is expected to hold where its detector would be busy for at most this share of the time."""
PROVED = 3
"""A step up is proved when the run was not overloaded for so many windows after it."""
MOST_PATIENCE = 8
"""By how much failed steps up lengthen the wait before the next one, at most."""
GAIN = 0.06
"""Another rung must be expected to be better by this share: estimates are no better than that."""
AGREE = 2
"""Windows in a row that must agree on another rung before it is taken for its accuracy."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was measured in some seconds.

    Attributes:
        missed: share of the frames due to be detected that were not, 0 to 1.
        age_p95_s: capture to emission, 95th percentile.
        loads: per rung, the share of the time that its detector would be busy; above 1: it would not keep up.
        accuracy: per rung, the streaming accuracy that is expected of it; empty where nobody asks.
    """

    missed: float
    age_p95_s: float
    loads: Sequence[float]
    accuracy: Sequence[float] = ()


class StepGovernor:
    """Down at once when overloaded, up one step when there has been room for a while.

    A step up that ends in an overload soon after doubles the wait before the next one, up to eight times.

    Args:
        max_missed: more frames missed are an overload (share, 0 to 1).
        max_age_s: older results are an overload too; None: age does not count.
        recover_windows: windows with room before a step up.
    """

    def __init__(self, max_missed: float, max_age_s: float | None, recover_windows: int) -> None:
        self._max_missed = max_missed
        self._max_age_s = max_age_s
        self._recover_windows = recover_windows
        self._patience = 1
        self._n_with_room = 0
        self._since_up: int | None = None

    def look(self, rung: int, window: Window) -> tuple[int, str]:
        """The rung to stand on from now on, and why where it is another."""
        why = self._overload(window)
        if self._since_up is not None:
            self._since_up += 1
        if why:
            self._n_with_room = 0
            if self._since_up is not None and self._since_up <= PROVED:
                self._patience = min(2 * self._patience, MOST_PATIENCE)
            self._since_up = None
            last = len(window.loads) - 1
            below = range(rung + 1, last + 1)
            return next((r for r in below if window.loads[r] <= ROOM), last), why
        if self._since_up is not None and self._since_up > PROVED:
            self._patience, self._since_up = 1, None
        if rung == 0 or not self._has_room(rung, window):
            self._n_with_room = 0
            return rung, ""
        self._n_with_room += 1
        if self._n_with_room < self._recover_windows * self._patience:
            return rung, ""
        self._n_with_room, self._since_up = 0, 0
        return rung - 1, f"there is room: {window.loads[rung - 1]:.0%} busy expected"

    def _overload(self, window: Window) -> str:
        if window.missed > self._max_missed:
            return f"{window.missed:.0%} of frames missed"
        if self._max_age_s is not None and window.age_p95_s > self._max_age_s:
            return f"results {window.age_p95_s * 1e3:.0f} ms old"
        return ""

    def _has_room(self, rung: int, window: Window) -> bool:
        above, now = window.loads[rung - 1], window.loads[rung]
        if above > ROOM:
            return False
        # How old results are follows how long detection takes.
        return self._max_age_s is None or not now or window.age_p95_s * above / now <= self._max_age_s


class BestGovernor:
    """The rung that is expected to give the best streaming accuracy, where it is clearly better for two windows."""

    def __init__(self) -> None:
        self._better: int | None = None
        self._n_agreed = 0

    def look(self, rung: int, window: Window) -> tuple[int, str]:
        """The rung to stand on from now on, and why where it is another."""
        best = max(range(len(window.accuracy)), key=lambda r: window.accuracy[r])
        if window.accuracy[best] <= (1 + GAIN) * window.accuracy[rung]:
            self._better, self._n_agreed = None, 0
            return rung, ""
        self._n_agreed = self._n_agreed + 1 if best == self._better else 1
        self._better = best
        if self._n_agreed < AGREE:
            return rung, ""
        self._better, self._n_agreed = None, 0
        return best, f"streaming accuracy {window.accuracy[best]:.3f} expected in place of {window.accuracy[rung]:.3f}"
