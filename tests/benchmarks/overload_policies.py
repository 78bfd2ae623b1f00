"""What each overload policy does on a real clip while another program takes the processor away.

    python tests/benchmarks/overload_policies.py clip.mp4 --weights yolox_nano.pth --sizes 640 512 416 320
        [--policies drop every_nth ...] [--set KEY=VALUE ...] [--load 2] [--rounds 1] [--json out.json]

The clip is played at its own rate, over and over: once quietly, twice beside `--load` busy processes, once quietly
again. Told for both kinds of time: results per second, share of frames with a result, age at emission, and agreement:
AP of what is shown when each frame arrives, against what the first rung finds in that frame without any hurry
(confidence 0.4 and more). Nobody labelled the clip: it says what latency and a lighter rung cost, not what is true.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.build import build_detector, build_run, build_sources, load_run_config
from pipeline.core.clock import MonotonicClock
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.percentile import nearest_rank
from pipeline.core.result import FrameResult
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import show
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

TRUE_FROM = 0.4
"""Confidence from which on a box of the first rung counts as true."""
PHASES = ("quiet", "loaded", "loaded", "quiet")
POLICIES = ("drop", "every_nth", "smaller_input", "best")


class _Keep:
    """Keeps every result, and starts and ends the load with the phases."""

    needs_image = needs_main_thread = is_live = False
    shared = True

    def __init__(self, n_frames: int, n_load: int) -> None:
        self.results: list[FrameResult] = []
        self._n_frames, self._n_load = n_frames, n_load
        self._busy: list[subprocess.Popen[bytes]] = []

    def open(self, info: StreamInfo) -> None: ...

    def write(self, result: FrameResult) -> None:
        self.results.append(result)
        phase = PHASES[min(result.frame.index // self._n_frames, len(PHASES) - 1)]
        if phase == "loaded" and not self._busy:
            self._busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(self._n_load)]
        elif phase == "quiet":
            self._end_load()

    def close(self) -> None:
        self._end_load()

    def _end_load(self) -> None:
        for process in self._busy:
            process.kill()
            process.wait()
        self._busy = []


def _truth(config: Any, detector_section: dict[str, Any]) -> Truth:
    """What the first rung finds in every frame of the clip."""
    (source,) = build_sources(config, MonotonicClock())
    info = source.open()
    detector = build_detector({**detector_section, "conf_thres": TRUE_FROM})
    frames: list[Frame] = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    boxes = tuple(Boxes.of_detections(detector.detect([frame])[0]) for frame in frames)
    names = detector.class_names
    detector.close()
    source.close()
    fps = Fraction(info.declared_fps or 25).limit_denominator(1001)
    stream = Stream("clip", fps, len(frames), info.width_px, info.height_px)
    crowd = tuple(np.zeros(len(one), np.bool_) for one in boxes)
    return Truth(stream, boxes, crowd, tuple(one.ltwh[:, 2:].prod(1) for one in boxes), names)


def _run(clip: Path, settings: Sequence[str], truth: Truth, n_load: int) -> dict[str, Any]:
    n_frames = truth.stream.n_frames
    keep = _Keep(n_frames, n_load)
    config = load_run_config(
        None,
        {"sources": [str(clip)], "outputs": ["null"]},
        [*settings, "runtime.realtime=true", "source.replay.loop=true"],
    )
    config = config.model_copy(update={"max_frames": n_frames * len(PHASES)})
    with build_run(config, extra_sinks=[SinkBinding("keep", keep)]) as built:
        report = built.runner.run()
    (account,) = report.sources.values()
    assert account.produced == account.emitted + sum(account.dropped.values())
    whole = Stream("run", truth.stream.fps, n_frames * len(PHASES), truth.stream.width_px, truth.stream.height_px)
    zero_ns = keep.results[0].frame.captured_ns - whole.arrival_ns(keep.results[0].frame.index)
    shown = show([_output(result, zero_ns, whole) for result in keep.results], whole)
    told: dict[str, Any] = {"overload": dict(report.overload)}
    for phase in sorted(set(PHASES)):
        told[phase] = _phase([k for k, name in enumerate(PHASES) if name == phase], keep.results, shown.boxes, truth)
    return told


def _output(result: FrameResult, zero_ns: int, stream: Stream) -> Output:
    emitted_ns = result.timeline.emitted or 0
    at_ns = max(emitted_ns - zero_ns, stream.arrival_ns(result.frame.index))
    return Output(at_ns, result.frame.index, Boxes.of_tracks(result.tracks))


def _phase(
    rounds: Sequence[int], results: Sequence[FrameResult], shown: Sequence[Boxes], truth: Truth
) -> dict[str, float]:
    n_frames = truth.stream.n_frames
    own = [result for result in results if result.frame.index // n_frames in rounds]
    ages = sorted((result.timeline.emitted or 0) - result.frame.captured_ns for result in own)
    copies = [
        Truth(
            Stream(f"round {k}", truth.stream.fps, n_frames, truth.stream.width_px, truth.stream.height_px),
            truth.boxes,
            truth.crowd,
            truth.area,
            truth.class_names,
        )
        for k in rounds
    ]
    found = [dict(enumerate(shown[k * n_frames : (k + 1) * n_frames])) for k in rounds]
    scores = average_precision(copies, found)
    return {
        "results_per_s": len(own) / (len(rounds) * n_frames * truth.stream.interval_s),
        "share": len(own) / (len(rounds) * n_frames),
        "detected": sum(not result.filled for result in own) / (len(rounds) * n_frames),
        "age_p50_ms": ages[nearest_rank(0.50, len(ages)) - 1] / 1e6,
        "age_p95_ms": ages[nearest_rank(0.95, len(ages)) - 1] / 1e6,
        "agreement": scores.ap,
        "agreement_50": scores.ap50,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", default="street")
    parser.add_argument("--sizes", type=int, nargs="+", default=[640, 512, 416, 320])
    parser.add_argument("--policies", nargs="+", default=list(POLICIES), help="drop, every_nth, every_nth=3, …")
    parser.add_argument("--load", type=int, default=os.cpu_count() or 1, help="busy processes beside the run")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    first = {"weights": args.weights, "img_size": args.sizes[0]}
    base = [f"detector={json.dumps(first)}", *args.settings]
    clip_config = load_run_config(None, {"sources": [str(args.clip)]}, base)
    truth = _truth(clip_config, clip_config.detector)
    accuracy = _rung_accuracy(clip_config, args.sizes, truth)
    print(
        "offline agreement of the rungs: "
        + ", ".join(f"{s}: {a:.3f}" for s, a in zip(args.sizes, accuracy, strict=True))
    )
    told: dict[str, list[dict[str, Any]]] = {name: [] for name in args.policies}
    for _ in range(args.rounds):
        for name in args.policies:
            settings = [*base, f"runtime.overload={json.dumps(_policy(name, args.sizes, accuracy))}"]
            told[name].append(_run(args.clip, settings, truth, args.load))
    for phase in ("quiet", "loaded"):
        print(f"\n{phase}: results/s, share of frames, detected, age p50 and p95 (ms), agreement AP and AP50")
        for name, runs in told.items():
            figures = {key: statistics.median(run[phase][key] for run in runs) for key in runs[0][phase]}
            print(f"  {name:16}" + "".join(f"{value:9.3f}" for value in figures.values()))
    for name, runs in told.items():
        print(f"{name}: {json.dumps(runs[-1]['overload'])}")
    if args.json:
        args.json.write_text(json.dumps({"accuracy": accuracy, "runs": told}, indent=1))


def _policy(name: str, sizes: Sequence[int], accuracy: Sequence[float]) -> dict[str, Any]:
    policy, _, n = name.partition("=")
    if policy == "every_nth":
        return {"policy": policy, "every_nth": int(n) if n else "auto"}
    if policy == "smaller_input":
        return {"policy": policy, "ladder": list(sizes)}
    if policy == "best":
        rungs = [{"img_size": size, "accuracy": round(ap, 4)} for size, ap in zip(sizes, accuracy, strict=True)]
        return {"policy": policy, "ladder": rungs}
    return {"policy": policy}


def _rung_accuracy(config: Any, sizes: Sequence[int], truth: Truth) -> list[float]:
    """Agreement of every rung with the first, on every fifth frame and without latency."""
    (source,) = build_sources(config, MonotonicClock())
    source.open()
    frames: list[Frame] = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    accuracy = []
    for size in sizes:
        detector = build_detector({**config.detector, "img_size": size, "conf_thres": 0.1})
        found = {k: Boxes.of_detections(detector.detect([frames[k]])[0]) for k in range(0, len(frames), 5)}
        detector.close()
        accuracy.append(average_precision([truth], [found]).ap)
    return accuracy


if __name__ == "__main__":
    main()
