"""A detector with several rungs, from heavy to light. All are ready from the start, so that a switch costs nothing."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.core.frame import Frame
from pipeline.core.protocols import Clock, Detector
from pipeline.runtime.camera_filter import CameraFilter

logger = logging.getLogger(__name__)

LEAST_TIMED, MOST_TIMED, TIMED_NS = 2, 20, 500_000_000
"""How often the run's first frames go through all rungs: until so much time has passed, within these bounds. The least
time of each rung counts: the first may compile, and other programs may take the processor away."""


class LadderDetector:
    """Detects with one of several detectors. Closing it closes them all.

    The first call of `detect` goes through every rung, to pay what a picture of that shape costs once and to measure
    what the rungs cost relative to each other.

    Args:
        rungs: two or more, of the same classes.
        names: of the rungs, for reports.
        clock: measures the first calls.

    Raises:
        UsageError: fewer than two, or another number of names.
    """

    def __init__(self, rungs: Sequence[Detector], names: Sequence[str], clock: Clock) -> None:
        if len(rungs) < 2 or len(names) != len(rungs):
            raise UsageError(f"LadderDetector: wanted two detectors or more, each with a name, found {list(names)}")
        self.names = tuple(names)
        self.rung = 0
        """The one that detects; may be changed from any thread."""
        self.n_parallel = min(int(getattr(rung, "n_parallel", 1)) for rung in rungs)
        self._rungs = tuple(rungs)
        self._clock = clock
        self._lock = threading.Lock()
        self._costs_ns: tuple[int, ...] | None = None
        self.resident_mb = 0.0
        """Memory of the process once every rung had a frame, MB; 0 before, and where the system does not tell it."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id, the same for every rung."""
        return self._rungs[0].class_names

    @property
    def costs(self) -> tuple[float, ...]:
        """What each rung takes relative to the first; all 1 before the first frame."""
        costs = self._costs_ns or (1,) * len(self._rungs)
        return tuple(cost / costs[0] for cost in costs)

    def warmup(self) -> None:
        """Pay the one-off costs of every rung."""
        for rung in self._rungs:
            rung.warmup()

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One Detections per frame, by the rung that stands."""
        with self._lock:
            if self._costs_ns is None and frames:
                self._costs_ns = self._measured_ns(frames)
                self.resident_mb = _resident_mb()
                self._tell()
        return self._rungs[self.rung].detect(frames)

    def close(self) -> None:
        """Release everything. Idempotent."""
        for rung in self._rungs:
            rung.close()

    def _tell(self) -> None:
        rungs = ", ".join(f"{name} ({cost:.2f})" for name, cost in zip(self.names, self.costs, strict=True))
        logger.info("overload: rungs and what each takes: %s; the process holds %.0f MB", rungs, self.resident_mb)

    def _measured_ns(self, frames: Sequence[Frame]) -> tuple[int, ...]:
        """The least time of each rung."""
        timed_ns: list[list[int]] = []
        while len(timed_ns) < LEAST_TIMED or (len(timed_ns) < MOST_TIMED and sum(map(sum, timed_ns)) < TIMED_NS):
            timed_ns.append([self._timed_ns(rung, frames) for rung in self._rungs])
        return tuple(map(min, *timed_ns))

    def _timed_ns(self, rung: Detector, frames: Sequence[Frame]) -> int:
        began_ns = self._clock.now_ns()
        rung.detect(frames)
        return max(self._clock.now_ns() - began_ns, 1)


def ladder_of(detector: Detector) -> LadderDetector | None:
    """The ladder behind a run's detector, if it is one."""
    inner = detector.detector if isinstance(detector, CameraFilter) else detector
    return inner if isinstance(inner, LadderDetector) else None


def _resident_mb() -> float:
    """Memory of this process, MB; 0 where the system does not tell it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
