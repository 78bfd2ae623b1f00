"""Measurements: of a small network on a small clip, and with a clock that the test moves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.benchmark import detector_stages, end_to_end, shared_stages, stopwatch, worker
from pipeline.benchmark.configuration import DETECTOR_STAGES, SHARED_STAGES, Configuration, Job
from pipeline.benchmark.end_to_end import Meter
from pipeline.benchmark.machine import FEATURES, machine
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.processes import run_job
from pipeline.benchmark.shared_stages import walking_objects
from pipeline.benchmark.stopwatch import time_calls
from pipeline.benchmark.usage import cpu_s
from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError, StopRequest, UsageError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.draw import Annotator
from sinks.video_file import VideoFileSink
from sources.video_file import VideoFileSource
from tracker.bytetrack import ByteTracker

SECONDS = 0.1


@pytest.fixture
def configuration(small_weights: Path) -> Configuration:
    return Configuration(str(small_weights), "eager", "fp32", 64, 2, "cpu")


class FakeClock:
    """Time that passes by what a test says; every second of it costs two of CPU time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        for module in (stopwatch, end_to_end, detector_stages):
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


def test_shared_stages_are_timed_at_work(small_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Counter[str]()

    def count(stage: str, owner: type, method: str) -> None:
        original = getattr(owner, method)

        def call(*arguments: object) -> object:
            worked[stage] += 1
            return original(*arguments)

        monkeypatch.setattr(owner, method, call)

    count("decode", VideoFileSource, "read")
    count("track", ByteTracker, "update")
    count("draw", Annotator, "draw")
    count("encode", VideoFileSink, "write")
    measured = worker.do(Job("shared", None, str(small_clip), SECONDS))
    assert tuple(measured.stages) == SHARED_STAGES
    for name, figures in measured.stages.items():
        assert worked[name] >= figures.calls + stopwatch.MIN_CALLS, name


def test_the_time_of_a_detection_goes_to_the_stage_that_took_it(
    small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock(monkeypatch)

    class Network:
        device = torch.device("cpu")

        def infer(self, images: torch.Tensor) -> None:
            clock.now_s += 2.0

    class Detector:
        def detect_images(self, images: list[np.ndarray]) -> list[Detections]:
            clock.now_s += 1.0
            observed.infer(torch.zeros(0))
            clock.now_s += 4.0
            return [Detections.empty() for _ in images]

        def close(self) -> None: ...

    observed = detector_stages.ObservedBackend(Network())  # type: ignore[arg-type]
    monkeypatch.setattr(detector_stages, "open_observed", lambda _: (Detector(), observed, {}))
    stages = detector_stages.measure_detector(Configuration("w", batch=2), small_clip, 40.0).stages
    assert {name: found.p50_ms for name, found in stages.items()} == {
        **{"preprocess": 1000.0, "inference": 2000.0, "postprocess": 4000.0, "detector": 7000.0}
    }
    # Two frames a call, and two seconds of CPU time in each second.
    assert [found.frames_per_s for found in stages.values()] == [2.0, 1.0, 0.5, pytest.approx(2 / 7)]
    assert [found.cpu_s_per_frame for found in stages.values()] == [1.0, 2.0, 4.0, 7.0]


def test_a_detector_that_runs_here(configuration: Configuration, small_clip: Path) -> None:
    measured = worker.do(Job("detector", configuration, str(small_clip), SECONDS))
    assert tuple(measured.stages) == (*DETECTOR_STAGES, "detector")
    assert {found.calls for found in measured.stages.values()} == {measured.stages["detector"].calls}
    assert measured.ran == {"backend": "eager", "precision": "fp32", "device": "cpu", "input_hw": (64, 64)}


def test_end_to_end_is_the_real_pipeline(configuration: Configuration, small_clip: Path) -> None:
    measured = worker.do(Job("end to end", configuration, str(small_clip), None))
    assert measured.notes["frames"] == 40
    assert int(str(measured.notes["mp4_bytes"])) > 1000
    assert int(str(measured.notes["jsonl_bytes"])) > 1000
    # Results before the channels are full are not measured, nor the one that begins the measurement.
    assert measured.stages["end to end"].calls == 40 - 24 - 1
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


_PEAK = """
import numpy as np
from pipeline.benchmark.usage import peak_memory_mb
before = peak_memory_mb()
block = np.ones(100_000_000, np.uint8)
del block
print(before, peak_memory_mb())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell")
def test_the_peak_of_memory_is_this_process_own() -> None:
    """Also after the memory is given back; and not of the process that started it, which may have held far more."""
    held = np.ones(150_000_000, np.uint8)
    shown = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True)
    before_mb, peak_mb = map(float, shown.stdout.split())
    assert before_mb < held.nbytes / 1e6
    assert 95 < peak_mb - before_mb < 120


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
