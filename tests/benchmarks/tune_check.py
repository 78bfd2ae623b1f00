"""Whether `tune` chooses what is really best: every row of its grid again, in real runs of the whole pipeline.

    python tests/benchmarks/tune_check.py --source demo/bikes.mp4 --weights street yolox_nano.pth [--json out.json]

First `tune` measures and simulates the grid. Then each configuration and scheduler plays the clip in real time, in a
process of its own, round by round, and is scored by the same truth. One run gives all three compensations: a plain sink
gets results as they are (`off`), moved by the product's own `moved_to` to when they were emitted (`emit`); a sink of
pictures gets every frame as a display shows it under `compensate: display`. The network has seen a frame before the
clip begins, as in `tune`.

Two figures count: how far the choice is from the really best row, and how far simulated values are from real ones.
Measure on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from pipeline.benchmark.configuration import Configuration
from pipeline.benchmark.processes import answer_of
from pipeline.config.build import build_detector, build_run, detector_section_for_tracking, load_run_config
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import show
from pipeline.streaming.truth import Truth
from pipeline.tune.choice import Limits
from pipeline.tune.clip import Clip, open_clip
from pipeline.tune.space import DEFAULT_SIZES, Space
from pipeline.tune.store import Store
from pipeline.tune.tuning import Tuned, Wanted, tune

COMPENSATIONS = ("off", "emit", "display")
TOLERATED = 0.5
"""Points of streaming AP by which the choice may be worse than the really best row."""

Rows = list[list[float]]
Key = tuple[Configuration, str, str]


class Results:
    """A sink that keeps what was emitted, and when: for programs that take results as they come."""

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {"off": [], "emit": []}

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Keep it as it is, and as it is handed to programs under `emit`."""
        emitted_ns = result.timeline.emitted or 0
        for name, one in (("off", result), ("emit", result.moved_to(emitted_ns))):
            times = {"frame": result.frame.index, "captured_ns": result.frame.captured_ns, "emitted_ns": emitted_ns}
            self.lines[name].append({**times, "boxes": rows_of(one)})

    def close(self) -> None:
        """Nothing to finish."""


