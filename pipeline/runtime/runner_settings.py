"""How a run's threads are wired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.runtime.compensate import Compensate
from pipeline.runtime.overload import OverloadRules
from pipeline.streaming.schedulers import Scheduler


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How the threads are wired.

    Attributes:
        max_batch: most frames in one call of the detector.
        batch_wait_s: how long a begun batch waits for more frames.
        detect_workers: threads that call the detector; None = as many as it can serve at once, but one as soon as a
            source is live.
        recorded_capacity: frames held between a recorded source and the detector.
        record_sink_capacity: results held before a recording sink.
        live_sink_capacity: results held before a live sink.
        drain_s: after a stop, how long the frames already read may take to reach the sinks.
        max_frames: frames read from each source, or None for all.
        fail_fast: the first source that fails ends the run, instead of ending alone.
        keep_open: the run goes on without sources, for more may be added; only `stop` or a failure ends it.
        new_ids_after_s: a source that broke and came back after longer than this gets new ids.
        watchdog_s: a stage that takes longer for one piece of work hangs; 0 = nothing is watched.
        compensate: to when the tracks of live sources are moved.
        overload: what gives way when live frames come too fast; ladder policies need a LadderDetector.
        make_scheduler: makes each live source's own scheduler; None: idle-free.
        latency_cost: estimate what latency costs live sources.
        offline_ap50: AP50 of the detector on such footage, 0 to 1, to tell that cost in points; None = not known.
    """

    max_batch: int = 1
    batch_wait_s: float = 0.005
    detect_workers: int | None = None
    recorded_capacity: int = 8
    record_sink_capacity: int = 8
    live_sink_capacity: int = 2
    drain_s: float = 10.0
    max_frames: int | None = None
    fail_fast: bool = False
    keep_open: bool = False
    new_ids_after_s: float = 1.0
    watchdog_s: float = 30.0
    compensate: Compensate = Compensate.OFF
    overload: OverloadRules = field(default_factory=OverloadRules)
    make_scheduler: Callable[[], Scheduler] | None = None
    latency_cost: bool = True
    offline_ap50: float | None = None
