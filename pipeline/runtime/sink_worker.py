"""A sink behind its own channel and thread, so that a slow or stuck sink holds up only itself."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pipeline.core.control import QueueDepth, SinkAccount
from pipeline.core.errors import StageError, StopRequest
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import ClosingSink, FrameWatchingSink, PolledSink, ReleasingSink, Sink
from pipeline.core.result import FrameResult
from pipeline.core.run_facts import RunSink
from pipeline.core.scene import Closing
from pipeline.runtime.channel import Channel, ChannelClosedError
from pipeline.runtime.compensate import Compensation
from pipeline.runtime.latency import Durations
from pipeline.runtime.report import SinkReport
from pipeline.runtime.worker import Worker


@dataclass(frozen=True, slots=True)
class SourceOver:
    """A source has ended; what its analytics say, where it has any."""

    source_id: str
    closing: Closing | None


Item = FrameResult | Frame | SourceOver
"""What a sink's channel carries. A frame stands for a picture of it with what is known by then."""


@dataclass(frozen=True, slots=True)
class SinkBinding:
    """A sink and whose results it gets.

    Attributes:
        name: unique within the run.
        sink: not open yet.
        source_id: whose results it gets, or None for everyone's.
        remake: makes the sink again where it hangs; None for one that cannot be made beside its hanging self.
    """

    name: str
    sink: Sink
    source_id: str | None = None
    remake: Callable[[], Sink] | None = None

    def wants(self, source_id: str) -> bool:
        """Whether the results of this source go to the sink."""
        return self.source_id is None or self.source_id == source_id


