"""How old a frame is when a slow detector takes it, over minutes.

    python tests/benchmarks/reader_lag.py --minutes 5

A real RTSP stream of 25 frames per second whose pictures say when they were made, and a detector of 2 frames per
second. The bar: at most two frame intervals older than at the moment when it was decoded.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import stamped_picture
from rtsp_process import RtspServer

from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame
from pipeline.core.url import Url
from pipeline.runtime.runner import Runner
from sources.network import NetworkConfig, NetworkSource


class SlowDetector:
    """Notes how old each frame is, then takes its time."""

    class_names = ("person",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._never = threading.Event()
        self.seen_ms: list[int] = []
        self.since_read_ms: list[float] = []

    def warmup(self) -> None:
        """Nothing to do."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """No boxes, late."""
        now_ns = MonotonicClock().now_ns()
        self.seen_ms += [stamped_picture.age_ms(frame.image) for frame in frames]
        self.since_read_ms += [(now_ns - frame.captured_ns) / 1e6 for frame in frames]
        self._never.wait(self._seconds)
        return [Detections.empty() for _ in frames]

    def close(self) -> None:
        """Nothing to do."""


def figures(values: Sequence[float]) -> dict[str, float]:
    """Percentiles (ms)."""
    return {name: round(float(np.percentile(values, q)), 1) for name, q in (("p50", 50), ("p99", 99), ("max", 100))}


def main() -> None:
    """Measure and print; the last quarter apart, since lag would grow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    args = parser.parse_args()
    server, detector = RtspServer(), SlowDetector(0.5)
    server.start()
    source = NetworkSource(NetworkConfig(url=Url(server.url())), source_id="cam", clock=MonotonicClock())
    runner = Runner([source], detector)
    ender = threading.Timer(args.minutes * 60, runner.stop)
    ender.start()
    try:
        report = runner.run().sources["cam"]
    finally:
        ender.cancel()
        server.kill()
    last = len(detector.seen_ms) * 3 // 4
    found = {
        "frame_interval_ms": 40,
        "read": report.produced,
        "taken": report.emitted,
        "age_since_decoded_ms": figures(detector.since_read_ms),
        "age_since_made_ms": figures(detector.seen_ms),
        "age_since_made_ms_last_quarter": figures(detector.seen_ms[last:]),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
