"""How much later a picture is seen for having gone through Tracklight, on this machine.

    python tests/benchmarks/glass_to_glass.py --seconds 60

A camera whose pictures say when they were made is read directly, and through a run with a detector that finds nothing,
pushed to a second RTSP server and read from there. The difference is what the run, its encoder and the second server
add. Both are read at the same time, so that they see the same machine. With `--weights street` a real detector looks.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import stamped_picture
from rtsp_process import SERVER, RtspServer

from pipeline.config.build import build_detector
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame
from pipeline.core.protocols import Detector
from pipeline.core.url import Url
from pipeline.runtime.runner import Runner
from pipeline.runtime.sink_worker import SinkBinding
from sinks.rtsp import RtspConfig, RtspSink
from sources.network import NetworkConfig, NetworkSource

PLAUSIBLE_MS = 5000
WARM_S = 3.0
"""Servers hand the pictures of their start over in a bundle."""


class NullDetector:
    """Finds nothing, at once."""

    class_names = ("person",)

    def warmup(self) -> None:
        """Nothing to do."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """No boxes."""
        return [Detections.empty() for _ in frames]

    def close(self) -> None:
        """Nothing to do."""


class Eye(threading.Thread):
    """Watches a stream and notes how old each picture is when it is decoded."""

    def __init__(self, url: str) -> None:
        super().__init__(name="eye")
        self._source = NetworkSource(
            NetworkConfig(url=Url(url), open_timeout_s=20, read_timeout_s=20), source_id="eye", clock=MonotonicClock()
        )
        self.ages_ms: dict[int, int] = {}
        """By the moment at which the picture was made (ms)."""
        self.open_s = 0.0

    def open(self) -> None:
        """Wait until there is something to see."""
        begun_s = time.monotonic()
        self._source.open()
        self.open_s = time.monotonic() - begun_s

    def run(self) -> None:
        """Watch until `close`."""
        while (frame := self._source.read()) is not None:
            age_ms = stamped_picture.age_ms(frame.image)
            if age_ms < PLAUSIBLE_MS:
                self.ages_ms[stamped_picture.read(frame.image)[0]] = age_ms

    def close(self) -> None:
        """Look no longer."""
        self._source.interrupt()
        if self.is_alive():
            self.join()
        self._source.close()


def measure(seconds: float, width: int, height: int, fps: int, detector: Detector) -> dict[str, object]:
    """Ages (ms) of pictures seen directly and through a run, and the difference of their percentiles."""
    camera = RtspServer("--width", str(width), "--height", str(height), "--fps", str(fps))
    out = RtspServer(program=SERVER.with_name("rtsp_record_server.py"))
    camera.start()
    out.start()
    source = NetworkSource(NetworkConfig(url=Url(camera.url())), source_id="cam", clock=MonotonicClock())
    sink = RtspSink(RtspConfig(url=out.url(path="/live")), class_names=("person",))
    runner = Runner([source], detector, None, [SinkBinding("push", sink)])
    run = threading.Thread(target=runner.run, name="run")
    run.start()
    direct, through = Eye(camera.url()), Eye(out.url(path="/live/play"))
    try:
        direct.open()
        _wait_for_the_push(runner)
        through.open()
        direct.start()
        through.start()
        time.sleep(WARM_S + seconds)
    finally:
        direct.close()
        through.close()
        runner.stop()
        run.join()
        camera.kill()
        out.kill()
    first_ms = min(through.ages_ms) + WARM_S * 1000
    both = [made_ms for made_ms in through.ages_ms.keys() & direct.ages_ms.keys() if made_ms > first_ms]
    columns = {
        "direct": [direct.ages_ms[made_ms] for made_ms in both],
        "through": [through.ages_ms[made_ms] for made_ms in both],
        "added": [through.ages_ms[made_ms] - direct.ages_ms[made_ms] for made_ms in both],
    }
    detect = runner.report().stages["detect"].duration
    figures: dict[str, object] = {
        "pictures": len(both),
        "frame_interval_ms": round(1000 / fps, 1),
        "detect_ms": {"p50": round(detect.p50_ms, 1), "p95": round(detect.p95_ms, 1)},
    }
    for name, values in columns.items():
        figures[f"{name}_ms"] = {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)}
    for q in (50, 95):
        figures[f"added_p{q}_intervals"] = round(float(np.percentile(columns["added"], q)) * fps / 1000, 2)
    return figures


def _wait_for_the_push(runner: Runner) -> None:
    """The server that is pushed to stands still while somebody asks for a stream that is not there yet."""
    for _ in range(100):
        if runner.report().sinks["push"].written > 5:
            return
        time.sleep(0.1)
    raise SystemExit("nothing was pushed within 10 s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--weights", help="a real detector instead of one that finds nothing")
    args = parser.parse_args()
    detector = NullDetector() if args.weights is None else build_detector({"weights": args.weights})
    print(json.dumps(measure(args.seconds, args.width, args.height, args.fps, detector), indent=2))


if __name__ == "__main__":
    main()
