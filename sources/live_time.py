"""Media time of a live stream, held to the time that really passes."""

from __future__ import annotations

from collections import deque

MAX_APART_S = 1.0
"""How far a camera's clock may run from ours before media time is set right."""
WINDOW_S = 10.0
"""Pictures may come late for so long (a network that stood still) before the camera's clock is held to be slow."""


class LiveTime:
    """Sets media time right where the camera's clock drifts or is set.

    The camera's stamps are even, the instants of arrival are not, so the stamps count. But pictures arrive late and
    never early: media time that runs ahead of arrival is wrong at once, and media time that stays behind is wrong when
    even the most punctual picture of `WINDOW_S` was behind. The result strictly increases and stays within
    `MAX_APART_S` of the time passed since the first picture, but for that window.

    Attributes:
        corrected: how often the media time was set right.
    """

    def __init__(self) -> None:
        self.corrected = 0
        self._shift_s = 0.0
        self._first: tuple[float, int] | None = None
        self._last_s: float | None = None
        self._ahead: deque[tuple[float, float]] = deque()
        """Arrival and lead (s) of the pictures of the window, the lead falling: its head is the most punctual one."""

    def seconds(self, pts_s: float, arrived_ns: int) -> float:
        """The media time of the next picture.

        Args:
            pts_s: media time by the camera's stamps (s), increasing.
            arrived_ns: monotonic clock when it was decoded.
        """
        if self._first is None:
            self._first = (pts_s, arrived_ns)
        passed_s = (arrived_ns - self._first[1]) / 1e9
        at_s = pts_s + self._shift_s
        lead_s = at_s - self._first[0] - passed_s
        if abs(correction_s := self._correction(lead_s, passed_s)) > 0:
            self.corrected += 1
            self._shift_s += correction_s
            self._ahead.clear()
            at_s += correction_s
        if self._last_s is not None and at_s <= self._last_s:
            at_s = self._last_s + 1e-3
        self._last_s = at_s
        return at_s

    def _correction(self, lead_s: float, passed_s: float) -> float:
        if lead_s > MAX_APART_S:
            return -lead_s
        while self._ahead and self._ahead[-1][1] <= lead_s:
            self._ahead.pop()
        self._ahead.append((passed_s, lead_s))
        filled = passed_s - self._ahead[0][0] >= WINDOW_S
        while passed_s - self._ahead[0][0] > WINDOW_S and len(self._ahead) > 1:
            self._ahead.popleft()
        punctual_s = self._ahead[0][1]
        return -punctual_s if filled and punctual_s < -MAX_APART_S else 0.0
