"""All jobs, in turns: round by round, so that what slows the machine for a while slows all of them."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.benchmark.clip import Clip
from pipeline.benchmark.configuration import Configuration, Job, What
from pipeline.benchmark.figures import over_repeats
from pipeline.benchmark.machine import machine
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.processes import run_job
from pipeline.core.errors import BackendError

FORMAT = 1
"""Of the JSON document; a change that a reader must know of counts it up."""

Say = Callable[[str], None]
Do = Callable[[Job], Measured]


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

    Args:
        plan: what to measure.
        say: told what is being done, in a few words.
        do: does one job.

    Returns:
        The document that is written as JSON: `format`, `date`, `machine`, `clip`, `settings`, `results` (one for each
        configuration and what was measured of it, with every repeat) and `cannot_run`.
    """
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = machine()
    prepared, reasons = _prepare(plan, say, do)
    kept: dict[tuple[What, Configuration | None], list[Measured]] = defaultdict(list)
    jobs: list[tuple[What, Configuration | None]] = [("shared", None)]
    jobs += [(what, configuration) for configuration in prepared for what in ("detector", "end to end")]
    for turn in range(plan.repeats):
        # There and back again: a machine that gets slower and slower favours neither the first nor the last.
        for what, configuration in jobs if turn % 2 == 0 else reversed(jobs):
            if configuration is not None and configuration in reasons:
                continue
            say(f"round {turn + 1} of {plan.repeats}: {what}{f', {configuration.label}' if configuration else ''}")
            try:
                kept[what, configuration].append(do(Job(what, configuration, str(plan.clip.path), plan.seconds)))
            except BackendError as error:
                if configuration is None:
                    raise
                reasons[configuration] = f"failed in round {turn + 1}, {what}: {error}"
    results = [
        _result(what, configuration, prepared.get(configuration) if configuration else None, kept[what, configuration])
        for what, configuration in jobs
        if configuration is None or configuration not in reasons
    ]
    return {
        "format": FORMAT,
        "date": date,
        "machine": about,
        "clip": asdict(plan.clip) | {"path": plan.clip.name},
        "settings": {"repeats": plan.repeats, "seconds": plan.seconds},
        "results": results,
        "cannot_run": [{"configuration": asdict(key), "reason": reason} for key, reason in reasons.items()],
    }


def _prepare(plan: Plan, say: Say, do: Do) -> tuple[dict[Configuration, Measured], dict[Configuration, str]]:
    """Every configuration opened once: what those that can run are, and why the others cannot."""
    prepared: dict[Configuration, Measured] = {}
    reasons: dict[Configuration, str] = {}
    for k, configuration in enumerate(plan.configurations, 1):
        say(f"opening {k} of {len(plan.configurations)}: {configuration.label}")
        try:
            prepared[configuration] = do(Job("prepare", configuration, str(plan.clip.path), plan.seconds))
        except BackendError as error:
            reasons[configuration] = str(error)
    return prepared, reasons


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


def each_result(document: dict[str, Any], what: What) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label and result of everything that was measured of one kind."""
    for result in document["results"]:
        if result["what"] == what:
            values = result["configuration"]
            yield (Configuration(**values).label if values else what), result
