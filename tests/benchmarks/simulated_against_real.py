"""Whether a simulation tells what a real run gives: streaming AP of both, on the same clip.

    python tests/benchmarks/simulated_against_real.py bikes.mp4 --weights street yolox_nano.onnx yolox_nano.pth@832

For each detector (weights, `@` and an input size where it is to have another one):

1. Labels. No labelled video ships with the project, so the labels are what a YOLOX or street network says at TRUTH_PX,
   offline and tracked: all that counts here is that both ways are scored by the same ones.
2. One run in real time measures runtimes: how long the detector is busy with each frame, and what is added to that.
3. SEEDS simulations draw from these runtimes; their mean is what `stream-eval --simulate` would tell.
4. REPEATS further runs in real time; their mean is what happens.

The measured run is none of those it is compared with. Measure on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from pipeline.config.build import load_run_config
from pipeline.config.schema import RunConfig
from pipeline.core.clock import MonotonicClock
from pipeline.stream_eval.answers import Answers, Detected
from pipeline.stream_eval.classes import ClassMap
from pipeline.stream_eval.clip import detect_all
from pipeline.stream_eval.document import distribution
from pipeline.stream_eval.evaluate import Evaluation, evaluate
from pipeline.stream_eval.frame_rate import frame_rate
from pipeline.stream_eval.job import Pipeline, clips_of, device_of, simulate_all
from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.schedulers import scheduler
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth
from sources.video_file import VideoFileConfig, VideoFileSource

TRUTH_PX = 1088
TRUTH_SCORE = 0.4
SEEDS = range(10)
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare simulated with real streaming accuracy.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--weights", nargs="+", required=True, metavar="WEIGHTS[@PX]")
    parser.add_argument("--truth-weights", metavar="WEIGHTS", help="default: each detector's own")
    parser.add_argument("--scheduler", default="idle-free")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--tracker", default="bytetrack")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    print(f"{'detector':<34}{'runtime ms':>12}{'lag ms':>8}{'AP':>7}{'simulated':>11}{'real':>7}{'apart':>7}   runs")
    for name in args.weights:
        row = _measure(args, name)
        rows.append(row)
        runs = " ".join(f"{value:.2f}" for value in row["real"])
        print(
            f"{name:<34}{row['runtime_ms']['mean']:>12.1f}{row['lag_ms']:>8.1f}{row['offline']:>7.2f}"
            f"{row['simulated']:>11.2f}{mean(row['real']):>7.2f}{row['simulated'] - mean(row['real']):>+7.2f}   {runs}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measure(args: argparse.Namespace, name: str) -> dict[str, Any]:
    weights, _, size = name.partition("@")
    config = _config(args, weights, int(size) if size else None)
    stream = _stream(args.clip)
    truth_config = _config(args, args.truth_weights or weights.replace(".onnx", ".pth"), TRUTH_PX)
    labelled = _labelled(stream, args.clip, truth_config)
    clips = clips_of([labelled], str(args.clip), config)
    with closing(Pipeline(config, clips)) as pipeline:
        detected = pipeline.detect()
        live = pipeline.play(clips[0], "excluded")
        device = device_of([live], name)
        simulated = []
        for seed in SEEDS:
            answers = simulate_all(detected, scheduler(args.scheduler), device, seed)
            simulated.append(_points(evaluate(answers)))
        real, staleness = [], []
        for _ in range(args.repeats):
            answers = [replace(pipeline.answers(clips[0], pipeline.play(clips[0], "excluded")), offline={0: _none()})]
            evaluation = evaluate(answers)
            real.append(_points(evaluation))
            staleness.append(evaluation.combined.mean_staleness_ms)
    offline = evaluate([_without_latency(detected[0])])
    return {
        "detector": name,
        "scheduler": args.scheduler,
        "runtime_ms": distribution(device.runtimes.samples_ns),
        "lag_ms": device.lag_ns / 1e6,
        "offline": 100 * (offline.combined.offline.ap or 0.0),
        "simulated": mean(simulated),
        "simulated_each": simulated,
        "real": real,
        "staleness_ms": staleness,
    }


def _points(evaluation: Evaluation) -> float:
    return 100 * (evaluation.combined.streaming.ap or 0.0)


def _none() -> Boxes:
    return Boxes.empty()


def _without_latency(detected: Detected) -> Answers:
    return Answers(detected.labelled, (), detected.offline())


def _config(args: argparse.Namespace, weights: str, size_px: int | None) -> RunConfig:
    detector: dict[str, Any] = {"weights": weights, "backend": args.backend}
    if size_px is not None:
        # A file of one size only is not what is wanted here.
        detector |= {"img_size": size_px, "backend": "eager" if args.backend == "auto" else args.backend}
    flags = {"detector": detector, "tracker": {"kind": args.tracker}, "runtime": {"scheduler": args.scheduler}}
    return load_run_config(None, flags, [])


def _stream(path: Path) -> Stream:
    with closing(VideoFileSource(VideoFileConfig(path=path), source_id=path.stem, clock=MonotonicClock())) as source:
        info = source.open()
        n_frames = 0
        while source.read() is not None:
            n_frames += 1
    return Stream(path.stem, frame_rate(round(info.declared_fps or 0.0, 3)), n_frames, info.width_px, info.height_px)


def _labelled(stream: Stream, path: Path, config: RunConfig) -> Labelled:
    """What the truth's network says of every frame, tracked, as labels."""
    blank = _truth(stream, [Boxes.empty()] * stream.n_frames, ("?",))
    (clip,) = clips_of([Labelled(blank, path, path.parent)], str(path), config)
    from pipeline.config.build import build_detector, detector_section_for_tracking, tracker_factory

    with closing(build_detector(detector_section_for_tracking(config))) as detector:
        names = detector.class_names
        found = detect_all(clip, detector)
    tracked = Detected(Labelled(blank, path, path.parent), found, tracker_factory({"kind": "bytetrack"})).offline()
    boxes = [tracked[frame].select(tracked[frame].score >= TRUTH_SCORE) for frame in range(stream.n_frames)]
    seen = sorted({names[class_id] for one in boxes for class_id in one.class_id.tolist()})
    classes = ClassMap(names, seen)
    return Labelled(_truth(stream, [classes.boxes(one) for one in boxes], tuple(seen)), path, path.parent)


def _truth(stream: Stream, boxes: list[Boxes], class_names: tuple[str, ...]) -> Truth:
    crowd = tuple(np.zeros(len(one), np.bool_) for one in boxes)
    area = tuple(one.ltwh[:, 2] * one.ltwh[:, 3] for one in boxes)
    return Truth(stream, tuple(boxes), crowd, area, class_names)


if __name__ == "__main__":
    main()
