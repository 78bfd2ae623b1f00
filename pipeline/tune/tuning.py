"""The whole of `tune`: measure, simulate, score, choose."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.benchmark.configuration import Configuration
from pipeline.benchmark.machine import machine
from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError, MissingExtraError
from pipeline.streaming.schedulers import scheduler
from pipeline.streaming.truth import Truth
from pipeline.tune.choice import Limits, best_within, pareto_front
from pipeline.tune.clip import Clip
from pipeline.tune.judge import Judge, common_classes, labelled_judge, pseudo_judge, read_labels, with_classes
from pipeline.tune.measuring import Do, Measurements, Measuring, Say
from pipeline.tune.simulated import COMPENSATIONS, SCHEDULERS, Row, Simulations
from pipeline.tune.space import Network, Space, weights_digest
from pipeline.tune.store import Store
from pipeline.tune.worker import run_job

FORMAT = 1
"""Of the JSON document; a change that a reader must know of counts it up."""
SCORING_SHARE = 0.15
"""Part of the time that is left for simulating and scoring."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        clip: the recording.
        space: what is tried.
        truth: labels of the clip, or None.
        trust: without labels, the weights whose offline results are the truth; None = chosen among all.
        schedulers: which frames to take.
        compensations: to when tracks are moved.
        limits: what the choice must keep to.
        time_limit_s: measuring and scoring take no longer than about this.
    """

    clip: Clip
    space: Space
    truth: Path | None = None
    trust: str | None = None
    schedulers: Sequence[str] = SCHEDULERS
    compensations: Sequence[str] = COMPENSATIONS
    limits: Limits = field(default_factory=Limits)
    time_limit_s: float = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """What came of it.

    Attributes:
        clip: the recording.
        judge: what it was scored against.
        rows: everything that was simulated, at least one.
        left_out: why a configuration is not among the rows, by its label.
        labels: short names of the configurations.
        limits: what the choice must keep to.
        machine: what it was measured on.
    """

    clip: Clip
    judge: Judge
    rows: Sequence[Row]
    left_out: Mapping[str, str]
    labels: Mapping[Configuration, str]
    limits: Limits
    machine: Mapping[str, Any]

    def front(self) -> list[Row]:
        """The rows that no other one beats in every respect, best streaming AP first."""
        return pareto_front(self.rows)

    def best(self) -> Row:
        """The choice.

        Raises:
            UsageError: nothing keeps to the limits; tells the nearest.
        """
        return best_within(self.rows, self.limits)

    def to_json(self) -> dict[str, Any]:
        """The document that is written beside the YAML. Raises UsageError as `best` does."""
        return {
            "format": FORMAT,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "clip": self.clip.to_json() | {"source": self.clip.name},
            "truth": {"what": self.judge.words, "classes": list(self.judge.truth.class_names)},
            "limits": asdict(self.limits),
            "best": asdict(self.best()),
            "front": [asdict(row) for row in self.front()],
            "rows": [asdict(row) for row in self.rows],
            "left_out": dict(self.left_out),
        }


def tune(wanted: Wanted, store: Store, say: Say, do: Do = run_job) -> Tuned:
    """Measure and simulate every way of running on this machine.

    Ctrl-C ends it; what was measured by then is in the store, and the next call goes on from there.

    Args:
        wanted: what is asked for.
        store: keeps measurements from call to call.
        say: told what goes on, and how long it will take.
        do: does one measuring job.

    Raises:
        UsageError: a scheduler that is not known, no class in common, or nothing to be seen in the clip.
        CheckpointError: weights that cannot be had.
        DatasetError: labels that cannot be used.
        BackendError: nothing that is asked for runs here.
        MissingExtraError: what scores is not installed.
    """
    for name in wanted.schedulers:
        scheduler(name)
    if find_spec("faster_coco_eval") is None:
        raise MissingExtraError("faster-coco-eval", "eval", "tune")
    labels = None if wanted.truth is None else read_labels(wanted.truth, wanted.clip)
    about = machine()
    measurements = _measure(wanted, store, about, say, do)
    say("choosing what to judge by" if labels is None else f"judging by {wanted.truth}")
    judge, frames = _judged(wanted, measurements, labels)
    return Tuned(
        clip=wanted.clip,
        judge=judge,
        rows=_rows(wanted, measurements, judge, frames, say),
        left_out={measurements.labels[one]: reason for one, reason in measurements.left_out.items()},
        labels=measurements.labels,
        limits=wanted.limits,
        machine=about,
    )


def _measure(wanted: Wanted, store: Store, about: Mapping[str, Any], say: Say, do: Do) -> Measurements:
    groups = list(wanted.space.groups())
    measuring = Measuring(
        groups=groups,
        clip=wanted.clip,
        store=store,
        machine={name: about[name] for name in ("cpu", "usable_cores", "gpu", "python", "versions")},
        digests={weights: weights_digest(weights) for weights in dict.fromkeys(wanted.space.weights)},
        keeps_slow=wanted.space.backends is not None,
        measure_s=(1 - SCORING_SHARE) * wanted.time_limit_s,
        say=say,
        do=do,
    )
    measurements = measuring.measure()
    if not measurements.timings:
        reasons = "; ".join(dict.fromkeys(measurements.left_out.values()))
        raise BackendError(f"tune: wanted a configuration that can be measured here, found none: {reasons}")
    return measurements


def _judged(
    wanted: Wanted, measurements: Measurements, labels: Truth | None
) -> tuple[Judge, Mapping[Network, Sequence[Detections]]]:
    """The truth, and every network's detections in its classes."""
    found = measurements.found
    lists = {Path(network.weights).name: one.class_names for network, one in found.items()}
    if labels is not None and wanted.truth is not None:
        lists = {str(wanted.truth): labels.class_names, **lists}
    common = common_classes(lists)
    frames = {network: with_classes(one, common) for network, one in found.items()}
    if labels is not None and wanted.truth is not None:
        return labelled_judge(labels, common, wanted.truth), frames
    return pseudo_judge(frames, wanted.clip.stream, common, wanted.trust), frames


def _rows(
    wanted: Wanted,
    measurements: Measurements,
    judge: Judge,
    frames: Mapping[Network, Sequence[Detections]],
    say: Say,
) -> list[Row]:
    rows: list[Row] = []
    simulations = {network: Simulations(one, judge.truth) for network, one in frames.items()}
    for k, (configuration, timing) in enumerate(measurements.timings.items(), 1):
        say(f"[{k}/{len(measurements.timings)}] simulating {measurements.labels[configuration]}")
        of_network = simulations[Network.of(configuration, timing.precision)]
        rows += of_network.rows(configuration, timing, wanted.schedulers, wanted.compensations)
    return rows
