"""The measuring process: `python -m pipeline.benchmark.worker`, one for each repeat of each job.

A process of its own gives each measurement its own memory and its own runtimes, whose threads would otherwise go on
waiting, and working, beside the next one's.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from pipeline.benchmark.configuration import Configuration, Job
from pipeline.benchmark.measured import Measured
from pipeline.core.errors import TracklightError, UsageError


def main() -> int:
    """Read a job (JSON) from standard input and write the answer to the file it names: `measured`, or `reason`.

    Runtimes write to standard output as they please, so the answer does not go there.
    """
    request = json.load(sys.stdin)
    job = Job.from_json(request["job"])
    logging.basicConfig(level=logging.ERROR)
    try:
        answer: dict[str, object] = {"measured": do(job).to_json()}
    except TracklightError as error:
        answer = {"reason": " ".join(str(error).split())}
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def do(job: Job) -> Measured:
    """Do one job in this process.

    Raises:
        TracklightError: it cannot be done here.
    """
    clip = Path(job.clip)
    if job.what == "end to end":
        from pipeline.benchmark.end_to_end import measure_end_to_end

        return measure_end_to_end(_configuration(job), clip, job.seconds, job.settings)
    if job.what == "prepare":
        from pipeline.benchmark.detector_stages import prepare

        return prepare(_configuration(job))
    if job.seconds is None:
        raise UsageError(f"bench: wanted seconds for the job {job.what!r}, found none")
    if job.what == "shared":
        from pipeline.benchmark.shared_stages import measure_shared_stages

        return measure_shared_stages(clip, job.seconds)
    from pipeline.benchmark.detector_stages import measure_detector

    return measure_detector(_configuration(job), clip, job.seconds)


def _configuration(job: Job) -> Configuration:
    if job.configuration is None:
        raise UsageError(f"bench: wanted a configuration for the job {job.what!r}, found none")
    return job.configuration


if __name__ == "__main__":
    sys.exit(main())
