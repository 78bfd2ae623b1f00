"""The table of schedulers in docs/streaming-accuracy.md, as Markdown.

    python tests/benchmarks/streaming_schedulers.py PATH/TO/mot15 [--seeds 8] [--first-seed 0] [--staleness-only]
    python tests/benchmarks/streaming_schedulers.py PATH/TO/mot15 --when-wrong

The folder holds one folder per sequence, with gt/gt.txt, det/det.txt (scored) and seqinfo.ini; those of 30 frames/s are
taken. Every scheduler gets the same draws. Figures are means over the seeds; differences have their standard error.
--when-wrong: staleness where runtimes are not what was planned for.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from pipeline.evaluation.mot_text import MotRows, read_mot, read_seqinfo
from pipeline.stream_eval.mot_truth import read_mot_truth
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import scheduler
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import Shown, show
from pipeline.streaming.simulate import outputs, simulate
from pipeline.streaming.truth import Truth

FPS = 30
MEANS_MS = (20, 50, 100, 200, 400)
SCHEDULERS = ("idle-free", "shrinking-tail", "planned")
N_SAMPLES = 1000


def steady() -> np.ndarray:
    """Within a few per cent, as a network on a device of its own."""
    return np.random.default_rng(1).normal(1, 0.05, N_SAMPLES)


def two_modes() -> np.ndarray:
    """One run in four takes 3.7 times as long, as where somebody else uses the device."""
    slow = np.arange(N_SAMPLES) % 4 == 0
    return np.where(slow, 2.2, 0.6) * np.random.default_rng(2).normal(1, 0.02, N_SAMPLES)


def long_tail() -> np.ndarray:
    """Log-normal with sigma 0.6, as on a busy machine."""
    return np.random.default_rng(3).lognormal(0, 0.6, N_SAMPLES)


SHAPES: dict[str, Callable[[], np.ndarray]] = {
    "constant": lambda: np.ones(1),
    "steady": steady,
    "two modes": two_modes,
    "long tail": long_tail,
}


def runtimes(shape: str, mean_ms: float) -> Runtimes:
    """A distribution of that shape and mean."""
    samples = SHAPES[shape]()
    return Runtimes((samples / samples.mean() * mean_ms * 1e6).round().astype(np.int64), shape)


def reference_runtimes() -> list[Runtimes]:
    """The four distributions that the reference implementation was run with."""
    document = json.loads((Path(__file__).parents[1] / "golden" / "sap" / "sap.json").read_text())
    return [
        Runtimes((np.array(samples_s) * 1e9).round().astype(np.int64), f"reference's {name}")
        for name, samples_s in document["runtime_samples"].items()
    ]


@dataclass(frozen=True)
class Sequence:
    """Labels of a sequence, and what the detector finds in each frame."""

    truth: Truth
    found: list[Boxes]

    @classmethod
    def read(cls, folder: Path) -> Sequence:
        """One sequence of MOT text."""
        truth = read_mot_truth(folder).truth
        rows = read_mot(folder / "det" / "det.txt")
        order = np.argsort(rows.frame, kind="stable")
        frames = np.split(order, np.searchsorted(rows.frame[order], np.arange(2, truth.stream.n_frames + 1)))
        return cls(truth, [_boxes(rows, of_frame) for of_frame in frames])

    def shown(self, name: str, expected: Runtimes, draws: Iterator[int]) -> Shown:
        """What a scheduler shows."""
        chosen = scheduler(name)
        chosen.begin(self.truth.stream, expected)
        return show(outputs(simulate(self.truth.stream, chosen, draws), self.found.__getitem__), self.truth.stream)


def _boxes(rows: MotRows, of_frame: np.ndarray) -> Boxes:
    one_class = np.zeros(len(of_frame), np.int64)
    return Boxes(rows.ltwh[of_frame], rows.confidence[of_frame], one_class, rows.track_id[of_frame])


def measure(sequences: list[Sequence], expected: Runtimes, seed: int, with_ap: bool) -> np.ndarray:
    """Mean staleness in frames and sAP in per cent, float64 (schedulers, 2)."""
    table = []
    for name in SCHEDULERS:
        draws = expected.draws(seed)
        shown = [sequence.shown(name, expected, draws) for sequence in sequences]
        staleness = np.concatenate([s.matched.staleness for s in shown]).mean()
        ap = 0.0
        if with_ap:
            scores = average_precision([s.truth for s in sequences], [dict(enumerate(s.boxes)) for s in shown])
            ap = 100 * (scores.ap or 0.0)
        table.append((staleness, ap))
    return np.array(table)


def difference(values: np.ndarray) -> str:
    """Mean and standard error of paired differences (seeds,)."""
    if len(values) == 1:
        return f"{values[0]:+.2f}"
    return f"{values.mean():+.2f} ± {values.std(ddof=1) / len(values) ** 0.5:.2f}"


def alike(expected: Runtimes, seed: int, correlation: float) -> Iterator[int]:
    """Draws of the same distribution that follow each other: a Gaussian process of first order, mapped to samples."""
    generator = np.random.default_rng(seed)
    samples = np.sort(expected.samples_ns).tolist()
    state = generator.normal()
    while True:
        state = correlation * state + (1 - correlation**2) ** 0.5 * generator.normal()
        yield samples[int((1 + math.erf(state / 2**0.5)) / 2 * len(samples) * (1 - 1e-12))]


def print_when_wrong(sequences: list[Sequence], n_seeds: int) -> None:
    """Staleness of planned - shrinking-tail where the plan's runtimes are not those that come."""
    ways: dict[str, Callable[[Runtimes, int], Iterator[int]]] = {
        "as planned": lambda expected, seed: expected.draws(seed),
        "x 0.9": lambda expected, seed: expected.scaled(0.9).draws(seed),
        "x 1.1": lambda expected, seed: expected.scaled(1.1).draws(seed),
        "correlation 0.5": lambda expected, seed: alike(expected, seed, 0.5),
        "correlation 0.9": lambda expected, seed: alike(expected, seed, 0.9),
        "correlation 0.99": lambda expected, seed: alike(expected, seed, 0.99),
    }
    print(f"| runtimes | mean, ms | {' | '.join(ways)} |")
    print("|---" * (2 + len(ways)) + "|")
    for shape, mean_ms in product(("steady", "two modes", "long tail"), (50, 100, 200)):
        expected = runtimes(shape, mean_ms)
        cells = [shape, str(mean_ms)]
        for draws in ways.values():
            pairs = [
                [_staleness(sequences, n, expected, draws(expected, s)) for n in SCHEDULERS[1:]] for s in range(n_seeds)
            ]
            tail, planned = np.array(pairs).T
            cells.append(difference(planned - tail))
        print(f"| {' | '.join(cells)} |", flush=True)


