"""Schedulers in real runs: what a live clip reaches with each, beside what simulation says.

    python tests/benchmarks/live_schedulers.py clip.mp4 --runtime 70 [--frames 500] [--rounds 1]

The detector finds nothing, and each call of it lasts exactly `--runtime` ms; threads, clock, intake and
clip are real. Told are frames detected and the staleness of what is shown (frames), in the run and in simulation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from pipeline.config.build import build_sources, load_run_config
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import match
from pipeline.streaming.outputs import Output
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import scheduler
from pipeline.streaming.simulate import outputs, simulate
from pipeline.streaming.stream import Stream

NAMES = ("idle-free", "shrinking-tail", "planned", "stride-2")


class _Slow:
    """Finds nothing, in exactly so long."""

    class_names = ("thing",)

    def __init__(self, runtime_s: float) -> None:
        self._runtime_s = runtime_s

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        end_s = time.monotonic() + self._runtime_s
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(left_s)
        return [Detections.empty() for _ in frames]

    def close(self) -> None: ...


class _Keep:
    needs_image = needs_main_thread = is_live = False
    shared = True

    def __init__(self) -> None:
        self.results: list[FrameResult] = []
        self.fps: float | None = None

    def open(self, info: StreamInfo) -> None:
        self.fps = info.declared_fps

    def write(self, result: FrameResult) -> None:
        self.results.append(result)

    def close(self) -> None: ...


def _run(clip: Path, name: str, runtime_ms: float, n_frames: int) -> tuple[float, float, Fraction]:
    """Frames detected per second, mean staleness in frames, and the rate of the clip."""
    flags = {"sources": [str(clip)], "runtime": {"realtime": True}, "source": {"replay": {"loop": True}}}
    config, clock, keep = load_run_config(None, flags, []), MonotonicClock(), _Keep()
    settings = RunnerSettings(
        max_frames=n_frames, make_scheduler=None if name == "idle-free" else lambda: scheduler(name), latency_cost=False
    )
    sources = build_sources(config, clock)
    Runner(sources, _Slow(runtime_ms / 1e3), None, [SinkBinding("keep", keep)], settings, clock).run()
    fps = Fraction(keep.fps or 25).limit_denominator(1001)
    stream = Stream("run", fps, n_frames, 1, 1)
    first = keep.results[0].frame
    zero_ns = first.captured_ns - stream.arrival_ns(first.index)
    shown = [
        Output(max((r.timeline.emitted or 0) - zero_ns, stream.arrival_ns(r.frame.index)), r.frame.index, Boxes.empty())
        for r in keep.results
    ]
    return len(keep.results) / (n_frames * stream.interval_s), match(shown, stream).mean_staleness, fps


def _simulated(name: str, runtime_ms: float, n_frames: int, fps: Fraction) -> tuple[float, float]:
    stream, runtimes, chosen = Stream("s", fps, n_frames, 1, 1), Runtimes.constant(runtime_ms), scheduler(name)
    chosen.begin(stream, runtimes)
    runs = simulate(stream, chosen, runtimes.draws(0))
    staleness = match(outputs(runs, lambda _: Boxes.empty()), stream).mean_staleness
    return len(runs) / (n_frames * stream.interval_s), staleness


def main() -> None:
    """Run every scheduler and print what it reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--runtime", type=float, default=70.0, help="ms per call")
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    reached: dict[str, list[tuple[float, float, Fraction]]] = {name: [] for name in NAMES}
    for _ in range(args.rounds):
        for name in NAMES:
            reached[name].append(_run(args.clip, name, args.runtime, args.frames))
    print(f"{args.runtime:g} ms: detected per s and staleness (frames), in a run | in simulation")
    for name, runs in reached.items():
        rate, staleness = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
        simulated = _simulated(name, args.runtime, args.frames, runs[0][2])
        print(f"  {name:15}{rate:7.2f}{staleness:7.2f}  |{simulated[0]:7.2f}{simulated[1]:7.2f}")


if __name__ == "__main__":
    main()
