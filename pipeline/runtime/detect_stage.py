"""Detection: one thread, or several where the detector can be called by several at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.cores import usable_cores
from pipeline.core.detections import Detections
from pipeline.core.errors import StageError, UsageError
from pipeline.core.frame import Frame
from pipeline.core.protocols import Clock, Detector
from pipeline.core.timeline import Timeline
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.channel import Channel, Policy
from pipeline.runtime.in_order import InOrder
from pipeline.runtime.statistics import RunStatistics
from pipeline.runtime.worker import Worker


@dataclass(slots=True)
class DetectedFrame:
    """A frame on its way from the detector to its tracker. `passed`: it was not detected, and is to be filled in."""

    frame: Frame
    detections: Detections
    timeline: Timeline
    passed: bool = False


@dataclass(frozen=True, slots=True)
class SourceEnd:
    """Nothing of this source comes any more; it follows the source's last frame."""

    source_id: str


class DetectStage:
    """Takes batches, detects, and hands the frames on in the order in which they were taken.

    Args:
        detector: called by `n_workers` threads at once.
        batcher: where the frames come from.
        n_workers: threads, or None for as many as the detector can serve (`n_parallel`, 1 where it does not say), at
            most one per core. None also means one thread from the moment `yield_to_live` is called: a live source's
            newest frame is looked at with all cores, not in half as many beside an older one.
        clock: clock of the stamps.
        statistics: gets the durations of `queue` and `detect`.
        drop: counts frames that nobody will get; True where the detector failed on them.
        on_error: gets the StageError of a thread that failed.
        ran: told of every call of the detector: its frames, and from when until when.

    Attributes:
        detected: what comes out.
        workers: the threads, for the runner to start and join.
    """

    def __init__(
        self,
        detector: Detector,
        batcher: Batcher,
        n_workers: int | None,
        *,
        clock: Clock,
        statistics: RunStatistics,
        drop: Callable[[Iterable[Frame], bool], None],
        on_error: Callable[[StageError], None],
        ran: Callable[[Sequence[Frame], int, int], None] | None = None,
    ) -> None:
        if n_workers is not None and n_workers < 1:
            raise UsageError(f"Runner: wanted 1 detect worker or more, found {n_workers}")
        n_started = n_workers or min(int(getattr(detector, "n_parallel", 1)), usable_cores())
        self._detector = detector
        self._batcher = batcher
        self._clock = clock
        self._statistics = statistics
        self._drop = drop
        self._ran = ran
        self._may_yield = n_workers is None
        self._live = threading.Event()
        self._lock = threading.Lock()
        self._n_running = n_started
        self._is_warm = False
        self.detected: Channel[DetectedFrame | SourceEnd] = Channel(max(2, batcher.max_batch), Policy.BLOCK)
        self._order = InOrder(self._next_batch, self.detected, 2 * n_started, self._lose)
        self.workers = [Worker("detect", self._loop(first=number == 0), on_error) for number in range(n_started)]
        statistics.set_threads("detect", n_started)

    def yield_to_live(self) -> None:
        """A live source is there: go on with one thread, unless the number of threads was given."""
        if self._may_yield:
            self._live.set()
            self._statistics.set_threads("detect", 1)

    def abort(self) -> list[Frame]:
        """Stop at once. Returns the frames that nobody will get."""
        return _frames([*self.detected.abort(), *self._order.abort()])

    def _loop(self, *, first: bool) -> Callable[[Worker], None]:
        def loop(worker: Worker) -> None:
            try:
                while first or not self._live.is_set():
                    number, (batch, passed, ended) = self._order.take()
                    if not batch and not ended:
                        return
                    found = self._detect(worker, batch, passed) if batch else []
                    self._order.done(number, [*found, *map(SourceEnd, ended)])
            finally:
                self._leave()

        return loop

    def _leave(self) -> None:
        with self._lock:
            self._n_running -= 1
            is_last = self._n_running == 0
        if is_last:
            self.detected.close()

    def _next_batch(self) -> tuple[list[Frame], set[Frame], list[str]]:
        """Frames, those of them that pass undetected, and sources that end with them; nothing once all have ended."""
        if not self._is_warm:
            self._detector.warmup()
            self._is_warm = True
        return self._batcher.gather(), self._batcher.passed(), self._batcher.ended()

    def _detect(self, worker: Worker, batch: list[Frame], passed: set[Frame]) -> list[DetectedFrame]:
        worker.at = batch[0]
        wanted = [frame for frame in batch if frame not in passed]
        dequeued_ns = self._clock.now_ns()
        try:
            with worker.busy():
                found = self._detector.detect(wanted) if wanted else []
            end_ns = self._clock.now_ns()
            detections = dict(zip(wanted, found, strict=True))
        except Exception:
            self._drop(batch, True)
            raise
        if wanted:
            self._statistics.stage("detect").add(end_ns - dequeued_ns)
            if self._ran is not None:
                self._ran(wanted, dequeued_ns, end_ns)
        for frame in wanted:
            self._statistics.stage("queue").add(dequeued_ns - frame.captured_ns)
        return [_item(frame, detections.get(frame), dequeued_ns, end_ns) for frame in batch]

    def _lose(self, items: Iterable[DetectedFrame | SourceEnd]) -> None:
        self._drop(_frames(items), False)


def _item(frame: Frame, found: Detections | None, dequeued_ns: int, end_ns: int) -> DetectedFrame:
    if found is None:
        return DetectedFrame(frame, Detections.empty(), Timeline(frame.captured_ns, end_ns, end_ns, end_ns), True)
    return DetectedFrame(frame, found, Timeline(frame.captured_ns, dequeued_ns, dequeued_ns, end_ns))


def _frames(items: Iterable[DetectedFrame | SourceEnd]) -> list[Frame]:
    return [item.frame for item in items if isinstance(item, DetectedFrame)]
