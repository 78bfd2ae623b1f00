"""Measurements: of a small network on a small clip, and with a clock that the test moves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.benchmark import end_to_end, shared_stages, stopwatch, worker
from pipeline.benchmark.configuration import DETECTOR_STAGES, SHARED_STAGES, Configuration, Job
from pipeline.benchmark.end_to_end import Meter
from pipeline.benchmark.machine import FEATURES, machine
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.processes import run_job
from pipeline.benchmark.shared_stages import walking_objects
from pipeline.benchmark.stopwatch import time_calls
from pipeline.benchmark.usage import cpu_s, peak_memory_mb
from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError, StopRequest, UsageError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks

SECONDS = 0.1


@pytest.fixture
def configuration(small_weights: Path) -> Configuration:
    return Configuration(str(small_weights), "eager", "fp32", 64, 2, "cpu")


class FakeClock:
    """Time that passes by what a test says; every second of it costs two of CPU time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        for module in (stopwatch, end_to_end):
            monkeypatch.setattr(module.time, "perf_counter", lambda: self.now_s)
            monkeypatch.setattr(module, "cpu_s", lambda: 2 * self.now_s)


def result(latency_ns: int) -> FrameResult:
    frame = Frame("cam", 0, np.zeros((2, 2, 3), np.uint8), 0.0, 0, CaptureClock.FILE)
    timeline = Timeline(0, 0, 0, 0, 0, latency_ns)
    return FrameResult(frame, Detections.empty(), Tracks.empty(), timeline)


def test_calls_of_the_warm_up_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(monkeypatch)
    numbers = []

    def call(k: int) -> None:
        numbers.append(k)
        clock.now_s += 1.0 if k < 10 else 0.5

    # A quarter of 40 s goes before the measurement.
    found = time_calls(call, 40.0, frames_per_call=4)
    assert numbers == list(range(90))
    assert (found.calls, found.p50_ms, found.p99_ms) == (80, 500.0, 500.0)
    assert (found.frames_per_s, found.cpu_s_per_frame) == (8.0, 0.25)


def test_rate_and_cpu_time_are_of_the_middle_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(monkeypatch)
    meter = Meter(seconds=2.0, warm_up_s=1.0)
    for k in range(100):
        # Slow at first, as every run is.
        clock.now_s += 0.5 if k < 4 else 0.125
        try:
            meter.write(result(3_000_000 if k % 4 else 5_000_000))
        except StopRequest:
            break
    meter.write(result(9_000_000_000))
    found = meter.figures()
    assert (found.calls, found.frames_per_s, found.cpu_s_per_frame) == (16, 8.0, 0.25)
    assert (found.p50_ms, found.p99_ms) == (3.0, 5.0)


def test_a_run_that_is_too_short_says_so() -> None:
    meter = Meter(seconds=2.0, warm_up_s=1.0)
    meter.write(result(1))
    with pytest.raises(UsageError, match="at least one measured call"):
        meter.figures()


def test_shared_stages(small_clip: Path) -> None:
    measured = worker.do(Job("shared", None, str(small_clip), SECONDS))
    assert tuple(measured.stages) == SHARED_STAGES
    for figures in measured.stages.values():
        assert figures.calls >= 3
        assert 0 < figures.p50_ms <= figures.p95_ms <= figures.p99_ms
        assert figures.frames_per_s > 1


def test_detector_stages_add_up(configuration: Configuration, small_clip: Path) -> None:
    measured = worker.do(Job("detector", configuration, str(small_clip), SECONDS))
    assert tuple(measured.stages) == (*DETECTOR_STAGES, "detector")
    whole = measured.stages["detector"]
    parts = [measured.stages[name] for name in DETECTOR_STAGES]
    assert {part.calls for part in parts} == {whole.calls}
    # Seconds a frame. What is not in the parts is the way between them, in which a busy machine may stop the process.
    assert 0.3 / whole.frames_per_s < sum(1 / part.frames_per_s for part in parts) <= 1 / whole.frames_per_s
    assert sum(part.cpu_s_per_frame for part in parts) <= whole.cpu_s_per_frame
    assert measured.ran == {"backend": "eager", "precision": "fp32", "device": "cpu", "input_hw": (64, 64)}
    assert measured.load_s is not None
    assert measured.load_s > 0


