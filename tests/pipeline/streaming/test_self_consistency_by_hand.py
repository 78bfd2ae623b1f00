"""The account that keeps a few outputs, against one that keeps everything and counts in loops."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.tracks import Tracks
from pipeline.streaming.loss_tally import BINS, Fate
from pipeline.streaming.self_consistency import SelfConsistency

COUNTS = (
    *("frames", "missed_frames", "age_ms", "staleness_frames", "pairs", "iou", "pair_age_ms", "below_50", "below_75"),
    *("boxes", "objects", "new", "returned"),
)
Box = list[float]


@dataclass
class Output:
    index: int
    captured_ns: int
    at_ns: int
    said: dict[int, Box]
    shown: dict[int, Box]
    scores: dict[int, float]
    classes: dict[int, int]

    def tracks(self, boxes: dict[int, Box]) -> Tracks:
        return Tracks(
            np.array(list(boxes.values()), np.float32).reshape(-1, 4),
            np.array([self.scores[i] for i in boxes], np.float32),
            np.array([self.classes[i] for i in boxes], np.int64),
            np.array(list(boxes), np.int64),
            np.full(len(boxes), -1, np.int64),
        )


def overlap(a: Box, b: Box) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def by_hand(outputs: list[Output]) -> tuple[dict[str, float], dict[str, list[float]]]:
    sums = dict.fromkeys(COUNTS, 0.0)
    by_score = {name: [0.0] * BINS for name in ("found", "wrong", "gone")}
    for before, after in pairwise(outputs):
        for frame in range(before.index, after.index):
            share = (frame - before.index) / (after.index - before.index)
            arrived = before.captured_ns + (frame - before.index) * (after.captured_ns - before.captured_ns) // (
                after.index - before.index
            )
            truth: dict[int, Box] = {}
            for i in [*before.said, *(i for i in after.said if i not in before.said)]:
                if i in before.said and i in after.said:
                    pair = zip(before.said[i], after.said[i], strict=True)
                    truth[i] = [a + share * (b - a) for a, b in pair]
                elif i in before.said and share < 0.5:
                    truth[i] = before.said[i]
                elif i in after.said and share >= 0.5:
                    truth[i] = after.said[i]
            standing = [output for output in outputs if output.at_ns <= arrived]
            sums["frames"] += 1
            if not standing:
                sums["missed_frames"] += 1
                sums["objects"] += len(truth)
                continue
            compare(standing[-1], frame, arrived, truth, outputs, after, sums, by_score)
    return sums, by_score


def compare(
    stands: Output,
    frame: int,
    arrived: int,
    truth: dict[int, Box],
    outputs: list[Output],
    after: Output,
    sums: dict[str, float],
    by_score: dict[str, list[float]],
) -> None:
    age = (arrived - stands.captured_ns) / 1e6
    sums["age_ms"] += age
    sums["staleness_frames"] += frame - stands.index
    sums["boxes"] += len(stands.shown)
    owned = {i: overlap(stands.shown[i], truth[i]) for i in stands.shown if i in truth}
    for iou in owned.values():
        sums["pairs"] += 1
        sums["iou"] += iou
        sums["pair_age_ms"] += age
        sums["below_50"] += iou < 0.5
        sums["below_75"] += iou < 0.75
    matched = {i: i for i, iou in owned.items() if iou >= 0.5}
    classes = {i: output.classes[i] for output in outputs for i in output.said}
    candidates = sorted(
        (
            (overlap(stands.shown[box], truth[other]), box, other)
            for box in stands.shown
            for other in truth
            if stands.classes[box] == classes[other]
        ),
        reverse=True,
    )
    for iou, box, other in candidates:
        if iou >= 0.5 and box not in matched and other not in matched.values():
            matched[box] = other
    for box in stands.shown:
        kind = "found" if box in matched else "wrong" if box in truth else "gone"
        by_score[kind][round(stands.scores[box] * (BINS - 1))] += 1
    for other in truth:
        if other in matched.values() or other in stands.shown:
            sums["objects"] += 1
        elif any(other in output.said and output.at_ns <= stands.at_ns for output in outputs if output is not after):
            sums["returned"] += 1
        else:
            sums["new"] += 1


@st.composite
def worlds(draw: st.DrawFn) -> list[Output]:
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = {i: int(random.integers(2)) for i in range(1, 7)}
    outputs: list[Output] = []
    index, captured_ns, at_ns = 0, 0, 0
    for _ in range(draw(st.integers(2, 7))):
        said = {}
        for i in range(1, 7):
            if random.random() < 0.7:
                x, y = random.uniform(0, 60, 2)
                width, height = random.uniform(20, 60, 2)
                # Numbers that float32 holds exactly.
                said[i] = [float(np.float32(v)) for v in (x, y, x + width, y + height)]
        shift = random.uniform(0, 10)
        shown = {i: [float(np.float32(v + shift)) for v in box] for i, box in said.items()}
        scores = {i: int(random.integers(BINS)) / (BINS - 1) for i in classes}
        at_ns = max(at_ns, captured_ns + draw(st.integers(0, 300)) * 1_000_000)
        outputs.append(Output(index, captured_ns, at_ns, said, shown, scores, classes))
        step = draw(st.integers(1, 4))
        index += step
        captured_ns += draw(st.integers(1, 400)) * 1_000_000 + draw(st.integers(0, 999))
    return outputs


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_it_counts_what_loops_count(outputs: list[Output]) -> None:
    account = SelfConsistency("here")
    for output in outputs:
        account.shown("here", output.at_ns, output.index, output.captured_ns, output.tracks(output.shown))
        account.said(output.index, output.captured_ns, output.at_ns, output.tracks(output.said))
    tally = account._viewers["here"].total
    sums, by_score = by_hand(outputs)
    assert {name: getattr(tally, name) for name in COUNTS} == pytest.approx(sums)
    for name, counts in by_score.items():
        assert tally.fates[Fate[name.upper()]].tolist() == counts
