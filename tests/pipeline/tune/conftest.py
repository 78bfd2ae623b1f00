"""A street on which things move evenly, and a machine that has measured everything already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.benchmark.configuration import Configuration
from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError, ConfigError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.truth import Truth
from pipeline.tune.clip import Clip
from pipeline.tune.found import Found
from pipeline.tune.timing import Timing
from pipeline.tune.worker import Job

N_FRAMES = 50
SIZE = np.array([30.0, 60.0])
PLACES = np.array([[20.0, 40.0], [250.0, 60.0], [120.0, 150.0]])
SPEEDS = np.array([[4.0, 0.0], [-3.0, 1.0], [2.0, -1.0]])
"""px per frame."""


def true_ltwh(frame: int) -> np.ndarray:
    """The boxes of the street, float64 (3, 4)."""
    return np.column_stack([PLACES + frame * SPEEDS, np.tile(SIZE, (len(PLACES), 1))])


def detections(frame: int, n_seen: int, class_id: int = 0) -> Detections:
    """The first `n_seen` of them, exactly."""
    ltwh = true_ltwh(frame)[:n_seen]
    xyxy = np.concatenate([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]], axis=1).astype(np.float32)
    return Detections(xyxy, np.full(n_seen, 0.9, np.float32), np.full(n_seen, class_id, np.int64))


@pytest.fixture
def clip() -> Clip:
    """50 frames at 25 per s."""
    return Clip("street.mp4", "25", None, N_FRAMES, True, 320, 240, "0" * 64)


@pytest.fixture
def truth(clip: Clip) -> Truth:
    """Three people who walk."""
    ids, people = np.arange(1, 4), np.zeros(3, np.int64)
    boxes = tuple(Boxes(true_ltwh(k), np.ones(3), people, ids) for k in range(N_FRAMES))
    area = np.full(3, SIZE.prod())
    return Truth(clip.stream, boxes, (np.zeros(3, np.bool_),) * N_FRAMES, (area,) * N_FRAMES, ("person",))


@pytest.fixture
def seen() -> Callable[[int], tuple[Detections, ...]]:
    """What a network finds that sees so many of the people."""
    return lambda n: tuple(detections(k, n) for k in range(N_FRAMES))


@pytest.fixture
def timing_of() -> Callable[[float], Timing]:
    """The timing of a configuration that takes so many ms, always."""

    def make(runtime_ms: float, backend: str = "eager", precision: str = "fp32") -> Timing:
        runs_per_s = min(25.0, 1e3 / runtime_ms)
        ran = {"backend": backend, "precision": precision, "device": "cpu", "input_hw": [64, 64]}
        cpu_s = runtime_ms * 1.5e-3
        return Timing((round(runtime_ms * 1e6),) * 60, runs_per_s, 0.1 + runs_per_s * cpu_s, cpu_s, ran, ("person",))

    return make


@dataclass
class FakeMachine:
    """Does jobs in no time.

    Attributes:
        runtime_ms: by weights' name and backend, at 100 px; it grows with the area.
        n_seen: how many of the people a network finds, by weights' name.
        class_names: of every network.
        only_px: sizes that a network has, by weights' name; absent: any.
        jobs: all that were asked for.
        stop_at: Ctrl-C comes when so many are done.
    """

    timing_of: Callable[..., Timing]
    runtime_ms: dict[tuple[str, str], float]
    n_seen: dict[str, int]
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    only_px: dict[str, int] = field(default_factory=dict)
    jobs: list[tuple[str, str]] = field(default_factory=list)
    stop_at: int | None = None

    def do(self, job: Job) -> dict[str, Any]:
        """What a measuring process gives back."""
        if self.stop_at is not None and len(self.jobs) >= self.stop_at:
            raise KeyboardInterrupt
        one = job.configuration
        name = Path(one.weights).stem
        self.jobs.append((job.what, f"{name} {one.img_size} {one.backend} {one.precision}"))
        if (name, one.backend) not in self.runtime_ms:
            raise BackendError(f"{one.backend}: wanted its package, found none")
        if self.only_px.get(name, one.img_size) != one.img_size:
            raise ConfigError(f"img_size: this file runs at {self.only_px[name]} only")
        if job.what == "time":
            return self._timing(one, name).to_json()
        names = self.class_names.get(name, ("person",))
        number = names.index("person") if "person" in names else 0
        Found(names, tuple(detections(k, self.n_seen[name], number) for k in range(N_FRAMES))).save(Path(job.place))
        return {}

    def _timing(self, one: Configuration, name: str) -> Timing:
        ms = self.runtime_ms[name, one.backend] * ((one.img_size or 100) / 100) ** 2
        best = "bf16" if one.backend == "openvino" else "fp32"
        return self.timing_of(ms, one.backend, best if one.precision == "auto" else one.precision)


@pytest.fixture
def fake_machine(timing_of: Callable[..., Timing]) -> FakeMachine:
    """`light` sees two of three people in 4 ms, `heavy` all in 30; ONNX Runtime takes twice as long as OpenVINO."""
    runtime_ms = {
        ("light", "openvino"): 4.0,
        ("light", "onnxruntime"): 8.0,
        ("heavy", "openvino"): 30.0,
        ("heavy", "onnxruntime"): 60.0,
    }
    return FakeMachine(timing_of, runtime_ms, {"light": 2, "heavy": 3})


@pytest.fixture
def weights(tmp_path: Path) -> list[str]:
    """Two files that stand for networks."""
    for name in ("light", "heavy"):
        (tmp_path / f"{name}.pt").write_text(name)
    return [str(tmp_path / f"{name}.pt") for name in ("light", "heavy")]
