"""Whether a simulation tells what a real run gives: streaming AP of both, on the same clip.

    tracklight annotate --source bikes.mp4 -o nano --format coco --format-set min_confidence=0.4 \
        --weights yolox_nano.pth --img-size 640
    python tests/benchmarks/simulated_against_real.py bikes.mp4 \
        --detector yolox_nano.onnx nano/coco/annotations/instances_default.json \
        --detector yolox_nano.pth@832 nano/coco/annotations/instances_default.json

Each detector is weights, with `@` and an input size where it is to have another one, and the labels that it is scored
by. The project has no labelled video that it may ship, so the labels are what a network says offline, at a larger size:
all that counts here is that both ways are scored by the same ones.

Runs in real time come in pairs. The first of a pair measures runtimes: how long the detector is busy with each frame,
and what is added to that. The second is what happens. SEEDS simulations draw from the runtimes of all first runs; their
mean is what `stream-eval --simulate` would tell, and is held against the mean of the second runs: none of those is
among the measured ones. Measure on a quiet machine: where other programs come and go, so do the runtimes.

The column `replayed` holds on a busy machine too: each second run is simulated once more from its own runtimes, in the
order in which they came. What is left is what the simulated clock does not know.
"""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.config.build import load_run_config
from pipeline.stream_eval.answers import Answers
from pipeline.stream_eval.document import distribution
from pipeline.stream_eval.evaluate import evaluate
from pipeline.stream_eval.job import Pipeline, clips_of, device_of, simulate_all
from pipeline.stream_eval.read_truth import read_truth
from pipeline.streaming.schedulers import scheduler

SEEDS = range(10)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare simulated with real streaming accuracy.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--detector", nargs=2, action="append", required=True, metavar=("WEIGHTS[@PX]", "LABELS"))
    parser.add_argument("--scheduler", default="idle-free")
    parser.add_argument("--tracker", default="bytetrack")
    parser.add_argument("--threads", type=int, help="CPU threads of the detector")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    names = f"{'simulated':>11}{'replayed':>10}{'real':>7}   real runs"
    print(f"{'detector':<26}{'runtime ms':>11}{'lag ms':>8}{'AP':>7}{names}")
    for name, labels in args.detector:
        row = _measure(args, name, Path(labels))
        rows.append(row)
        runs = " ".join(f"{value:.2f}" for value in row["real"])
        print(
            f"{Path(name).name:<26}{row['runtime_ms']['mean']:>11.1f}{row['lag_ms']:>8.1f}{row['offline']:>7.2f}"
            f"{row['simulated']:>11.2f}{mean(row['replayed']):>10.2f}{mean(row['real']):>7.2f}   {runs}",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def _measure(args: argparse.Namespace, name: str, labels: Path) -> dict[str, Any]:
    weights, _, size = name.partition("@")
    detector: dict[str, Any] = {"weights": weights}
    if size:
        # The shape of an exported file is fixed; weights run at any.
        detector |= {"img_size": int(size), "backend": "eager"}
    if args.threads:
        detector["threads"] = args.threads
    flags = {"detector": detector, "tracker": {"kind": args.tracker}, "runtime": {"scheduler": args.scheduler}}
    clips = clips_of(read_truth(labels), str(args.clip), load_run_config(None, flags, []))
    with closing(Pipeline(clips[0].config, clips)) as pipeline:
        detected = pipeline.detect()
        measured, real, replayed = [], [], []
        for _ in range(args.pairs):
            measured.append(pipeline.play(clips[0], "excluded"))
            run = pipeline.play(clips[0], "excluded")
            real.append(pipeline.answers(clips[0], run))
            its_own = device_of([run], name)
            # A simulated run may need a few more than were measured.
            draws = chain(its_own.runtimes.samples_ns.tolist(), its_own.runtimes.draws(0))
            replayed.append(detected[0].simulated(scheduler(args.scheduler), its_own, draws))
    device = device_of(measured, name)
    simulated = [simulate_all(detected, scheduler(args.scheduler), device, seed) for seed in SEEDS]
    offline = detected[0].offline()
    return {
        "detector": name,
        "scheduler": args.scheduler,
        "runtime_ms": distribution(device.runtimes.samples_ns),
        "lag_ms": device.lag_ns / 1e6,
        "offline": 100 * (evaluate([replace(real[0], offline=offline)]).combined.offline.ap or 0.0),
        "simulated": mean(_points(answers) for (answers,) in simulated),
        "simulated_staleness_ms": mean(_staleness_ms(answers) for (answers,) in simulated),
        "replayed": [_points(answers) for answers in replayed],
        "replayed_staleness_ms": [_staleness_ms(answers) for answers in replayed],
        "real": [_points(answers) for answers in real],
        "real_staleness_ms": [_staleness_ms(answers) for answers in real],
    }


def _points(answers: Answers) -> float:
    return 100 * (evaluate([answers]).combined.streaming.ap or 0.0)


def _staleness_ms(answers: Answers) -> float:
    return evaluate([answers]).combined.mean_staleness_ms or 0.0


if __name__ == "__main__":
    main()
