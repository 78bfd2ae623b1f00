"""What the account of latency's cost takes from a live run.

    python tests/benchmarks/label_free_overhead.py CLIP --weights yolox_nano.onnx

The clip is played in a loop as a live source, faster than the detector is, so that the detector sets the pace. Within
one run the account is switched on and off by turns, so that whatever else the machine does falls on both alike. It
tells how the rates compare, and what share of the processor time is the account's while it is on. Then what one frame
of it takes, by number of objects.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.config.build import build_detector, detector_section_for_tracking, load_run_config, tracker_factory
from pipeline.core.clock import MonotonicClock
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks
from pipeline.runtime.latency_account import FRAMES_PER_S, LatencyAccount
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.self_consistency import SelfConsistency
from sinks.null import NullConfig, NullSink
from sources.replay import ReplayConfig, ReplaySource
from sources.video_file import VideoFileConfig, VideoFileSource

FPS = 120.0
OBJECTS = (0, 10, 50, 200)
SLOT_S = 0.25
WARM_UP = 4


class Turns:
    """Feeds the account by turns, and counts results and processor time of each.

    Args:
        account: of the run.
    """

    def __init__(self, account: LatencyAccount) -> None:
        self._account, self._feed = account, account.emitted
        self._began_s = time.monotonic()
        self._first_on = np.random.default_rng(0).integers(2, size=10_000)
        self._slot = -1
        self._process_s = 0.0
        self.results: list[int] = []
        self.process_s: list[float] = []
        self.account_s = 0.0

    def is_on(self, slot: int) -> bool:
        """Of the two slots of a pair, one drawn by lot."""
        return bool((slot + self._first_on[slot // 2]) % 2)

    def __call__(self, result: FrameResult) -> None:
        """A result was emitted. From the thread that emits."""
        slot = int((time.monotonic() - self._began_s) / SLOT_S)
        process_s = time.process_time()
        while self._slot < slot:
            self._slot += 1
            self.results.append(0)
            self.process_s.append(0.0)
            self._account.ended(result.frame.source_id)
        self.results[slot] += 1
        self.process_s[slot] += process_s - self._process_s
        self._process_s = process_s
        if self.is_on(slot):
            began_s = time.thread_time()
            self._feed(result)
            self.account_s += time.thread_time() - began_s


def run(clip: Path, detector: Detector, tracker: dict[str, object], seconds: float) -> dict[str, float]:
    """One run with turns."""
    clock = MonotonicClock()
    source = ReplaySource(
        ReplayConfig(fps=FPS, loop=True),
        lambda: VideoFileSource(VideoFileConfig(path=clip), source_id="clip", clock=clock),
        source_id="clip",
        clock=clock,
    )
    sinks = [SinkBinding("null", NullSink(NullConfig(), class_names=detector.class_names))]
    runner = Runner([source], detector, tracker_factory(tracker), sinks, RunnerSettings())
    turns = Turns(runner._latency_cost)
    runner._latency_cost.emitted = turns  # type: ignore[method-assign]
    timer = threading.Timer(seconds, runner.stop)
    timer.start()
    runner.run()
    timer.join()
    # The first pairs warm up, the last one is not full.
    pairs = range(WARM_UP, len(turns.results) // 2 - 1)
    on = np.array([turns.results[2 * p + (not turns.is_on(2 * p))] for p in pairs])
    off = np.array([turns.results[2 * p + turns.is_on(2 * p)] for p in pairs])
    process_s = sum(turns.process_s[slot] for slot in range(1, len(turns.results)) if turns.is_on(slot))
    draws = np.random.default_rng(0).integers(len(on), size=(2000, len(on)))
    low, high = np.percentile(on[draws].sum(1) / off[draws].sum(1), (2.5, 97.5))
    return {
        "frames_per_s": float(off.mean() / SLOT_S),
        "ratio_with_to_without": float(on.sum() / off.sum()),
        "ratio_95_percent_from": float(low),
        "ratio_95_percent_to": float(high),
        "share_of_processor_time": turns.account_s / process_s,
    }


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
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args()
    config = load_run_config(None, {"sources": [str(options.clip)]}, [f"detector.weights={options.weights}"])
    detector = build_detector(detector_section_for_tracking(config))
    figures = run(options.clip, detector, config.tracker, options.seconds)
    detector.close()
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=1))
    for n in OBJECTS:
        for who in (("emission",), ("emission", "display")):
            took_us = min(us_per_frame(crowd(n, 300), who) for _ in range(5))
            print(f"{n} objects, {' and '.join(who)}: {took_us:.0f} us per frame")
    return 0 if figures["share_of_processor_time"] <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
