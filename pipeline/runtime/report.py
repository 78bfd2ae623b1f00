"""The run report: what every source produced, what every stage cost, and what bounded the run."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.core.cores import usable_cores
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.scene import Closing
from pipeline.runtime.latency import Percentiles


@dataclass(frozen=True, slots=True)
class StreamingReport:
    """What latency costs a source, without labels.

    Attributes:
        note: why there are no figures; empty where there are.
        age_at_display: capture to the end of writing by the first live output; None where none wrote.
        emission: for somebody who has every result as it is emitted.
        display: for somebody who watches the first live output; None where none wrote.
    """

    note: str
    age_at_display: Percentiles | None = None
    emission: LatencyCost | None = None
    display: LatencyCost | None = None


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source's account.

    Attributes:
        produced: frames that the source handed over; equals emitted + the sum of dropped.
        emitted: frames whose results went to the sinks.
        dropped: frames by reason: `newer` (live: a newer one came first), `stopped`, `failed`.
        counters: what the source itself left out or went through (`corrupt`, `reconnects`, ...).
        latency: capture to emission of the emitted frames.
        error: why the source ended, or None at a clean end.
        streaming: what latency costs it; None where it never opened.
    """

    produced: int
    emitted: int
    dropped: Mapping[str, int]
    counters: Mapping[str, int]
    latency: Percentiles
    error: str | None
    streaming: StreamingReport | None = None


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage's cost.

    Attributes:
        duration: one unit of its work: a frame, or a batch for `detect`.
        busy: share of the run's wall time in which it worked, 0 to 1; None where the time was spent waiting (in a
            queue, for a live source's next frame).
    """

    duration: Percentiles
    busy: float | None


@dataclass(frozen=True, slots=True)
class SinkReport:
    """One sink's account: handed = written + dropped. `counters`: what the sink itself counted, by name."""

    handed: int
    written: int
    dropped: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A whole run.

    Attributes:
        status: `completed`, `interrupted`, `partial` (some sources failed, others went on) or `failed`.
        wall_s: from the first thread's start to the last one's end.
        emitted_per_s: emitted frames of all sources per second, from the first result to the last.
        bounded_by: the stage that set the pace and its share of the time, or the live sources' own rate.
        end_to_end: capture to emission, all sources.
        analytics: counts by source that has rules and has ended; see `counts_at_end`.
        overload: what gave way, and when; empty where nothing was to.
    """

    status: str
    wall_s: float
    emitted_per_s: float
    bounded_by: str
    end_to_end: Percentiles
    sources: Mapping[str, SourceReport]
    stages: Mapping[str, StageReport]
    sinks: Mapping[str, SinkReport]
    errors: tuple[str, ...] = ()
    environment: Mapping[str, object] = field(default_factory=dict)
    analytics: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    overload: Mapping[str, object] = field(default_factory=dict)

    def with_streaming(self, streaming: Mapping[str, StreamingReport]) -> RunReport:
        """The report with what latency costs each source."""
        sources = {name: replace(one, streaming=streaming.get(name)) for name, one in self.sources.items()}
        return replace(self, sources=sources)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, floats rounded to 3 decimals."""
        rounded: dict[str, Any] = _rounded(asdict(self))
        return rounded


def counts_at_end(closing: Closing) -> dict[str, object]:
    """What a source's rules counted: unique objects by class, crossings by line, visits by zone, and their averages."""
    scene = closing.scene
    if scene is None:
        return {}
    layout = scene.layout
    lines = zip(layout.line_names, scene.crossings.tolist(), strict=True)
    zones = zip(layout.zone_names, scene.visits.tolist(), strict=True)
    return {
        "end_s": closing.end_s,
        "objects": dict(scene.n_objects),
        "lines": {name: {"in": n_in, "out": n_out} for name, (n_in, n_out) in lines},
        "zones": {name: {**closing.summary.get(name, {}), "visits": n_visits} for name, n_visits in zones},
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


PACKAGES = (
    *("tracklight", "torch", "numpy", "opencv-python", "av"),
    *("onnx", "onnxruntime", "openvino", "nncf", "tensorrt"),
)


def environment() -> dict[str, object]:
    """Versions and hardware, without importing any framework."""
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "usable_cores": usable_cores(),
        "versions": versions,
    }


def cpu_name() -> str:
    """The processor's marketing name where the system tells it, else the architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
