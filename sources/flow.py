"""Whether what still comes of a live stream can be the stream."""

from __future__ import annotations

LEAST_SHARE = 0.5
"""Of the packets that came before."""
SMOOTHING = 0.05


class StalledError(Exception):
    """Packets come, but far fewer than before, and no whole picture."""


class Flow:
    """Notices that the bytes of a stream no longer line up.

    After bytes were lost on the way, a reader of RTSP over TCP takes the middle of a picture for the length of the next
    packet, and waits for it: something comes now and then, so no time-out ends it. A camera whose next key frame is far
    off is another matter: its packets go on as before.

    Args:
        limit_s: how long that may last, above 0.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._interval_s: float | None = None
        self._last_s: float | None = None
        self._packets = 0
        self._waited_s = 0.0

    def picture(self, now_s: float) -> None:
        """A whole picture is there."""
        if self._last_s is not None:
            interval_s = (now_s - self._last_s) / max(self._packets, 1)
            before_s = self._interval_s if self._interval_s is not None else interval_s
            self._interval_s = before_s + SMOOTHING * (interval_s - before_s)
        self._last_s = now_s
        self._packets, self._waited_s = 0, 0.0

    def packet(self, waited_s: float) -> None:
        """A packet came after so long a wait. Time that the reader spent elsewhere says nothing about the stream."""
        self._packets += 1
        self._waited_s += waited_s

    def check(self) -> None:
        """Before the next packet is waited for: what came so far gave no picture.

        Raises:
            StalledError: this has lasted too long with too few packets.
        """
        if self._interval_s is None or self._waited_s < self._limit_s:
            return
        due = self._waited_s / self._interval_s
        if self._packets < LEAST_SHARE * due:
            raise StalledError(
                f"no whole picture in {self._waited_s:.1f} s, and {self._packets} packets where {due:.0f} were due"
            )
