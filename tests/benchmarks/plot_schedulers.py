"""The picture of schedulers in docs/streaming-accuracy.md: one device, the same runtimes, three ways to use it.

python tests/benchmarks/plot_schedulers.py docs/images/streaming-schedulers.svg
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import matplotlib
import numpy as np

from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import match
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import scheduler
from pipeline.streaming.simulate import outputs, simulate
from pipeline.streaming.stream import NS, Stream

SCHEDULERS = ("idle-free", "shrinking-tail", "planned")
STREAM = Stream("street", Fraction(30), 26, 1, 1)
MEAN_MS = 50
SEED = 5


def runtimes() -> Runtimes:
    """One run in four takes 3.7 times as long."""
    slow = np.arange(400) % 4 == 0
    samples = np.where(slow, 2.2, 0.6) * np.random.default_rng(2).normal(1, 0.02, 400)
    return Runtimes((samples * MEAN_MS * 1e6).astype(np.int64), "two modes")


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    path = parser.parse_args().path
    matplotlib.use("svg")
    matplotlib.rcParams.update({"font.size": 8, "svg.hashsalt": "schedulers", "svg.fonttype": "none"})
    from matplotlib import pyplot

    expected = runtimes()
    figure, axes = pyplot.subplots(len(SCHEDULERS), 1, figsize=(9, 4.2), sharex=True)
    for axis, name in zip(axes, SCHEDULERS, strict=True):
        chosen = scheduler(name)
        chosen.begin(STREAM, expected)
        runs = simulate(STREAM, chosen, expected.draws(SEED))
        matched = match(outputs(runs, lambda _: Boxes.empty()), STREAM)
        for run in runs:
            begin, end = (float(ns * STREAM.fps / NS) for ns in (run.begin_ns, run.end_ns))
            axis.barh(1, end - begin, left=begin, height=0.7, color="#4c78a8", edgecolor="white")
            axis.text((begin + end) / 2, 1, str(run.frame), ha="center", va="center", color="white")
        for frame, output in enumerate(matched.output.tolist()):
            age = frame - int(matched.input_frame[frame])
            text, colour = ("miss", "#888888") if output < 0 else (str(age), pyplot.cm.YlOrRd(age / 8))
            axis.barh(0, 0.9, left=frame - 0.45, height=0.7, color=colour)
            axis.text(frame, 0, text, ha="center", va="center", fontsize=7)
        axis.set_yticks([0, 1], ["staleness", "device"])
        axis.set_title(f"{name}: mean staleness {matched.mean_staleness:.2f} frames", loc="left", fontsize=9)
        axis.set_xticks(range(STREAM.n_frames))
        axis.grid(axis="x", linewidth=0.4)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel("frame that arrives and is asked for; numbers on the device are the frames it runs on")
    axes[-1].set_xlim(-0.6, STREAM.n_frames - 0.4)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
