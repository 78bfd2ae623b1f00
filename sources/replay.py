"""A recording played as if it were live: each frame appears when its time has come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Clock, Source


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReplayConfig:
    """How a recording is paced."""

    fps: float | None = Field(
        default=None, gt=0, description="frames per second; null = by the recording's own media time"
    )
    speed: float = Field(default=1.0, gt=0, description="2 plays twice as fast")
    loop: bool = Field(default=False, description="begin again at the end, for ever; media time goes on")
    decode_in_time: bool = Field(
        default=False,
        description="decode each frame when its time has come, so that this counts as latency; needs fps",
    )

    def __post_init__(self) -> None:
        if self.decode_in_time and self.fps is None:
            raise ValueError("decode_in_time needs fps: a frame's own time is known only once it is decoded")


class ReplaySource:
    """A live source with an exact schedule, from a recorded one.

    `captured_ns` is the scheduled instant t0 + media time / speed (t0 = the first `read`), not the instant at which the
    frame was handed over: it is exact by construction, which streaming accuracy (Li et al., "Towards Streaming
    Perception", ECCV 2020, section 3) needs. A reader that comes late gets its frames at once, with their old instants.
    Frames are decoded ahead of their time, unless the config says `decode_in_time`.

    Args:
        config: the pace.
        make_source: makes the recorded source (a video file, or images); again for every loop.
        source_id: unique name of the source within the run.
        clock: clock of the schedule.
    """

    def __init__(
        self, config: ReplayConfig, make_source: Callable[[], Source], *, source_id: str, clock: Clock
    ) -> None:
        self._config = config
        self._make_source = make_source
        self._source_id = source_id
        self._clock = clock
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._inner: Source | None = None
        self._period = Fraction(1, 25)
        self._begin_ns: int | None = None
        self._index = 0
        self._loop_begin = Fraction(0)
        self._first_pts: Fraction | None = None
        self._last = Fraction(0)
        self._counters: dict[str, int] = {"loops": 0}

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """The recording's own counters, and `loops`: how often it began again."""
        return dict(self._counters)

    def open(self) -> StreamInfo:
        """Open the recording.

        Raises:
            SourceError: the recording cannot be opened, or is live itself.
            UsageError: the source is open already.
        """
        if self._inner is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        info = self._open_inner()
        if info.is_live:
            raise SourceError(f"{self._source_id}: wanted a recording to replay, found a live source")
        fps = self._config.fps or info.declared_fps
        if fps:
            self._period = 1 / Fraction(fps)
        return replace(
            info,
            source_id=self._source_id,
            declared_fps=fps * self._config.speed if fps else None,
            is_live=True,
            n_frames=None if self._config.loop else info.n_frames,
        )

    def read(self) -> Frame | None:
        """The next frame, not before its time; None at the end or after `interrupt`.

        Raises:
            SourceError: the recording failed, or has no media time and no `fps` is given.
        """
        if self._inner is None:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        if self._config.decode_in_time and not self._clock.wait_until(
            self._due_ns(self._media_time(None)), self._interrupted
        ):
            return None
        frame = self._next_frame(self._inner)
        if frame is None or self._interrupted.is_set():
            return None
        at = self._media_time(frame)
        due_ns = self._due_ns(at)
        if not self._clock.wait_until(due_ns, self._interrupted):
            return None
        self._last = at
        replayed = replace(
            frame,
            source_id=self._source_id,
            index=self._index,
            pts_s=float(at),
            captured_ns=due_ns,
            clock=CaptureClock.SCHEDULED,
        )
        self._index += 1
        return replayed

    def interrupt(self) -> None:
        """Make `open` and `read` return, a wait for the next frame's time included."""
        self._interrupted.set()
        with self._lock:
            if self._inner is not None:
                self._inner.interrupt()

    def close(self) -> None:
        """Close the recording. Idempotent."""
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()

    def _next_frame(self, inner: Source) -> Frame | None:
        frame = inner.read()
        self._count(inner)
        if frame is not None or not self._config.loop or self._interrupted.is_set():
            return frame
        self.close()
        self._counters["loops"] += 1
        self._loop_begin = self._last + self._period
        self._first_pts = None
        self._open_inner()
        return self._inner.read() if self._inner is not None else None

    def _open_inner(self) -> StreamInfo:
        inner = self._make_source()
        with self._lock:
            self._inner = inner
            if self._interrupted.is_set():
                inner.interrupt()
        return inner.open()

    def _count(self, inner: Source) -> None:
        loops = self._counters["loops"]
        self._counters = {**inner.counters, "loops": loops}

    def _due_ns(self, at: Fraction) -> int:
        """When a frame's time comes; the first one's is now."""
        if self._begin_ns is None:
            self._begin_ns = self._clock.now_ns()
        return self._begin_ns + round(at / Fraction(self._config.speed) * 1_000_000_000)

    def _media_time(self, frame: Frame | None) -> Fraction:
        """Seconds since the first frame, loops before included. Exact: rounding happens once, to a nanosecond."""
        if self._config.fps is not None:
            return self._index / Fraction(self._config.fps)
        if frame is None or frame.pts_s is None:
            raise SourceError(f"{self._source_id}: these frames have no media time to replay by; set fps")
        pts = Fraction(frame.pts_s)
        if self._first_pts is None:
            self._first_pts = pts
        return self._loop_begin + pts - self._first_pts