class Pictures:
    """A sink that keeps what a display shows with every frame."""

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True
    compensated = "pictures"

    def __init__(self) -> None:
        self.shown: dict[int, Rows] = {}

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Keep the boxes."""
        self.shown[result.frame.index] = rows_of(result)

    def close(self) -> None:
        """Nothing to finish."""


def rows_of(result: FrameResult) -> Rows:
    """Left, top, width, height, score, class, id of each track."""
    boxes = Boxes.of_tracks(result.tracks)
    columns = (boxes.ltwh, boxes.score, boxes.class_id, boxes.track_id)
    rows: Rows = np.column_stack(columns).tolist()
    return rows


def play(configuration: Configuration, scheduler: str, clip: Clip) -> dict[str, Any]:
    """Run the pipeline on the clip in real time; what came out."""
    flags = {
        "sources": [clip.source],
        "detector": configuration.detector_section(),
        "source": {"replay": {"fps": clip.asked_fps}},
        "runtime": {"realtime": True, "scheduler": scheduler, "compensate": "display"},
        "max_frames": clip.n_frames,
    }
    config = load_run_config(None, flags, ())
    detector = build_detector(detector_section_for_tracking(config))
    results, pictures = Results(), Pictures()
    try:
        first = next(iter(clip.frames()))
        for _ in range(3):
            detector.detect([first])
        sinks = [SinkBinding("results", results), SinkBinding("pictures", pictures)]
        with build_run(config, detector=detector, extra_sinks=sinks) as running:
            running.runner.run()
    finally:
        detector.close()
    return {"lines": results.lines, "shown": pictures.shown, "class_names": detector.class_names}


def score(played: dict[str, Any], truth: Truth) -> dict[str, float]:
    """Streaming AP in points, by compensation."""
    stream, number = truth.stream, {name: k for k, name in enumerate(truth.class_names)}
    classes = np.array([number.get(name, -1) for name in played["class_names"]], np.int64)

    def boxes_of(rows: Rows) -> Boxes:
        table = np.array(rows, np.float64).reshape(-1, 7)
        table = table[classes[table[:, 5].astype(np.int64)] >= 0]
        class_id = classes[table[:, 5].astype(np.int64)]
        return Boxes(np.ascontiguousarray(table[:, :4]), table[:, 4].copy(), class_id, table[:, 6].astype(np.int64))

    points = {}
    for name, lines in played["lines"].items():
        t0_ns = lines[0]["captured_ns"] - stream.arrival_ns(lines[0]["frame"])
        outputs = [Output(one["emitted_ns"] - t0_ns, one["frame"], boxes_of(one["boxes"])) for one in lines]
        points[name] = average_precision([truth], [dict(enumerate(show(outputs, stream).boxes))])
    shown = {int(frame): boxes_of(rows) for frame, rows in played["shown"].items()}
    every = {frame: shown.get(frame, Boxes.empty()) for frame in range(stream.n_frames)}
    points["display"] = average_precision([truth], [every])
    return {name: 100 * (one.ap or 0.0) for name, one in points.items()}


def play_all(tuned: Tuned, rounds: int) -> dict[Key, list[float]]:
    """Real streaming AP in points of every row, round by round."""
    pairs = list(dict.fromkeys((row.configuration, row.scheduler) for row in tuned.rows))
    real: dict[Key, list[float]] = defaultdict(list)
    for turn in range(rounds):
        for k, (configuration, scheduler) in enumerate(pairs[:: 1 if turn % 2 == 0 else -1], 1):
            label = tuned.labels[configuration]
            print(f"round {turn + 1}, {k} of {len(pairs)}: {label} {scheduler}", file=sys.stderr, flush=True)
            request = {"configuration": asdict(configuration), "scheduler": scheduler, "clip": tuned.clip.to_json()}
            played = answer_of("tests.benchmarks.tune_check", request)
            for compensate, points in score(played, tuned.judge.truth).items():
                real[configuration, scheduler, compensate].append(points)
    return real


def report(tuned: Tuned, real: dict[Key, list[float]], tune_s: float) -> dict[str, Any]:
    """Print simulated beside real values, and how good the choice is."""
    rows = [
        {
            "label": f"{tuned.labels[row.configuration]} {row.scheduler} {row.compensate}",
            "simulated": 100 * row.sap,
            "real": mean(real[row.configuration, row.scheduler, row.compensate]),
            "rounds": real[row.configuration, row.scheduler, row.compensate],
            "p95_ms": row.latency_p95_ms,
        }
        for row in tuned.rows
    ]
    rows.sort(key=lambda row: -row["real"])
    best = tuned.best()
    chosen = mean(real[best.configuration, best.scheduler, best.compensate])
    off = [abs(row["simulated"] - row["real"]) for row in rows]
    for row in rows:
        print(f"{row['simulated']:6.2f} simulated {row['real']:6.2f} real {row['p95_ms']:7.1f} ms  {row['label']}")
    document = {
        "judge": tuned.judge.words,
        "tune_s": tune_s,
        "rows": rows,
        "chosen": f"{tuned.labels[best.configuration]} {best.scheduler} {best.compensate}",
        "chosen_real": chosen,
        "regret_points": rows[0]["real"] - chosen,
        "mean_off_points": mean(off),
        "median_off_points": median(off),
        "worst_off_points": max(off),
    }
    for name, value in document.items():
        if name != "rows":
            print(f"{name}: {value}")
    return document


def main() -> int:
    """Tune, check, report. Exit code 1: the choice is worse than tolerated."""
    if not sys.stdin.isatty() and len(sys.argv) == 1:
        return answer()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--weights", nargs="+", required=True)
    parser.add_argument("--sizes", nargs="+", type=int, default=DEFAULT_SIZES)
    parser.add_argument("--backends", nargs="+", default=["openvino", "onnxruntime"])
    parser.add_argument("--precisions", nargs="+")
    parser.add_argument("--schedulers", nargs="+", default=["idle-free", "planned"])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    space = Space(args.weights, args.sizes, args.backends, args.precisions)
    wanted = Wanted(open_clip(args.source, seconds=args.seconds), space, schedulers=args.schedulers, limits=Limits())
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tuned = tune(wanted, Store(Path(folder)), lambda text: print(text, file=sys.stderr, flush=True))
    tune_s = time.monotonic() - began_s
    document = report(tuned, play_all(tuned, args.rounds), tune_s)
    if args.json:
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if document["regret_points"] <= TOLERATED else 1


def answer() -> int:
    """One real run, asked for on standard input by `play_all`."""
    request = json.load(sys.stdin)
    played = play(Configuration(**request["configuration"]), request["scheduler"], Clip(**request["clip"]))
    Path(request["answer"]).write_text(json.dumps(played), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
