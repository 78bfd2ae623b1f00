"""A run's figures in Prometheus' form. Whoever serves a /metrics page makes one of these and asks it for the text."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.core.control import Histogram, RunControl, RunMeasures, SourceState, SourceStatus
from pipeline.core.errors import MissingExtraError
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import redact
from sinks.scene_tally import Rising, SceneTally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LATENCY_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets of every histogram (s), from a tracker's millisecond to a stream that hangs."""


class RunMetrics:
    """All figures of a run. Counters never fall, also when a source begins anew.

    Args:
        class_names: names by class_id.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector
        except ImportError:
            raise MissingExtraError("prometheus-client", "metrics", "the output metrics") from None
        self._control: RunControl | None = None
        self._tally = SceneTally(class_names)
        self._rising = Rising()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def watch(self, control: RunControl) -> None:
        """The run whose figures these are; before that there are those of the process only."""
        self._control = control

    def add(self, result: FrameResult) -> None:
        """Count a result's events and objects. From one thread."""
        self._tally.add(result)

    def end_source(self, closing: Closing) -> None:
        """Count the events of a source's end. From the thread of `add`."""
        self._tally.end_source(closing)

    def text(self) -> bytes:
        """The page, in the text format 0.0.4 (`CONTENT_TYPE`). From any thread."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))

    def collect(self) -> Iterator[Metric]:
        """Every family of figures."""
        yield from _process()
        yield from _gpu()
        if self._control is None:
            return
        statuses = self._control.sources()
        yield from self._sources(statuses)
        yield from self._measures(self._control.measures(LATENCY_BOUNDS_S), {one.source_id for one in statuses})
        yield from self._scenes()

    def _sources(self, statuses: Sequence[SourceStatus]) -> Iterator[Metric]:
        produced = _counter("frames_produced", "Frames that a source handed over.", "source")
        emitted = _counter("frames_emitted", "Frames whose results went to the outputs.", "source")
        dropped = _counter("frames_dropped", "Frames that were left out, and why.", "source", "reason")
        incidents = _counter("source_incidents", "What a source went through.", "source", "incident")
        state = _gauge("source_state", "1 for the state that a source is in, 0 for the others.", "source", "state")
        rate = _gauge("frames_per_second", "Results of the last seconds, per second.", "source")
        age = _gauge("result_age_seconds", "Time since the newest result.", "source")
        latency = _LatencyCosts()
        for one in statuses:
            name = redact(one.source_id)
            self._count(produced, one.produced, name)
            self._count(emitted, one.emitted, name)
            for reason, n in {"newer": 0, **one.dropped}.items():
                self._count(dropped, n, name, reason)
            for incident, n in {"reconnects": 0, **one.counters}.items():
                self._count(incidents, n, name, incident)
            for other in SourceState:
                state.add_metric([name, str(other)], float(one.state == other))
            rate.add_metric([name], one.frames_per_s)
            if one.age_s is not None:
                age.add_metric([name], one.age_s)
            latency.add(name, one.latency_costs)
        yield from (produced, emitted, dropped, incidents, state, rate, age, *latency.families())

    def _measures(self, measures: RunMeasures, source_ids: set[str]) -> Iterator[Metric]:
        latency = _histogram("latency_seconds", "From a frame's capture to the emission of its result.", "source")
        for name in sorted(source_ids & set(measures.latency)):
            _add_histogram(latency, name, measures.latency[name])
        stages = _histogram("stage_seconds", "What a stage took for a frame (detect: for a batch).", "stage")
        for name, histogram in measures.stages.items():
            _add_histogram(stages, name, histogram)
        held = _gauge("queue_frames", "Frames that wait before a stage.", "stage")
        capacity = _gauge("queue_capacity_frames", "Frames that may wait before a stage.", "stage")
        for name, depth in measures.queues.items():
            held.add_metric([redact(name)], depth.held)
            capacity.add_metric([redact(name)], depth.capacity)
        results = _counter("sink_results", "Results handed to an output, by what became of them.", "sink", "outcome")
        counts = _counter("sink_incidents", "What an output counted itself.", "sink", "incident")
        for name, account in measures.sinks.items():
            self._count(results, account.written, name, "written")
            self._count(results, account.dropped, name, "dropped")
            for incident, n in account.counters.items():
                self._count(counts, n, name, incident)
        rungs = _counter("overload_rung_seconds", "Time on each rung of the overload's ladder.", "rung")
        rung = _gauge("overload_rung", "1 for the rung that the run stands on, 0 for the others.", "rung")
        for name, seconds in measures.rung_s.items():
            self._count(rungs, seconds, name)
            rung.add_metric([redact(name)], float(name == measures.rung))
        yield from (latency, stages, held, capacity, results, counts, rungs, rung)

    def _scenes(self) -> Iterator[Metric]:
        events = _counter("events", "Events that began.", "source", "kind", "rule")
        crossings = _counter("crossings", "Objects that crossed a line.", "source", "line", "direction")
        visits = _counter("zone_visits", "Visits of a zone that began.", "source", "zone")
        occupancy = _gauge("zone_objects", "Objects in a zone now.", "source", "zone")
        alarms = _gauge("zone_alarm", "1 while an event other than visits goes on in a zone.", "source", "zone")
        objects = _gauge("objects", "Objects in view now.", "source", "class")
        for source_id, tally in self._tally.snapshot().items():
            name = redact(source_id)
            for labels, n in tally.events.items():
                events.add_metric([name, *labels], n)
            for labels, n in tally.crossings.items():
                crossings.add_metric([name, *labels], n)
            for zone, n in tally.visits.items():
                visits.add_metric([name, zone], n)
            for zone, n in tally.occupancy.items():
                occupancy.add_metric([name, zone], n)
            for zone, alarm in tally.alarms.items():
                alarms.add_metric([name, zone], float(alarm))
            for class_name, n in tally.objects.items():
                objects.add_metric([name, class_name], n)
        yield from (events, crossings, visits, occupancy, alarms, objects)

    def _count(self, family: Any, counted: float, *labels: str) -> None:
        shown = [redact(label) for label in labels]
        family.add_metric(shown, self._rising.value((family.name, *shown), counted))


class _LatencyCosts:
    """What latency cost live sources in the last half minute, by the moment at which somebody has a result."""

    def __init__(self) -> None:
        labels = ("source", "at")
        self._age = _gauge("age_seconds", "Age of what is shown when a frame arrives, on average.", *labels)
        self._staleness = _gauge("staleness_frames", "The same in frames.", *labels)
        self._iou = _gauge("shown_iou_ratio", "IoU of a shown box with where its object is by then.", *labels)
        self._off = _gauge("shown_boxes_off_ratio", "Boxes shown that overlap their object by less.", *labels, "iou")
        self._lost = _gauge("latency_ap50_lost_ratio", "Share of AP50 that latency takes, an estimate.", *labels)

    def add(self, source: str, costs: Mapping[str, LatencyCost]) -> None:
        """Count a source, whose name is without credentials."""
        for at, cost in costs.items():
            labels = [source, at]
            for family, more, value in (
                (self._age, [], None if cost.age_ms is None else cost.age_ms / 1e3),
                (self._staleness, [], cost.staleness_frames),
                (self._iou, [], cost.mean_iou),
                (self._off, ["0.5"], cost.below_50),
                (self._off, ["0.75"], cost.below_75),
                (self._lost, [], cost.ap50_lost),
            ):
                if value is not None:
                    family.add_metric([*labels, *more], value)

    def families(self) -> tuple[Metric, ...]:
        """Of all that was added."""
        return (self._age, self._staleness, self._iou, self._off, self._lost)


def _process() -> Iterator[Metric]:
    """Beside the usual figures of ProcessCollector, which read /proc."""
    try:
        n_threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are enough
    except OSError:
        n_threads = threading.active_count()
    from prometheus_client.core import GaugeMetricFamily

    yield GaugeMetricFamily("process_threads", "Threads, those of libraries included.", value=n_threads)
    build = _gauge("build_info", "Always 1; the version is the label.", "version")
    build.add_metric([importlib.metadata.version("tracklight")], 1)
    yield build


def _gpu() -> Iterator[Metric]:
    """Memory of GPUs that this process uses through torch. Asking never loads torch, nor starts CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return
    allocated = _gauge("gpu_memory_allocated_bytes", "Taken by tensors of this process.", "device")
    reserved = _gauge("gpu_memory_reserved_bytes", "Held by torch in this process.", "device")
    free = _gauge("gpu_memory_free_bytes", "Free on the device, whoever uses the rest.", "device")
    total = _gauge("gpu_memory_total_bytes", "Of the device.", "device")
    for index in range(torch.cuda.device_count()):
        device = f"cuda:{index}"
        free_bytes, total_bytes = torch.cuda.mem_get_info(index)
        allocated.add_metric([device], torch.cuda.memory_allocated(index))
        reserved.add_metric([device], torch.cuda.memory_reserved(index))
        free.add_metric([device], free_bytes)
        total.add_metric([device], total_bytes)
    yield from (allocated, reserved, free, total)


def _counter(name: str, text: str, *labels: str) -> Any:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"tracklight_{name}", text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> Any:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"tracklight_{name}", text, labels=labels)


def _histogram(name: str, text: str, *labels: str) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    return HistogramMetricFamily(f"tracklight_{name}", text, labels=labels)


def _add_histogram(family: Any, label: str, histogram: Histogram) -> None:
    buckets = [(str(bound), n) for bound, n in zip(LATENCY_BOUNDS_S, histogram.up_to, strict=True)]
    family.add_metric([redact(label)], [*buckets, ("+Inf", histogram.count)], histogram.total_s)
