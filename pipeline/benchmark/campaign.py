"""All jobs, in turns: round by round, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import datetime
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.benchmark.clip import Clip
from pipeline.benchmark.configuration import SHARED_STAGES, Configuration, Job, What, labels
from pipeline.benchmark.figures import over_repeats
from pipeline.benchmark.machine import machine
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.processes import run_job
from pipeline.benchmark.stopwatch import WARM_UP_SHARE
from pipeline.core.errors import BackendError

FORMAT = 1
"""Of the JSON document; a change that a reader must know of counts it up."""

Say = Callable[[str], None]
Do = Callable[[Job], Measured]

_OF_EACH: tuple[What, ...] = ("detector", "end to end")
"""What is measured of each configuration."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        configurations: ways of running a network.
        clip: the video.
        repeats: rounds.
        seconds: of each measurement.
    """

    configurations: Sequence[Configuration]
    clip: Clip
    repeats: int
    seconds: float


def measure(plan: Plan, say: Say, do: Do = run_job) -> dict[str, Any]:
    """Run a plan. Configurations that cannot run here are in the result with the reason.

    Ctrl-C ends it early: what all rounds before it gave is kept, and of a first round what it gave so far.

    Args:
        plan: what to measure.
        say: told what is being done, what is left out and why, and how long it will take, in a few words.
        do: does one job.

    Returns:
        The document that is written as JSON: `format`, `date`, `machine`, `clip`, `settings`, `interrupted` (where
        Ctrl-C ended it, or None), `results` (one for each configuration and what was measured of it, with every repeat)
        and `cannot_run`.

    Raises:
        KeyboardInterrupt: before anything was measured.
        BackendError: the clip cannot be measured on.
    """
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = machine()
    rounds = _Rounds(plan, say, do)
    rounds.prepare()
    interrupted = rounds.measure()
    return {
        "format": FORMAT,
        "date": date,
        "machine": about,
        "clip": asdict(plan.clip) | {"path": plan.clip.name},
        "settings": {"repeats": plan.repeats, "seconds": plan.seconds},
        "interrupted": interrupted,
        "results": rounds.results(),
        "cannot_run": [{"configuration": asdict(key), "reason": reason} for key, reason in rounds.reasons.items()],
    }


_What = tuple[What, Configuration | None]


class _Rounds:
    """The jobs of a plan, and what came of them."""

    def __init__(self, plan: Plan, say: Say, do: Do) -> None:
        self._plan, self._say, self._do = plan, say, do
        self._labels = labels(plan.configurations)
        self._prepared: dict[Configuration, Measured] = {}
        self._kept: dict[_What, list[Measured]] = defaultdict(list)
        self.reasons: dict[Configuration, str] = {}
        """Why a configuration cannot run here."""

    def prepare(self) -> None:
        """Open every configuration once, so that faults are known and conversions kept; say how long it will take."""
        took_s = []
        for k, configuration in enumerate(self._plan.configurations, 1):
            label = self._labels[configuration]
            self._say(f"opening {k} of {len(self._labels)}: {label}")
            began_s = time.monotonic()
            try:
                self._prepared[configuration] = self._run("prepare", configuration)
                took_s.append(time.monotonic() - began_s)
            except BackendError as error:
                self.reasons[configuration] = str(error)
                self._say(f"left out: {label}: {error}")
        self._say(
            f"{len(self._prepared)} of {len(self._labels)} can run here; {self._plan.repeats} rounds take about "
            f"{_duration(self._plan.repeats * _round_s(self._plan.seconds, took_s))}"
        )

    def measure(self) -> str | None:
        """Do all rounds. Returns where Ctrl-C ended them, or None."""
        for turn in range(self._plan.repeats):
            try:
                self._round(turn)
            except KeyboardInterrupt:
                if not any(self._kept.values()):
                    raise
                self._cut()
                return f"in round {turn + 1} of {self._plan.repeats}"
        return None

    def results(self) -> list[dict[str, Any]]:
        """What was measured, in the order of the plan."""
        return [
            _result(what, configuration, self._prepared.get(configuration) if configuration else None, kept)
            for what, configuration in self._jobs()
            if (kept := self._kept[what, configuration])
        ]

    def _jobs(self) -> list[_What]:
        """Those that have not failed so far."""
        able = [configuration for configuration in self._prepared if configuration not in self.reasons]
        return [("shared", None), *((what, one) for one in able for what in _OF_EACH)]

    def _round(self, turn: int) -> None:
        # There and back again: a machine that gets slower and slower favours neither the first nor the last.
        for what, configuration in self._jobs()[:: 1 if turn % 2 == 0 else -1]:
            if configuration is not None and configuration in self.reasons:
                continue
            name = f", {self._labels[configuration]}" if configuration else ""
            self._say(f"round {turn + 1} of {self._plan.repeats}: {what}{name}")
            try:
                self._kept[what, configuration].append(self._run(what, configuration))
            except BackendError as error:
                if configuration is None:
                    raise
                self.reasons[configuration] = f"failed in round {turn + 1}, {what}: {error}"

    def _run(self, what: What | Literal["prepare"], configuration: Configuration | None) -> Measured:
        return self._do(Job(what, configuration, str(self._plan.clip.path), self._plan.seconds))

    def _cut(self) -> None:
        """To whole rounds, since ratios are taken within a round; of the first one all is kept."""
        whole = min(len(self._kept[job]) for job in self._jobs())
        for kept in self._kept.values():
            del kept[max(whole, 1) :]


def _round_s(seconds: float, took_s: Sequence[float]) -> float:
    """What a round takes, from what it took to open each configuration that can run (s)."""
    measuring_s = (1 + WARM_UP_SHARE) * seconds
    start_s = min(took_s, default=0.0)
    return start_s + len(SHARED_STAGES) * measuring_s + len(_OF_EACH) * sum(one + measuring_s for one in took_s)


def _duration(seconds: float) -> str:
    return f"{max(round(seconds), 1)} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _result(
    what: What, configuration: Configuration | None, prepared: Measured | None, repeats: Sequence[Measured]
) -> dict[str, Any]:
    memory = [one.peak_memory_mb for one in repeats if one.peak_memory_mb is not None]
    load = [one.load_s for one in repeats if one.load_s is not None]
    return {
        "what": what,
        "configuration": asdict(configuration) if configuration else None,
        "ran": dict(prepared.ran) if prepared else {},
        "stages": {stage: _over_repeats(stage, repeats) for stage in repeats[0].stages},
        "peak_memory_mb": max(memory) if memory else None,
        "load_s": over_repeats(load).median if load else None,
        "repeats": [one.to_json() for one in repeats],
    }


def _over_repeats(stage: str, repeats: Sequence[Measured]) -> dict[str, Any]:
    """Each figure of a stage as median, low and high over the repeats."""
    rows = [asdict(one.stages[stage]) for one in repeats]
    return {name: asdict(over_repeats([row[name] for row in rows])) for name in rows[0]}


def labels_of(document: dict[str, Any]) -> dict[Configuration, str]:
    """The label of every configuration of a document, measured or not."""
    entries = [*document["results"], *document["cannot_run"]]
    return labels(Configuration(**entry["configuration"]) for entry in entries if entry["configuration"])


def each_result(document: dict[str, Any], what: What) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label and result of everything that was measured of one kind."""
    label_of = labels_of(document)
    for result in document["results"]:
        if result["what"] == what:
            values = result["configuration"]
            yield (label_of[Configuration(**values)] if values else what), result


def cannot_run(document: dict[str, Any]) -> list[str]:
    """What cannot run and why, a line for each configuration."""
    label_of = labels_of(document)
    return [
        f"cannot run here: {label_of[Configuration(**entry['configuration'])]}: {entry['reason']}"
        for entry in document["cannot_run"]
    ]
