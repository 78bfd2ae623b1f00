"""The stages of a pipeline, as structural types: a class that has the methods is the stage, without a base class."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from pipeline.core.control import RunControl
from pipeline.core.detections import Detections
from pipeline.core.event import Event
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene
from pipeline.core.tracks import Tracks


class Clock(Protocol):
    """One monotonic clock in integer nanoseconds."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary origin; never goes back."""

    def wait_until(self, at_ns: int, interrupted: threading.Event) -> bool:
        """Sleep until `at_ns`; False if `interrupted` was set first."""


@runtime_checkable
class Source(Protocol):
    """Frames from somewhere. `open`, `read` and `close` are called from one thread, `interrupt` from any."""

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""

    def open(self) -> StreamInfo:
        """Open the source. Raises SourceError."""

    def read(self) -> Frame | None:
        """The next frame; None at the clean end or after `interrupt`. Raises SourceError on failure."""

    def interrupt(self) -> None:
        """Make a blocked or later `open` or `read` return soon. From any thread; idempotent."""

    def close(self) -> None:
        """Release everything. Idempotent; also after a failed `open`."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What the source left out or went through, by name (`corrupt`, `reconnects`, ...); {} where nothing."""


@runtime_checkable
class Detector(Protocol):
    """Boxes for frames. A batch is the only form."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""

    def warmup(self) -> None:
        """Pay the one-off costs (allocation, compilation) before the first frame."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One Detections per frame, in the same order."""

    def close(self) -> None:
        """Release everything. Idempotent."""


@dataclass(frozen=True, slots=True)
class IoSpec:
    """What a backend takes and gives.

    Attributes:
        stride: height and width of the input must be multiples of it.
        fixed_hw: the only input height and width, or None for any multiple of the stride.
        max_batch: largest batch, or None for any.
        num_classes: nc.
        output: `maps`: a list, per level of the head, of logits (b, na * (5 + nc), ny, nx); `candidates`: decoded
            (b, k, 5 + nc): cx, cy, w, h px, objectness, classes; `boxes`: after the runtime's own suppression,
            (b, n, 6): xyxy px, confidence, class_id, by falling confidence, with rows of confidence 0 behind them.
        n_parallel: how many threads may be in `infer` at once.
        compiles_shapes: whether the first picture of each height and width costs a compilation.
    """

    stride: int
    fixed_hw: tuple[int, int] | None
    max_batch: int | None
    num_classes: int
    output: Literal["maps", "candidates", "boxes"] = "candidates"
    n_parallel: int = 1
    compiles_shapes: bool = False


@runtime_checkable
class Backend(Protocol):
    """One inference runtime."""

    @property
    def io_spec(self) -> IoSpec:
        """What it takes and gives."""

    def infer(self, images: Any) -> Any:
        """Letterboxed pictures, uint8 (b, h, w, 3) BGR, to what `io_spec.output` says, floats on any device."""

    def close(self) -> None:
        """Release everything. Idempotent."""


@runtime_checkable
class Tracker(Protocol):
    """Ids for boxes. One instance per source; ids are counted in the instance."""

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        """Take the detections of the next frame of the source and return its confirmed tracks."""

    def reset(self) -> None:
        """Forget everything; ids go on, so that none is used again."""


@runtime_checkable
class ForecastingTracker(Tracker, Protocol):
    """A tracker that can tell where its tracks are going."""

    def motion(self) -> TrackMotion:
        """How the tracks that the last `update` returned move, row by row; empty before it and after `reset`."""


@runtime_checkable
class Analyst(Protocol):
    """Counts and events from tracks. One instance per source."""

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        """Take the tracks of the next frame of the source; what happened at it, and how things stand."""

    def finish(self) -> Closing:
        """The source has ended: end what goes on. Nothing comes after it."""


@runtime_checkable
class Sink(Protocol):
    """Where results go. All methods are called from one thread.

    A shared sink serves every source of the run (`open` once per source, before its first result); a sink that is not
    shared gets results of one source only.
    """

    needs_image: bool
    needs_main_thread: bool
    is_live: bool
    """True: people watch it now, so old results are dropped. False: a record; every result is written."""
    shared: bool

    def open(self, info: StreamInfo) -> None:
        """Get ready for a source. Raises SinkError."""

    def write(self, result: FrameResult) -> None:
        """Take one result. Raises SinkError; StopRequest when the person watching asks for the end."""

    def close(self) -> None:
        """Finish: what was written is complete and usable. Idempotent; also after a failed `open`."""


@runtime_checkable
class PolledSink(Sink, Protocol):
    """A sink with a window: it must answer the window system while no results come."""

    def poll(self) -> None:
        """Handle what happened to the window. Raises StopRequest when the person watching asks for the end."""


@runtime_checkable
class ClosingSink(Sink, Protocol):
    """A sink that keeps what analytics say at a source's end."""

    def end_source(self, closing: Closing) -> None:
        """The source has ended; called once after its last result and before `close`. Raises SinkError."""


@runtime_checkable
class CompensatedSink(Sink, Protocol):
    """A sink whose boxes need not be those of their own frame, where the run makes up for latency."""

    @property
    def compensated(self) -> str:
        """`data` or `pictures`.

        `data`: it tells programs how the world is now, so tracks are moved to now. `pictures`: it shows pictures to
        people, so that only a newer picture is a reason to move tracks: to the instant at which that was captured.
        """


@runtime_checkable
class FrameWatchingSink(Sink, Protocol):
    """A sink that takes every result as it is, and shows pictures that are newer than that beside it."""

    def see(self, frame: Frame) -> None:
        """A frame of a live source was just read. Called from the source's own thread: it must not wait."""


@runtime_checkable
class ReleasingSink(Sink, Protocol):
    """A sink that serves several sources and keeps files or connections open for each."""

    def release(self, source_id: str) -> None:
        """The source has ended: finish what is its own. After its last result; it may come back. Raises SinkError."""


@runtime_checkable
class SteeringSink(Sink, Protocol):
    """A sink through which people watch and steer the run."""

    def steer(self, control: RunControl) -> None:
        """What it watches and steers; called once, before the run begins."""