def test_end_to_end_is_the_real_pipeline(configuration: Configuration, small_clip: Path) -> None:
    measured = worker.do(Job("end to end", configuration, str(small_clip), None))
    assert measured.notes["frames"] == 40
    assert int(str(measured.notes["mp4_bytes"])) > 1000
    assert int(str(measured.notes["jsonl_bytes"])) > 1000
    assert measured.stages["end to end"].calls <= 40
    assert "/" not in str(measured.notes["bounded_by"])


def test_a_measurement_longer_than_the_clip_ends_with_it(configuration: Configuration, small_clip: Path) -> None:
    """A quarter of 400 s would be warm-up, and nothing would be left to measure."""
    measured = worker.do(Job("end to end", configuration, str(small_clip), 400.0))
    assert measured.notes["frames"] == 40
    assert measured.stages["end to end"].calls == 40 - 11
    assert 0 < float(str(measured.notes["measured_s"])) < 60


def test_what_is_drawn_keeps_its_id(small_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trail belongs to one object, though objects are missed now and then."""
    places: dict[int, dict[int, np.ndarray]] = {}

    class Recorder:
        def __init__(self, *_: object) -> None: ...

        def draw(self, shown: FrameResult) -> None:
            for number, box in zip(shown.tracks.track_id.tolist(), shown.tracks.xyxy, strict=True):
                places.setdefault(number, {})[shown.frame.index] = (box[:2] + box[2:]) / 2

    monkeypatch.setattr(shared_stages, "Annotator", Recorder)
    worker.do(Job("shared", None, str(small_clip), SECONDS))
    steps = [
        np.abs(track[frame] - track[frame - 1]).max()
        for track in places.values()
        for frame in track
        if frame - 1 in track
    ]
    assert len(places) >= 10
    assert len(steps) > 100
    # Objects walk 0.4 px a frame at most, and are seen with a noise of 1 px.
    assert max(steps) < 10


def test_measured_survives_json(configuration: Configuration, small_clip: Path) -> None:
    measured = worker.do(Job("prepare", configuration, str(small_clip), SECONDS))
    again = Measured.from_json(json.loads(json.dumps(measured.to_json())))
    assert again.to_json() == json.loads(json.dumps(measured.to_json()))


@pytest.mark.parametrize("what", ["prepare", "detector", "end to end"])
def test_a_job_without_a_configuration(what: str, small_clip: Path) -> None:
    with pytest.raises(UsageError, match="wanted a configuration"):
        worker.do(Job(what, None, str(small_clip), SECONDS))  # type: ignore[arg-type]


def test_a_process_gives_its_reason(small_clip: Path) -> None:
    job = Job("prepare", Configuration("no-such-model", device="cpu"), str(small_clip), SECONDS)
    with pytest.raises(BackendError, match="no-such-model"):
        run_job(job)


def test_a_process_that_crashes_is_told_with_its_last_words(
    small_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho illegal instruction >&2\nkill -9 $$\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(BackendError, match=r"was ended by signal 9: illegal instruction"):
        run_job(Job("shared", None, str(small_clip), SECONDS))


def test_what_a_process_uses() -> None:
    before = cpu_s()
    torch.ones(400, 400) @ torch.ones(400, 400)
    assert cpu_s() > before
    if Path("/proc/self/status").exists():
        block = np.ones(200_000_000, np.uint8)
        peak = peak_memory_mb()
        assert peak is not None
        assert peak > block.nbytes / 1e6


def test_objects_walk_within_the_picture() -> None:
    scene = walking_objects(50, 10, (720, 1280))
    assert len(scene) == 50
    assert all(6 <= len(found) <= 10 for found in scene)
    middles = np.concatenate([(found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2 for found in scene])
    assert middles.min() > -20
    assert middles[:, 0].max() < 1300
    assert np.array_equal(scene[3].xyxy, walking_objects(50, 10, (720, 1280))[3].xyxy)


def test_the_machine_is_json() -> None:
    found = json.loads(json.dumps(machine()))
    assert found["usable_cores"] >= 1
    assert set(found["cpu_features"]) <= set(FEATURES)
    assert "numpy" in found["versions"]
