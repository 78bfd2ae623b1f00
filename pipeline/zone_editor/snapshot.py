"""One picture of a source, to draw rules on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config.build import build_sources, load_run_config
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source

_LIVE_AFTER_S = 1.0
"""Of a live source: the first pictures of many cameras are dark, or wait for a key frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A picture and the source that it came from."""

    info: StreamInfo
    frame: Frame


def take_snapshot(source: str, at_s: float | None, config: str | None, settings: Sequence[str]) -> Snapshot:
    """The picture at a time of a recorded source, the first one without a time, the newest of a live one.

    Args:
        source: what `--source` takes; it must name one source.
        at_s: media time (s); only of a recorded source.
        config: configuration file of a run, for the source's settings.
        settings: `key=value` over it.

    Raises:
        UsageError: several sources, or a time that the source does not have.
        SourceError: the source cannot be read.
    """
    if at_s is not None and not at_s >= 0:
        raise UsageError(f"--at: wanted a time of 0 s or more, found {at_s}")
    made = build_sources(load_run_config(config, {"sources": [source]}, settings), MonotonicClock())
    if len(made) != 1:
        names = ", ".join(one.source_id for one in made[:5])
        raise UsageError(f"--source: wanted one source to draw on, found {len(made)} ({names}); name one of them")
    opened = made[0]
    try:
        info = opened.open()
        if info.is_live and at_s is not None:
            raise UsageError(f"--at: wanted a recorded source, found {info.source_id}, which is live; leave --at out")
        frame = _newest(opened) if info.is_live else _frame_at(opened, at_s or 0.0)
    finally:
        opened.close()
    return Snapshot(info, frame)


def _frame_at(source: Source, at_s: float) -> Frame:
    last_s = 0.0
    while (frame := source.read()) is not None:
        last_s = frame.pts_s if frame.pts_s is not None else 0.0
        # Pictures in a folder have no time: the first is as good as any.
        if frame.pts_s is None or last_s >= at_s:
            return frame
    raise UsageError(f"--at: wanted a picture of {source.source_id} at {at_s:g} s, found its end at {last_s:.2f} s")


def _newest(source: Source) -> Frame:
    first = frame = source.read()
    while first is not None and frame is not None and frame.captured_ns - first.captured_ns < _LIVE_AFTER_S * 1e9:
        frame = source.read()
    if frame is None:
        raise SourceError(f"{source.source_id}: wanted a picture, found that the stream has ended")
    return frame
