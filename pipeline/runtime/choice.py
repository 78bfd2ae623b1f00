"""Which frames the detector takes: every one, every n-th, or those that a scheduler picks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from pipeline.core.frame import Frame
from pipeline.core.protocols import Clock
from pipeline.runtime.arrivals import Arrivals
from pipeline.runtime.live_scheduler import LiveScheduler
from pipeline.streaming.schedulers import Scheduler


class FrameChoice:
    """Asked by the batcher for the oldest frame that waits of each source. Called from any thread.

    Args:
        arrivals: when frames of live sources arrived.
        clock: the run's.
        every_nth: of the frames of each source only every n-th is detected; those between pass by. None: none passes.
        make_scheduler: makes each live source's own scheduler; None: the newest frame is taken whenever the detector
            is free. Only asked where frames of one source alone wait.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        clock: Clock,
        every_nth: int | None = None,
        make_scheduler: Callable[[], Scheduler] | None = None,
    ) -> None:
        self.every_nth = every_nth
        """May be changed while it runs."""
        self._arrivals = arrivals
        self._clock = clock
        self._make_scheduler = make_scheduler
        self._lock = threading.Lock()
        self._last: dict[str, tuple[int | None, int]] = {}
        """By source, the frame that was detected last and the one that left its channel last."""
        self._schedulers: dict[str, LiveScheduler] = {}
        self._refused: LiveScheduler | None = None

    def passes(self, frame: Frame, *, is_live: bool, n_newer: int) -> bool:
        """Whether a frame goes by without detection: it is not due, or a newer one of a live source is there."""
        n = self.every_nth
        if n is None:
            return False
        with self._lock:
            detected, seen = self._last.get(frame.source_id, (None, -1))
        # A source that was begun anew counts from 0 again.
        is_due = detected is None or frame.index <= seen or frame.index - detected >= n
        return not is_due or (is_live and n_newer > 0)

    def takes(self, frame: Frame, *, waited: bool) -> bool:
        """Whether the newest frame of a live source is to be detected now, or the next one waited for.

        Args:
            frame: the frame; of no other source one waits.
            waited: the detector was idle when it arrived.
        """
        if self._make_scheduler is None:
            return True
        with self._lock:
            scheduler = self._schedulers.get(frame.source_id)
            if scheduler is None:
                scheduler = LiveScheduler(frame.source_id, self._make_scheduler(), self._arrivals)
                self._schedulers[frame.source_id] = scheduler
            taken = scheduler.take(frame, self._clock.now_ns(), waited)
            self._refused = None if taken else scheduler
            return taken

    def patience_s(self) -> float | None:
        """How long to wait for a frame before asking again; None: until one comes."""
        with self._lock:
            return self._refused.late_in_s(self._clock.now_ns()) if self._refused is not None else None

    def took(self, frame: Frame) -> None:
        """A frame goes to the detector."""
        with self._lock:
            self._refused = None
            self._last[frame.source_id] = frame.index, frame.index

    def let_pass(self, frame: Frame) -> None:
        """A frame goes by without detection."""
        with self._lock:
            detected, _ = self._last.get(frame.source_id, (None, -1))
            self._last[frame.source_id] = detected, frame.index

    def ran(self, frames: Sequence[Frame], runtime_ns: int) -> None:
        """These frames were detected in one call that took so long."""
        with self._lock:
            for name in {frame.source_id for frame in frames} & self._schedulers.keys():
                self._schedulers[name].ran(runtime_ns)

    def forget_runtimes(self) -> None:
        """Another detector from now on."""
        with self._lock:
            for scheduler in self._schedulers.values():
                scheduler.forget_runtimes()

    def forget(self, source_id: str) -> None:
        """The source has ended."""
        with self._lock:
            self._last.pop(source_id, None)
            if self._schedulers.pop(source_id, None) is self._refused:
                self._refused = None
