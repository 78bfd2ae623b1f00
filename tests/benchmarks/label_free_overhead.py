"""What the account of latency's cost takes from a live run.

    python tests/benchmarks/label_free_overhead.py CLIP --weights yolox_nano.onnx

The clip is played in a loop as a live source, faster than the detector is, so that the detector sets the pace; runs
with and without the account take turns. Beside the frame rates, which swing with whatever else the machine does, it
tells how much of a run's processor time is the account's. Then what one frame of it takes, by number of objects.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.build import build_detector, detector_section_for_tracking, load_run_config, tracker_factory
from pipeline.core.clock import MonotonicClock
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks
from pipeline.runtime.latency_account import FRAMES_PER_S
from pipeline.runtime.runner import Runner, RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.self_consistency import SelfConsistency
from sinks.null import NullConfig, NullSink
from sources.replay import ReplayConfig, ReplaySource
from sources.video_file import VideoFileConfig, VideoFileSource

FPS = 120.0
OBJECTS = (0, 10, 50, 200)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: results per second, and the share of its processor time that the account took."""

    frames_per_s: float
    share: float


class Timed:
    """Calls a function and adds up what it takes of its thread's processor time."""

    def __init__(self, called: Callable[[FrameResult], None]) -> None:
        self._called = called
        self.seconds = 0.0

    def __call__(self, result: FrameResult) -> None:
        """As the function."""
        began_s = time.thread_time()
        self._called(result)
        self.seconds += time.thread_time() - began_s


def run(clip: Path, detector: Detector, tracker: dict[str, object], seconds: float, *, latency_cost: bool) -> Outcome:
    """One run."""
    clock = MonotonicClock()
    source = ReplaySource(
        ReplayConfig(fps=FPS, loop=True),
        lambda: VideoFileSource(VideoFileConfig(path=clip), source_id="clip", clock=clock),
        source_id="clip",
        clock=clock,
    )
    sinks = [SinkBinding("null", NullSink(NullConfig(), class_names=detector.class_names))]
    runner = Runner([source], detector, tracker_factory(tracker), sinks, RunnerSettings(latency_cost=latency_cost))
    account = runner._latency_cost
    timed = Timed(account.emitted)
    account.emitted = timed  # type: ignore[method-assign]
    timer = threading.Timer(seconds, runner.stop)
    timer.start()
    began_s = time.process_time()
    report = runner.run()
    share = timed.seconds / (time.process_time() - began_s)
    timer.join()
    return Outcome(report.emitted_per_s, share)


def crowd(n_objects: int, n_frames: int) -> list[Tracks]:
    """Objects that walk, of which the detector misses one in twenty."""
    random = np.random.default_rng(0)
    at, speed, size = random.uniform(0, 1800, (n_objects, 2)), random.normal(0, 3, (n_objects, 2)), (60.0, 120.0)
    frames = []
    for frame in range(n_frames):
        seen = np.flatnonzero(random.random(n_objects) < 0.95)
        corner = (at + speed * frame)[seen]
        none = np.zeros(len(seen), np.int64)
        scores = random.uniform(0.5, 1, len(seen)).astype(np.float32)
        frames.append(Tracks(np.hstack([corner, corner + size]).astype(np.float32), scores, none, seen + 1, none))
    return frames


def us_per_frame(frames: Sequence[Tracks], viewers: Sequence[str]) -> float:
    """What a frame of a 30-frames/s camera takes, shown 50 ms after its capture."""
    account = SelfConsistency(*viewers, frames_per_s=FRAMES_PER_S)
    began_s = time.thread_time()
    for index, tracks in enumerate(frames):
        captured_ns = index * 33_333_333
        for viewer in viewers:
            account.shown(viewer, captured_ns + 50_000_000, index, captured_ns, tracks)
        account.said(index, captured_ns, captured_ns + 50_000_000, tracks)
    return (time.thread_time() - began_s) / len(frames) * 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6.0, help="of one run")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    config = load_run_config(None, {"sources": [str(options.clip)]}, [f"detector.weights={options.weights}"])
    detector = build_detector(detector_section_for_tracking(config))
    outcomes: dict[bool, list[Outcome]] = {True: [], False: []}
    for number in range(options.rounds):
        for latency_cost in (True, False) if number % 2 else (False, True):
            outcomes[latency_cost].append(
                run(options.clip, detector, config.tracker, options.seconds, latency_cost=latency_cost)
            )
    detector.close()
    with_it, without = ([one.frames_per_s for one in outcomes[on]] for on in (True, False))
    ratios = np.array(with_it) / np.array(without)
    share = float(np.median([one.share for one in outcomes[True]]))
    figures: dict[str, Any] = {
        "frames_per_s_with": round(float(np.median(with_it)), 2),
        "frames_per_s_without": round(float(np.median(without)), 2),
        "ratio_of_each_round": [round(float(ratio), 4) for ratio in ratios],
        "median_ratio": round(float(np.median(ratios)), 4),
        "share_of_processor_time": round(share, 5),
        "us_per_frame": {
            f"{n} objects": {
                who: round(min(us_per_frame(crowd(n, 300), viewers) for _ in range(5)), 1)
                for who, viewers in (("emission", ("emission",)), ("emission and display", ("emission", "display")))
            }
            for n in OBJECTS
        },
    }
    print(json.dumps(figures, indent=1))
    return 0 if share <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
