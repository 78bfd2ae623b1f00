"""What each overload policy does on a real clip while the detector slows down.

    python tests/benchmarks/overload_policies.py clip.mp4 --weights yolox_nano.pth --sizes 640 512 416 320
        [--runtimes 33 24 17 11] [--slow 3] [--busy 0] [--policies drop every_nth every_nth=3 smaller_input best]
        [--rounds 1] [--json out.json]

The clip is played at its own rate, over and over: once as it is, twice overloaded, once as it is again.

With `--runtimes` (ms, one per size) detections are made beforehand and each call of the detector lasts exactly that
long, `--slow` times as long under overload: threads, tracker, clock and clip are real, and other work of the machine
matters little. Without, detectors really run, and `--busy` other processes take the processor away under overload.

Told for both kinds of time: results per second, share of frames with a result, share detected, age at emission, and
agreement: AP of what is shown when each frame arrives, against what the same pipeline with its first rung says of that
frame when it has all the time it wants. Nobody labelled the clip: it tells what latency and lighter rungs cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.build import (
    build_detector,
    build_sources,
    detector_section_for_tracking,
    load_run_config,
    tracker_factory,
)
from pipeline.config.schema import RunConfig
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.percentile import nearest_rank
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.runtime.ladder import LadderDetector
from pipeline.runtime.overload import WITH_LADDER, OverloadPolicy, OverloadRules
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import show
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

PHASES = ("as it is", "overloaded", "overloaded", "as it is")


class _Prepared:
    """A detector whose boxes were found beforehand and whose calls last as long as they are told to."""

    def __init__(self, found: Sequence[Detections], class_names: tuple[str, ...], runtime_s: float) -> None:
        self.class_names = class_names
        self.factor = 1.0
        self._found, self._runtime_s = found, runtime_s

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        end_s = time.monotonic() + self._runtime_s * self.factor * len(frames)
        while (left_s := end_s - time.monotonic()) > 0:
            time.sleep(left_s)
        return [self._found[frame.index % len(self._found)] for frame in frames]

    def close(self) -> None: ...


class _Keep:
    """Keeps every result; begins and ends the overload with the phases."""

    needs_image = needs_main_thread = is_live = False
    shared = True

    def __init__(self, n_frames: int, rungs: Sequence[Detector], slow: float, n_busy: int) -> None:
        self.results: list[FrameResult] = []
        self._n_frames, self._rungs, self._slow, self._n_busy = n_frames, rungs, slow, n_busy
        self._busy: list[subprocess.Popen[bytes]] = []

    def open(self, info: StreamInfo) -> None: ...

    def write(self, result: FrameResult) -> None:
        self.results.append(result)
        overloaded = PHASES[min(result.frame.index // self._n_frames, len(PHASES) - 1)] == "overloaded"
        for rung in self._rungs:
            if isinstance(rung, _Prepared):
                rung.factor = self._slow if overloaded else 1.0
        if overloaded and not self._busy:
            self._busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(self._n_busy)]
        elif not overloaded:
            self.close()

    def close(self) -> None:
        for process in self._busy:
            process.kill()
            process.wait()
        self._busy = []


class _Bench:
    """A clip, its rungs, and what the first of them says without hurry."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.clip = load_run_config(None, {"sources": [str(args.clip)]}, args.settings)
        section = {**detector_section_for_tracking(self.clip), "weights": args.weights}
        self.detectors: list[Detector] = [build_detector({**section, "img_size": size}) for size in args.sizes]
        self.class_names = self.detectors[0].class_names
        (source,) = build_sources(self.clip, MonotonicClock())
        info = source.open()
        frames: list[Frame] = []
        while (frame := source.read()) is not None:
            frames.append(frame)
        source.close()
        fps = Fraction(info.declared_fps or 25).limit_denominator(1001)
        self.stream = Stream("clip", fps, len(frames), info.width_px, info.height_px)
        self.found = [[detector.detect([frame])[0] for frame in frames] for detector in self.detectors]
        unhurried = [self._unhurried(k) for k in range(len(args.sizes))]
        none = tuple(np.zeros(len(boxes), np.bool_) for boxes in unhurried[0])
        area = tuple(boxes.ltwh[:, 2:].prod(1) for boxes in unhurried[0])
        self.truth = Truth(self.stream, unhurried[0], none, area, self.class_names)
        self.accuracy = [average_precision([self.truth], [dict(enumerate(boxes))]).ap or 0.0 for boxes in unhurried]

    def _unhurried(self, rung: int) -> tuple[Boxes, ...]:
        keep = _Keep(self.stream.n_frames, (), 1, 0)
        detector = _Prepared(self.found[rung], self.class_names, 0)
        sources = build_sources(self.clip, MonotonicClock())
        Runner(sources, detector, tracker_factory(self.clip.tracker), [SinkBinding("keep", keep)]).run()
        return tuple(Boxes.of_tracks(result.tracks) for result in keep.results)

    def run(self, policy: str) -> dict[str, Any]:
        args, clock = self.args, MonotonicClock()
        if args.runtimes:
            rungs: list[Detector] = [
                _Prepared(found, self.class_names, runtime_ms / 1e3)
                for found, runtime_ms in zip(self.found, args.runtimes, strict=True)
            ]
        else:
            rungs = self.detectors
        rules = self._rules(policy)
        detector = LadderDetector(rungs, list(map(str, args.sizes)), clock) if rules.policy in WITH_LADDER else rungs[0]
        config = self._paced(self.clip)
        n_frames = self.stream.n_frames
        keep = _Keep(n_frames, rungs, args.slow, args.busy)
        settings = RunnerSettings(overload=rules, max_frames=n_frames * len(PHASES))
        sources = build_sources(config, clock)
        runner = Runner(
            sources, detector, tracker_factory(config.tracker), [SinkBinding("keep", keep)], settings, clock
        )
        report = runner.run()
        (account,) = report.sources.values()
        if account.produced != account.emitted + sum(account.dropped.values()):
            raise SystemExit(f"{policy}: frames are missing: {account}")
        told: dict[str, Any] = {"overload": dict(report.overload), "dropped": dict(account.dropped)}
        return told | self._figures(keep.results)

    def _paced(self, config: RunConfig) -> RunConfig:
        source = {**config.source, "replay": {"loop": True}}
        return config.model_copy(
            update={"source": source, "runtime": config.runtime.model_copy(update={"realtime": True})}
        )

    def _rules(self, policy: str) -> OverloadRules:
        name, _, n = policy.partition("=")
        accuracy = tuple(self.accuracy) if name == OverloadPolicy.BEST else ()
        return OverloadRules(policy=OverloadPolicy(name), every_nth=int(n) if n else None, accuracy=accuracy)

    def _figures(self, results: Sequence[FrameResult]) -> dict[str, Any]:
        clip = self.stream
        whole = Stream("run", clip.fps, clip.n_frames * len(PHASES), clip.width_px, clip.height_px)
        zero_ns = results[0].frame.captured_ns - whole.arrival_ns(results[0].frame.index)
        shown = show([_output(result, zero_ns, whole) for result in results], whole)
        told = {}
        for phase in sorted(set(PHASES)):
            rounds = [k for k, name in enumerate(PHASES) if name == phase]
            own = [result for result in results if result.frame.index // clip.n_frames in rounds]
            ages = sorted((result.timeline.emitted or 0) - result.frame.captured_ns for result in own)
            n_frames = len(rounds) * clip.n_frames
            boxes = [dict(enumerate(shown.boxes[k * clip.n_frames : (k + 1) * clip.n_frames])) for k in rounds]
            scores = average_precision([self._truth_of_round(k) for k in rounds], boxes)
            told[phase] = {
                "results_per_s": len(own) / (n_frames * clip.interval_s),
                "share": len(own) / n_frames,
                "detected": sum(not result.filled for result in own) / n_frames,
                "age_p50_ms": ages[nearest_rank(0.50, len(ages)) - 1] / 1e6,
                "age_p95_ms": ages[nearest_rank(0.95, len(ages)) - 1] / 1e6,
                "agreement": scores.ap or 0.0,
                "agreement_50": scores.ap50 or 0.0,
            }
        return told

    def _truth_of_round(self, number: int) -> Truth:
        clip, truth = self.stream, self.truth
        stream = Stream(f"round {number}", clip.fps, clip.n_frames, clip.width_px, clip.height_px)
        return Truth(stream, truth.boxes, truth.crowd, truth.area, truth.class_names)


def _output(result: FrameResult, zero_ns: int, stream: Stream) -> Output:
    at_ns = (result.timeline.emitted or 0) - zero_ns
    return Output(max(at_ns, stream.arrival_ns(result.frame.index)), result.frame.index, Boxes.of_tracks(result.tracks))


def main() -> None:
    """Run every policy and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", default="street")
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 512, 416, 320])
    parser.add_argument("--runtimes", type=float, nargs="+", help="ms per call, one per size")
    parser.add_argument("--slow", type=float, default=3.0, help="with --runtimes, times as long under overload")
    parser.add_argument("--busy", type=int, default=0, help="busy processes under overload")
    parser.add_argument("--policies", nargs="+", default=["drop", "every_nth", "every_nth=3", "smaller_input", "best"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    bench = _Bench(args)
    rungs = zip(args.sizes, bench.accuracy, strict=True)
    print("agreement of the rungs without hurry: " + ", ".join(f"{size}: {ap:.3f}" for size, ap in rungs), flush=True)
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in args.policies}
    for _ in range(args.rounds):
        for name in args.policies:
            told[name].append(bench.run(name))
    for phase in sorted(set(PHASES)):
        print(f"\n{phase}: results/s, share of frames, share detected, age p50, age p95 (ms), agreement AP, AP50")
        for name, runs in told.items():
            figures = {key: statistics.median(run[phase][key] for run in runs) for key in runs[0][phase]}
            print(f"  {name:16}" + "".join(f"{value:9.3f}" for value in figures.values()))
    for name, runs in told.items():
        print(f"{name}: {json.dumps(runs[-1]['overload'])}")
    if args.json:
        args.json.write_text(json.dumps({"accuracy": bench.accuracy, "runs": told}, indent=1))


if __name__ == "__main__":
    main()
