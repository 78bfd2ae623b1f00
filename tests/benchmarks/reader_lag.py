"""How old a frame is when a slow detector takes it, over minutes.

    python tests/benchmarks/reader_lag.py --minutes 5

A real RTSP stream of 25 frames per second whose pictures say when they were made, and a detector of 2 frames per
second. The bar: at most two frame intervals older than at the moment when it was decoded. What is taken after the run
was asked to end does not count: nothing newer is read then, and the last frame waits until the detector is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Taken:
    """A frame when the detector took it."""

    index: int
    at_ns: int
    since_decoded_ms: float
    since_made_ms: float


class SlowDetector:
    """Notes how old each frame is, then takes its time."""

    class_names = ("person",)

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._never = threading.Event()
        self.taken: list[Taken] = []

    def warmup(self) -> None:
        """Nothing to do."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """No boxes, late."""
        for frame in frames:
            now_ns, made_ms = MonotonicClock().now_ns(), stamped_picture.age_ms(frame.image)
            self.taken.append(Taken(frame.index, now_ns, (now_ns - frame.captured_ns) / 1e6, made_ms))
        self._never.wait(self._seconds)
        return [Detections.empty() for _ in frames]

    def close(self) -> None:
        """Nothing to do."""


class NotingSource(NetworkSource):
    """Notes when each frame was there."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, source_id="cam", clock=MonotonicClock())
        self.read_ns: list[int] = []

    def read(self) -> Frame | None:
        """The next frame."""
        frame = super().read()
        if frame is not None:
            self.read_ns.append(frame.captured_ns)
        return frame


def late(taken: Sequence[Taken], read_ns: Sequence[int], bar_ms: float) -> list[dict[str, float]]:
    """Frames older than the bar when they were taken, and for how long there was no newer one."""
    return [
        {
            "frame": one.index,
            "taken_after_s": round((one.at_ns - read_ns[0]) / 1e9, 3),
            "age_ms": round(one.since_decoded_ms, 1),
            "next_frame_came_after_ms": round((read_ns[one.index + 1] - read_ns[one.index]) / 1e6, 1),
        }
        for one in taken
        if one.since_decoded_ms > bar_ms and one.index + 1 < len(read_ns)
    ]


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
    source = NotingSource(NetworkConfig(url=Url(server.url())))
    runner = Runner([source], detector)
    stopped_ns = 0

    def stop() -> None:
        nonlocal stopped_ns
        stopped_ns = MonotonicClock().now_ns()
        runner.stop()

    ender = threading.Timer(args.minutes * 60, stop)
    ender.start()
    try:
        report = runner.run().sources["cam"]
    finally:
        ender.cancel()
        server.kill()
    taken = [one for one in detector.taken if one.at_ns < stopped_ns]
    made_ms = [one.since_made_ms for one in taken]
    found = {
        "frame_interval_ms": 40,
        "read": report.produced,
        "taken": len(taken),
        "age_since_decoded_ms": figures([one.since_decoded_ms for one in taken]),
        "older_than_the_bar": late(taken, source.read_ns, 2 * 40),
        "age_since_made_ms": figures(made_ms),
        "age_since_made_ms_last_quarter": figures(made_ms[len(made_ms) * 3 // 4 :]),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
