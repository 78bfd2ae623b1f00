"""A machine that does jobs in no time, and a document as `bench` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.benchmark.campaign import Plan, measure
from pipeline.benchmark.clip import Clip
from pipeline.benchmark.configuration import Configuration, Job
from pipeline.benchmark.figures import StageFigures
from pipeline.benchmark.measured import Measured
from pipeline.core.errors import BackendError


class FakeMachine:
    """Does jobs in no time: `speed` by backend, and what each job was."""

    def __init__(self, speed: dict[str, float]) -> None:
        self.speed = speed
        self.jobs: list[Job] = []

    def do(self, job: Job) -> Measured:
        """Figures that depend on the backend and on the number of the job only."""
        self.jobs.append(job)
        backend = job.configuration.backend if job.configuration else "shared"
        if backend not in self.speed:
            raise BackendError(f"{backend}: wanted its package, found none")
        if job.what == "prepare":
            return Measured(load_s=1.0, ran={"backend": backend, "precision": "fp32", "device": "cpu"})
        rate = self.speed[backend] * (1 + 0.01 * (len(self.jobs) % 3))
        figures = StageFigures(100, 1e3 / rate, 2e3 / rate, 3e3 / rate, rate, 1.5 / rate)
        stages = {
            "shared": ("decode", "track", "draw", "encode"),
            "detector": ("preprocess", "inference", "postprocess", "detector"),
            "end to end": ("end to end",),
        }[job.what]
        return Measured(dict.fromkeys(stages, figures), 500.0 + len(self.jobs), 2.0, notes={"cores_busy": 1.9})


@pytest.fixture
def fake_machine() -> FakeMachine:
    """One on which `openvino` is three times as fast as `eager`, and nothing else runs."""
    return FakeMachine({"shared": 200.0, "eager": 10.0, "openvino": 30.0})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three configurations, one of which cannot run."""
    configurations = [Configuration("w.pt", name, "fp32", 640) for name in ("eager", "tensorrt", "openvino")]
    return Plan(configurations, Clip(tmp_path / "street.mp4", "street.mp4", 1280, 720, 1800, 1), 3, 0.5)


@pytest.fixture
def document(fake_machine: FakeMachine, plan: Plan) -> dict[str, Any]:
    """The result of that plan on that machine."""
    return measure(plan, lambda text: None, fake_machine.do)
