"""What latency costs the live sources of a run: fed with what is emitted and shown, asked by whoever reports."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.result import FrameResult
from pipeline.runtime.compensate import Compensate
from pipeline.runtime.latency import Durations
from pipeline.runtime.report import StreamingReport
from pipeline.streaming.self_consistency import SelfConsistency


class Moment(StrEnum):
    """When somebody has a result."""

    EMISSION = "emission"
    """It is handed to the outputs."""
    DISPLAY = "display"
    """The first live output has written it."""


FRAMES_PER_S = 20.0
"""Frames that are asked about, of each source: what more of them would tell is not worth its time."""
NOT_ASKED = "not estimated: runtime.latency_cost is off"
NOT_LIVE = "none: a recorded source that is read as fast as it goes has no latency"
NOT_TRACKED = "not estimated: it takes a tracker"
TOO_EARLY = "not estimated: too few results"


@dataclass(slots=True)
class _Source:
    """One live source. `scene` belongs to the thread that emits, `displayed` is changed under the lock."""

    consistency: SelfConsistency
    age_at_display: Durations = field(default_factory=Durations)
    scene: tuple[int, tuple[int, int], int] | None = None
    is_tracked: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)
    displayed: int = -1


class LatencyAccount:
    """The accounts of all sources.

    Args:
        offline_ap50: AP50 that the pipeline reaches on such footage without latency, 0 to 1; None = not known.
        compensate: to when the run moves tracks.
        is_on: False: nothing is counted.
        frames_per_s: frames of each source that are asked about; None = every one.
    """

    def __init__(
        self,
        offline_ap50: float | None = None,
        compensate: Compensate = Compensate.OFF,
        *,
        is_on: bool = True,
        frames_per_s: float | None = FRAMES_PER_S,
    ) -> None:
        self._offline_ap50 = offline_ap50
        self._moves = compensate is not Compensate.OFF
        self._is_on = is_on
        self._frames_per_s = frames_per_s
        # Entries are added by the sources' threads and stay; a look-up needs no lock.
        self._sources: dict[str, _Source] = {}

    def opened(self, info: StreamInfo) -> None:
        """A source is open, for the first time or again."""
        if self._is_on and info.is_live:
            account = SelfConsistency(*Moment, frames_per_s=self._frames_per_s)
            self._sources.setdefault(info.source_id, _Source(account))

    def emitted(self, result: FrameResult) -> None:
        """A result of any source was just emitted. From one thread."""
        source = self._sources.get(result.frame.source_id)
        if source is None:
            return
        if not result.tracked:
            source.is_tracked = False
            return
        frame, emitted_ns = result.frame, result.timeline.emitted
        if emitted_ns is None:
            return
        self._note_scene(source, frame)
        shown = result.moved_to(emitted_ns) if self._moves else result
        consistency = source.consistency
        consistency.shown(Moment.EMISSION, emitted_ns, frame.index, frame.captured_ns, shown.tracks)
        if not result.filled:
            consistency.said(frame.index, frame.captured_ns, emitted_ns, result.tracks)

    def displayed(self, result: FrameResult, at_ns: int) -> None:
        """A live output has written a result, or a newer frame with what a result says of it. From any thread."""
        source = self._sources.get(result.frame.source_id)
        if source is None or not result.tracked:
            return
        frame = result.frame
        with source.lock:
            if frame.index <= source.displayed:
                return
            source.displayed = frame.index
            source.age_at_display.add(at_ns - frame.captured_ns)
            source.consistency.shown(Moment.DISPLAY, at_ns, frame.index, frame.captured_ns, result.tracks)

    def ended(self, source_id: str) -> None:
        """A source has ended; should it come back, it counts its frames from 0. From the thread that emits."""
        source = self._sources.get(source_id)
        if source is not None:
            self._begin_anew(source)

    def costs(self, source_id: str) -> dict[str, LatencyCost]:
        """What latency has cost a source in the last half minute, by Moment; those that are not known left out."""
        source = self._sources.get(source_id)
        if source is None:
            return {}
        costs = {moment: source.consistency.cost(moment, self._offline_ap50, recent=True) for moment in Moment}
        return {str(moment): cost for moment, cost in costs.items() if cost is not None}

    def report(self, infos: Mapping[str, StreamInfo]) -> dict[str, StreamingReport]:
        """What latency has cost every source since the run began."""
        return {name: self._report(name) for name in infos}

    def _report(self, source_id: str) -> StreamingReport:
        source = self._sources.get(source_id)
        if source is None:
            return StreamingReport(NOT_LIVE if self._is_on else NOT_ASKED)
        if not source.is_tracked:
            return StreamingReport(NOT_TRACKED)
        ages = source.age_at_display.over_run()
        emission, display = (source.consistency.cost(moment, self._offline_ap50) for moment in Moment)
        return StreamingReport("" if emission else TOO_EARLY, ages if ages.count else None, emission, display)

    def _note_scene(self, source: _Source, frame: Frame) -> None:
        """Frames after a break, of another size, or counted from 0 again have nothing to do with those before."""
        before = source.scene
        source.scene = (frame.n_breaks, frame.shape_hw, frame.index)
        if before is not None and (before[:2] != source.scene[:2] or frame.index <= before[2]):
            self._begin_anew(source)

    def _begin_anew(self, source: _Source) -> None:
        source.consistency.begin_anew()
        with source.lock:
            source.displayed = -1
