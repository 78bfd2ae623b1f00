"""The measuring process: `python -m pipeline.tune.worker`, one for each job, as `bench` does it."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.benchmark.configuration import Configuration
from pipeline.benchmark.processes import answer_of
from pipeline.core.errors import BackendError, ConfigError, TracklightError
from pipeline.tune.clip import Clip


@dataclass(frozen=True, slots=True)
class Job:
    """What one measuring process does.

    Attributes:
        what: `time`: how long a frame takes, in a run that plays the clip. `find`: boxes of every frame.
        configuration: how the network runs.
        clip: the recording.
        place: file that the boxes go to, for `find`.
    """

    what: Literal["time", "find"]
    configuration: Configuration
    clip: Clip
    place: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        """What `to_json` gave."""
        configuration, clip = Configuration(**values["configuration"]), Clip(**values["clip"])
        return cls(**{**values, "configuration": configuration, "clip": clip})


def run_job(job: Job) -> dict[str, Any]:
    """Do a job in a fresh process, and wait for it.

    Returns:
        What `do` returns.

    Raises:
        BackendError: it cannot be done here; the reason.
        ConfigError: not at this size.
    """
    found = answer_of("pipeline.tune.worker", {"job": job.to_json()})
    if "reason" in found:
        raise (ConfigError if found["is_config"] else BackendError)(found["reason"])
    return dict(found["done"])


def do(job: Job) -> dict[str, Any]:
    """Do a job in this process.

    Returns:
        For `time` a Timing as plain values. For `find` nothing: boxes are in their file.

    Raises:
        TracklightError: it cannot be done here.
    """
    if job.what == "time":
        from pipeline.tune.timing import measure_timing

        return measure_timing(job.configuration, job.clip).to_json()
    from pipeline.tune.found import find_in_clip

    find_in_clip(job.configuration, job.clip).save(Path(job.place))
    return {}


def main() -> int:
    """Read a job (JSON) from standard input and write the answer to the file it names: `done`, or `reason`."""
    request = json.load(sys.stdin)
    logging.basicConfig(level=logging.ERROR)
    try:
        answer: dict[str, Any] = {"done": do(Job.from_json(request["job"]))}
    except TracklightError as error:
        answer = {"reason": " ".join(str(error).split()), "is_config": isinstance(error, ConfigError)}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
