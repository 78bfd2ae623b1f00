"""Jobs in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.benchmark.configuration import Job
from pipeline.benchmark.measured import Measured
from pipeline.core.errors import BackendError

_ROOT = Path(__file__).resolve().parents[2]


def run_job(job: Job) -> Measured:
    """Do a job in a fresh process, and wait for it.

    Raises:
        BackendError: it cannot be done here; the reason.
    """
    found = answer_of("pipeline.benchmark.worker", {"job": job.to_json()})
    if "reason" in found:
        raise BackendError(found["reason"])
    return Measured.from_json(found["measured"])


def answer_of(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module in a fresh process and wait for its answer.

    Args:
        module: gets the request as JSON on its standard input, and writes its answer as JSON to the file that stands
            there under `answer`; runtimes write to standard output as they please.
        request: plain values.

    Raises:
        BackendError: it ended without an answer; how.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps({**request, "answer": str(answer)}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))},
            check=False,
        )
        if not answer.is_file():
            raise BackendError(_crash(done.returncode, done.stderr))
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _crash(code: int, stderr: str) -> str:
    """How a process ended that gave no answer."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return f"the measuring process {how}{f': {lines[-1]}' if lines else ''}"