class SinkLine:
    """One sink's channel, thread and account.

    Args:
        binding: the sink and whose results it gets.
        channel: a recording sink's blocks, a live sink's drops the oldest.
        writing: durations of `write`.
        on_error: gets the StageError that ends the sink.
        on_stop: called when the person watching asks for the end.
        compensation: which boxes the sink gets, and on which picture.
        info_of: what a source said of itself.
        on_written: gets every result once it is written; None: nobody asks.
    """

    def __init__(
        self,
        binding: SinkBinding,
        channel: Channel[Item],
        writing: Durations,
        on_error: Callable[[StageError], None],
        on_stop: Callable[[], None],
        compensation: Compensation,
        info_of: Callable[[str], StreamInfo],
        on_written: Callable[[FrameResult], None] | None = None,
    ) -> None:
        self.binding = binding
        self.worker = Worker(f"sink:{binding.name}", self._loop, on_error)
        self._channel = channel
        self._writing = writing
        self._on_stop = on_stop
        self._compensation = compensation
        self._on_written = on_written
        self._info_of = info_of
        self._announced: deque[StreamInfo] = deque()
        self._opened: set[str] = set()
        self._is_let_go = False
        self.has_ended = False
        """Nothing comes any more."""
        self._lock = threading.Lock()
        self._n_written = 0
        self._pump_ended = False

    # -- from the runner ----------------------------------------------------------------------------------------------

    def announce(self, info: StreamInfo) -> None:
        """A source opened: the sink opens for it before that source's first result."""
        if self.binding.wants(info.source_id):
            with self._lock:
                self._announced.append(info)

    def hand(self, result: FrameResult) -> None:
        """Pass a result on. Raises ChannelClosedError once the sink has failed."""
        source_id = result.frame.source_id
        if self.binding.wants(source_id) and not self._compensation.shows_frames(self.binding.sink, source_id):
            try:
                self._channel.put(result)
            except ChannelClosedError:
                if not self._is_let_go:
                    raise

    def see(self, frame: Frame) -> None:
        """A frame of a live source was just read; for a sink that shows pictures newer than their results."""
        sink = self.binding.sink
        if not self.binding.wants(frame.source_id) or not self._compensation.wants_frames(sink, frame.source_id):
            return
        if isinstance(sink, FrameWatchingSink):
            sink.see(frame)
            return
        # A sink that is gone ends nothing but itself, least of all the source.
        with suppress(ChannelClosedError):
            self._channel.put(frame)

    def end_source(self, source_id: str, closing: Closing | None) -> None:
        """A source has ended; told to the sink after the source's last result. `closing`: what its analytics say."""
        if self.binding.wants(source_id) and isinstance(self.binding.sink, ClosingSink | ReleasingSink):
            # A sink that is gone hears of no end.
            with suppress(ChannelClosedError):
                self._channel.note(SourceOver(source_id, closing))

    def end(self) -> None:
        """No more results: the sink writes what it holds and closes."""
        self.has_ended = True
        self._channel.close()

    def abort(self) -> None:
        """The sink closes without the results it has not written."""
        self._channel.abort()

    def let_go(self) -> None:
        """Go on without a sink that hangs: what is handed to it yet is lost, and ends nobody."""
        self._is_let_go = True
        self._channel.abort()

    def end_run(self, status: str) -> None:
        """Tell a sink that keeps a record of the run how it ended; after its thread has."""
        if isinstance(self.binding.sink, RunSink) and not self.worker.alive:
            self.binding.sink.end_run(status)

    def account(self) -> SinkReport:
        """Results handed over, written and dropped."""
        counters = dict(getattr(self.binding.sink, "counters", {}))
        n_handed = self._channel.n_put
        return SinkReport(n_handed, self._n_written, n_handed - self._n_written, counters)

    def account_now(self) -> SinkAccount:
        """As `account`, while the run goes on: what is still held counts as neither written nor dropped."""
        counters = dict(getattr(self.binding.sink, "counters", {}))
        return SinkAccount(self._channel.n_put, self._n_written, self._channel.n_displaced, counters)

    def depth(self) -> QueueDepth:
        """Results that wait for the sink."""
        return QueueDepth(len(self._channel), self._channel.capacity)

    # -- the sink's thread --------------------------------------------------------------------------------------------

    def _loop(self, worker: Worker) -> None:
        try:
            while True:
                self._step(worker, timeout_s=None)
        finally:
            self._close()

    def _step(self, worker: Worker, timeout_s: float | None) -> None:
        """Write the next result, if one comes in time. Raises ChannelClosedError at the end."""
        result = self._channel.get(timeout_s)
        sink = self.binding.sink
        if result is None:
            if isinstance(sink, PolledSink):
                self._watched(sink.poll)
            return
        with worker.busy():
            self._take(worker, result)

    def _take(self, worker: Worker, item: Item) -> None:
        self._open_announced()
        if isinstance(item, SourceOver):
            self._tell_end(item)
            return
        compensation, sink = self._compensation, self.binding.sink
        result = compensation.view(item) if isinstance(item, Frame) else compensation.for_sink(sink, item)
        if result is None:
            return
        worker.at = result.frame
        if result.frame.source_id not in self._opened:
            # The source was there before the sink.
            self._open(self._info_of(result.frame.source_id))
        began_ns = time.monotonic_ns()
        self._watched(lambda: sink.write(result))
        self._n_written += 1
        self._writing.add(time.monotonic_ns() - began_ns)
        if self._on_written is not None:
            self._on_written(result)

    def _watched(self, action: Callable[[], None]) -> None:
        try:
            action()
        except StopRequest:
            self._on_stop()

    def _open_announced(self) -> None:
        while True:
            with self._lock:
                if not self._announced:
                    return
                info = self._announced.popleft()
            self._open(info)

    def _open(self, info: StreamInfo) -> None:
        self.binding.sink.open(info)
        self._opened.add(info.source_id)

    def _tell_end(self, over: SourceOver) -> None:
        sink = self.binding.sink
        if over.closing is not None and isinstance(sink, ClosingSink):
            sink.end_source(over.closing)
        if isinstance(sink, ReleasingSink):
            sink.release(over.source_id)

    def _close(self) -> None:
        """A source without frames still leaves a complete, empty output; a failed run does not."""
        try:
            if self._channel.finished and not self._channel.aborted:
                self._open_announced()
        finally:
            self.binding.sink.close()

    # -- the main thread, for a sink that needs it --------------------------------------------------------------------

    def pump(self, timeout_s: float) -> bool:
        """Write at most one result in the calling thread; False once the sink is closed."""
        if self._pump_ended:
            return False
        if not self.worker.guard(lambda worker: self._step(worker, timeout_s)):
            self._pump_ended = True
            self.worker.guard(lambda worker: self._close())
        return not self._pump_ended

    def pump_rest(self) -> None:
        """Write what is left and close."""
        self.end()
        while self.pump(timeout_s=0.0):
            pass
