"""The sources of a run, each in its own thread: opened, read, stopped, and replaced while the run goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.core.errors import SourceError, StageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.channel import Channel, ChannelClosedError, Policy
from pipeline.runtime.ledger import Ledger
from pipeline.runtime.statistics import RunStatistics
from pipeline.runtime.worker import Work, Worker


@dataclass(frozen=True, slots=True)
class IntakeWiring:
    """What a source's thread works with.

    Attributes:
        batcher: where its channel goes.
        ledger: counts what it gives.
        statistics: gets the durations of `read:<source>`.
        recorded_capacity: frames held between a recorded source and the detector.
        max_frames: frames read from each source, or None for all.
        opened: called with what a source says of itself, before its first frame.
        failed: gets the StageError that ended a source.
        drop: counts frames that nobody will get.
        seen: gets every frame of a live source, once it is on its way to the detector; must not wait.
        arrived: gets every frame of a live source, just before it is; must not wait.
        live_capacity: frames held between a live source and the detector.
    """

    batcher: Batcher
    ledger: Ledger
    statistics: RunStatistics
    recorded_capacity: int
    max_frames: int | None
    opened: Callable[[StreamInfo], None]
    failed: Callable[[StageError], None]
    drop: Callable[[Iterable[Frame]], None]
    seen: Callable[[Frame], None]
    arrived: Callable[[Frame], None]
    live_capacity: int = 1


class SourceReader:
    """One source and its thread.

    Args:
        source: read until its end, its failure or `stop`.
        wiring: what it works with.
        before: the reader of the same name that this one replaces: it ends first.

    Attributes:
        source: as given.
        worker: the thread.
        info: what the source said of itself, None until it is open.
        error: what ended it, or None.
        removed: it was asked to go for good.
    """

    def __init__(self, source: Source, wiring: IntakeWiring, before: SourceReader | None = None) -> None:
        self.source = source
        self.worker = Worker(f"source:{source.source_id}", self._read, self._failed)
        self.info: StreamInfo | None = None
        self.error: StageError | None = None
        self.removed = False
        self._channel: Channel[Frame] | None = None
        self._life: object = None
        self._wiring = wiring
        self._before = before
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._is_over = False
        self._is_abandoned = False
        wiring.ledger.open(source.source_id)
        wiring.statistics.add_source(source.source_id)
        wiring.batcher.expect(self)

    def stop(self) -> None:
        """Ask for the end; what was read is still processed. From any thread; idempotent."""
        self._stopping.set()
        self.source.interrupt()

    def remove(self) -> None:
        """Ask for the end, for good."""
        with self._lock:
            self.removed = True
            is_over = self._is_over
        self.stop()
        if is_over:
            # Its end was told before anybody knew that it is for good.
            self._wiring.batcher.end(self.source.source_id)

    def abandon(self) -> None:
        """Give up on a thread that hangs: another reader may begin, and what this one reads yet is refused."""
        self._is_abandoned = True
        self.stop()
        self._wiring.batcher.give_up(self)
        if self._channel is not None:
            self._channel.close()

    def note_life(self) -> None:
        """A source that tries to connect does not hang: each attempt counts as a new piece of work."""
        life = getattr(self.source, "attempts", None)
        if life != self._life and self.worker.work is not None:
            self.worker.work = Work(time.monotonic_ns())
        self._life = life

    def _failed(self, error: StageError) -> None:
        self.error = error
        self._wiring.failed(error)

    def _read(self, worker: Worker) -> None:
        channel: Channel[Frame] | None = None
        source = self.source
        try:
            if self._before is not None:
                self._before.stop()
                self._before.worker.join()
                self._before = None
            if not self._stopping.is_set():
                with worker.busy():
                    info = source.open()
                if not self._is_abandoned:
                    channel = self._opened(info)
                    self._read_frames(channel, worker)
        except SourceError:
            # A source that is interrupted while it opens says so by failing; that is what was asked for.
            if not self._stopping.is_set():
                raise
        finally:
            with self._lock:
                self._is_over = True
            if channel is not None:
                channel.close()
            elif not self._is_abandoned:
                self._wiring.batcher.end(source.source_id)
            self._wiring.batcher.give_up(self)
            source.close()

    def _opened(self, info: StreamInfo) -> Channel[Frame]:
        """A channel for a source that has opened: its kind fixes the policy."""
        wiring = self._wiring
        if info.is_live:
            channel: Channel[Frame] = Channel(wiring.live_capacity, Policy.NEWEST, wiring.batcher.changed)
        else:
            channel = Channel(wiring.recorded_capacity, Policy.BLOCK, wiring.batcher.changed)
        self.info = info
        self._channel = channel
        wiring.opened(info)
        wiring.batcher.add(info.source_id, channel)
        return channel

    def _read_frames(self, channel: Channel[Frame], worker: Worker) -> None:
        wiring = self._wiring
        name = self.source.source_id
        reading = wiring.statistics.stage(f"read:{name}")
        n_read = 0
        while wiring.max_frames is None or n_read < wiring.max_frames:
            began_ns = time.monotonic_ns()
            with worker.busy():
                frame = self.source.read()
            if frame is None:
                return
            reading.add(time.monotonic_ns() - began_ns)
            worker.at = frame
            n_read += 1
            wiring.ledger.produced(name)
            wiring.statistics.was_read(name)
            if self.info is not None and self.info.is_live:
                wiring.arrived(frame)
            try:
                displaced = channel.put(frame)
            except ChannelClosedError:
                wiring.drop([frame])
                raise
            if displaced is not None:
                wiring.ledger.dropped(name, "newer")
            if self.info is not None and self.info.is_live:
                wiring.seen(frame)