def _staleness(sequences: list[Sequence], name: str, expected: Runtimes, draws: Iterator[int]) -> float:
    shown = [sequence.shown(name, expected, draws) for sequence in sequences]
    return float(np.concatenate([s.matched.staleness for s in shown]).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--staleness-only", action="store_true")
    parser.add_argument("--when-wrong", action="store_true")
    arguments = parser.parse_args()
    folders = [path.parent for path in sorted(arguments.folder.glob("*/seqinfo.ini"))]
    sequences = [Sequence.read(folder) for folder in folders if read_seqinfo(folder / "seqinfo.ini").fps == FPS]
    if arguments.when_wrong:
        print_when_wrong(sequences, arguments.seeds)
        return
    offline = average_precision([s.truth for s in sequences], [dict(enumerate(s.found)) for s in sequences])
    print(f"{', '.join(s.truth.stream.name for s in sequences)}: offline AP {100 * (offline.ap or 0):.2f}\n")
    print(
        "| runtimes | mean, ms | staleness, frames: idle-free | shrinking-tail | planned | planned - shrinking-tail ",
        end="",
    )
    print("| sAP, %: idle-free | shrinking-tail | planned | planned - shrinking-tail |")
    print("|---|---|" + "---|" * 8)
    cases = [runtimes(shape, mean_ms) for shape, mean_ms in product(SHAPES, MEANS_MS)] + reference_runtimes()
    for expected in cases:
        n_seeds = 1 if len(set(expected.samples_ns)) == 1 else arguments.seeds
        seeds = range(arguments.first_seed, arguments.first_seed + n_seeds)
        table = np.array([measure(sequences, expected, seed, not arguments.staleness_only) for seed in seeds])
        cells = [expected.name, f"{expected.mean_ns / 1e6:.3g}"]
        for column in (0, 1):
            cells += [f"{value:.2f}" for value in table[:, :, column].mean(axis=0)]
            cells.append(difference(table[:, 2, column] - table[:, 1, column]))
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
