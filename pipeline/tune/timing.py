"""How long a detector takes here for a frame, measured in a real run that plays the clip at its own rate.

Not in a loop of its own: in a run, the next frames are decoded and the last results tracked on the same cores, and a
detector is slower for it.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from detector.detector import YoloDetector, network_for
from pipeline.benchmark.configuration import Configuration
from pipeline.benchmark.detector_stages import what_ran
from pipeline.benchmark.usage import cpu_s
from pipeline.config.build import build_run, detector_config, detector_section_for_tracking, load_run_config
from pipeline.core.errors import BackendError, StopRequest
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.percentile import percentile
from pipeline.core.result import FrameResult
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.runtimes import Runtimes
from pipeline.tune.clip import Clip

WARM_UP_RESULTS = 5
MIN_RESULTS, MIN_S, MAX_S = 60, 2.0, 8.0
"""A measurement ends when the median is known well enough, but not before so much, and after MAX_S in any case."""
WELL_ENOUGH = 0.02
"""Half of the median's 95 % interval, as a share of the median."""
_CPU_CALLS = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """What a configuration takes here.

    Attributes:
        samples_ns: from the moment at which a frame could be begun with to its result's emission, frame by frame.
        runs_per_s: frames processed per second while that was measured.
        cores_busy: CPU seconds per second of the whole run meanwhile: decoding, detection, tracking.
        cpu_s_per_run: CPU seconds of one call of the detector.
        ran: what `auto` stood for: backend, precision, device, height and width of the largest input.
        class_names: names by class_id.
    """

    samples_ns: tuple[int, ...]
    runs_per_s: float
    cores_busy: float
    cpu_s_per_run: float
    ran: dict[str, Any]
    class_names: tuple[str, ...]

    def runtimes(self, name: str) -> Runtimes:
        """The samples as a distribution to draw from."""
        return Runtimes(np.array(self.samples_ns, np.int64), name)

    @property
    def backend(self) -> str:
        """What ran."""
        return str(self.ran["backend"])

    @property
    def precision(self) -> str:
        """What it computed in."""
        return str(self.ran["precision"])

    @property
    def median_s(self) -> float:
        """Median of the samples, s."""
        return statistics.median(self.samples_ns) / 1e9

    @property
    def quick_s(self) -> float:
        """What the quickest tenth keeps below, s: hardly touched by what else the machine does."""
        return percentile(self.samples_ns, 0.1) / 1e9

    def cores_at(self, runs_per_s: float) -> float:
        """Cores that a run keeps busy that processes so many frames per second; the rest of it goes on as measured."""
        rest = max(self.cores_busy - self.runs_per_s * self.cpu_s_per_run, 0.0)
        return rest + runs_per_s * self.cpu_s_per_run

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Timing:
        """What `to_json` gave."""
        lists = {name: tuple(values[name]) for name in ("samples_ns", "class_names")}
        return cls(**{**values, **lists})


class RuntimeMeter:
    """A sink that notes how long each frame took, and stops the run once that is known.

    A frame could be begun with when it was captured, or when the one before it left the detector, whichever was later:
    waiting is the scheduler's affair and is simulated.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self) -> None:
        self.samples_ns: list[int] = []
        self._free_ns = 0
        self._seen = 0
        self._began: tuple[float, float] = (0.0, 0.0)
        self._ended: tuple[float, float] = (0.0, 0.0)

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Take one result. Raises StopRequest once enough is known."""
        stamps = result.timeline
        begun_ns = max(result.frame.captured_ns, self._free_ns)
        self._free_ns = stamps.detect_end or 0
        self._seen += 1
        now = (time.perf_counter(), cpu_s())
        if self._seen <= WARM_UP_RESULTS:
            self._began = now
            return
        self._ended = now
        self.samples_ns.append(max((stamps.emitted or 0) - begun_ns, 1))
        if is_known(self.samples_ns, now[0] - self._began[0]):
            raise StopRequest

    def close(self) -> None:
        """Nothing to finish."""

    @property
    def seconds(self) -> float:
        """How long it measured."""
        return self._ended[0] - self._began[0]

    @property
    def cores_busy(self) -> float:
        """CPU seconds per second."""
        return (self._ended[1] - self._began[1]) / self.seconds


def is_known(samples_ns: Sequence[int], seconds: float) -> bool:
    """Whether so many samples, taken in so many seconds, tell the median well enough; or there is no more time."""
    n = len(samples_ns)
    if seconds >= MAX_S:
        return n > 0
    if n < MIN_RESULTS or seconds < MIN_S:
        return False
    ordered = sorted(samples_ns)
    # Order statistics: the median lies between these two in 95 of 100 cases, whatever the distribution.
    reach = 0.98 * math.sqrt(n)
    low, high = ordered[math.floor(n / 2 - reach)], ordered[min(math.ceil(n / 2 + reach), n - 1)]
    return (high - low) / 2 <= WELL_ENOUGH * ordered[n // 2]


def measure_timing(configuration: Configuration, clip: Clip) -> Timing:
    """Run the pipeline on the clip, at its own rate, until the runtime is known.

    Raises:
        TracklightError: it cannot run here, or failed.
    """
    flags = {
        "sources": [clip.source],
        "detector": configuration.detector_section(),
        "source": clip.source_settings(),
        "runtime": {"realtime": True},
    }
    config = load_run_config(None, flags, ())
    settings = detector_config(detector_section_for_tracking(config))
    opened = network_for(settings)
    detector = YoloDetector(settings, network=opened)
    try:
        first = next(iter(clip.frames()))
        # What is paid once, such as compiling for the frames' shape, belongs to no frame.
        for _ in range(3):
            detector.detect([first])
        meter = RuntimeMeter()
        with build_run(config, detector=detector, extra_sinks=[SinkBinding("meter", meter)]) as running:
            running.runner.run()
        if not meter.samples_ns:
            raise BackendError(f"{configuration.label}: wanted results to time, found none within the clip")
        return Timing(
            samples_ns=tuple(meter.samples_ns),
            runs_per_s=len(meter.samples_ns) / meter.seconds,
            cores_busy=meter.cores_busy,
            cpu_s_per_run=_cpu_s_per_run(detector, first),
            ran=what_ran(opened, detector),
            class_names=detector.class_names,
        )
    finally:
        detector.close()


def _cpu_s_per_run(detector: YoloDetector, frame: Frame) -> float:
    began_s = cpu_s()
    for _ in range(_CPU_CALLS):
        detector.detect([frame])
    return (cpu_s() - began_s) / _CPU_CALLS
