"""Every number of the reference implementation of streaming evaluation: five runs in any clone, all where present."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.coco_map import CocoMap
from pipeline.evaluation.dataset import LabelledImages
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import match
from pipeline.streaming.outputs import Output
from pipeline.streaming.published_forecast import PublishedForecast
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree, Scheduler, ShrinkingTail, scheduler
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import show
from pipeline.streaming.simulate import Run, outputs, simulate, simulate_unlimited
from pipeline.streaming.stream import NS, Stream
from pipeline.streaming.truth import Truth

N_FRAMES = 60
STATS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_1", "ar_10", "ar_100", "ar_s", "ar_m", "ar_l")
CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck", "traffic_light", "stop_sign")
FORECASTS = {False: {("slow", "shrinking_tail")}, True: set(product(("mid", "slow"), ("idle_free", "shrinking_tail")))}
SCHEDULERS = {"shrinking_tail": "shrinking-tail", "stride2": "stride-2"}
GOLDEN = [
    ("mid", "stride2"),
    ("mid", "perf1.5"),
    ("slow", "shrinking_tail"),
    ("slow", "inf"),
    ("tail", "idle_free"),
]
ALL = product(("fast", "mid", "slow", "tail"), ("idle_free", "shrinking_tail", "stride2", "perf1.5", "inf"))
RUNS = [pytest.param(False, *run, id="-".join(run)) for run in GOLDEN] + [
    pytest.param(True, *run, id="all-" + "-".join(run), marks=pytest.mark.reference) for run in ALL
]
FOLDERS = [pytest.param(False, id="golden"), pytest.param(True, id="all", marks=pytest.mark.reference)]


@dataclass(frozen=True)
class Reference:
    folder: Path
    document: dict[str, Any]
    truth: tuple[Truth, Truth]
    found: tuple[list[Boxes], list[Boxes]]

    def run(self, runtimes: str, schedule: str) -> dict[str, Any]:
        return next(r for r in self.document["runs"] if (r["dist"], r["schedule"]) == (runtimes, schedule))

    def simulated(self, run: dict[str, Any]) -> list[list[Run]]:
        """Both sequences on our clock, with the reference's draws."""
        draws = iter([round(draw * NS) for draw in run["runtime_draws_in_order"]])
        samples = [round(sample * NS) for sample in self.document["runtime_samples"][run["dist"]]]
        expected = Runtimes(np.array(samples), run["dist"])
        chosen = scheduler(SCHEDULERS.get(run["schedule"], "idle-free"))
        sequences = []
        for truth in self.truth:
            chosen.begin(truth.stream, expected)
            if run["schedule"] == "inf":
                sequences.append(simulate_unlimited(truth.stream, draws))
            else:
                sequences.append(simulate(truth.stream, chosen, draws))
        assert next(draws, None) is None, "not every draw was used"
        return sequences

    def outputs(self, run: dict[str, Any]) -> list[list[Output]]:
        return [outputs(runs, found.__getitem__) for runs, found in zip(self.simulated(run), self.found, strict=True)]


@cache
def _read(folder: Path) -> Reference:
    if (folder / "gt.npz").is_file():
        labels = np.load(folder / "gt.npz")["rows"]
    else:
        records = json.loads((folder / "gt.json").read_text())["annotations"]
        labels = np.array([[r["image_id"], *r["bbox"], r["area"], r["category_id"], r["track"]] for r in records])
    found = np.load(folder / "dets.npz")["rows"]
    found[:, 3:5] -= found[:, 1:3]
    truth, boxes = [], []
    for number, name in enumerate(("seqA", "seqB")):
        frames = range(number * N_FRAMES, (number + 1) * N_FRAMES)
        of_frame = [labels[labels[:, 0] == frame] for frame in frames]
        truth.append(
            Truth(
                Stream(name, Fraction(30), N_FRAMES, 1920, 1200),
                tuple(_boxes(rows[:, 1:5], np.ones(len(rows)), rows[:, 6], rows[:, 7]) for rows in of_frame),
                tuple(np.zeros(len(rows), np.bool_) for rows in of_frame),
                tuple(rows[:, 5] for rows in of_frame),
                CLASSES,
            )
        )
        of_frame = [found[found[:, 0] == frame] for frame in frames]
        boxes.append([_boxes(rows[:, 1:5], rows[:, 5], rows[:, 6], np.full(len(rows), -1)) for rows in of_frame])
    return Reference(folder, json.loads((folder / "sap.json").read_text()), tuple(truth), tuple(boxes))


def _boxes(ltwh: np.ndarray, score: np.ndarray, class_id: np.ndarray, track_id: np.ndarray) -> Boxes:
    return Boxes(ltwh, score, class_id.astype(np.int64), track_id.astype(np.int64))


@pytest.fixture
def reference(request: pytest.FixtureRequest) -> Callable[[bool], Reference]:
    def read(whole: bool) -> Reference:
        folder = request.getfixturevalue("reference_dir" if whole else "golden_dir") / "sap"
        return _read(folder)

    return read


def _stats(scores: CocoMap) -> list[float]:
    return [-1.0 if (value := getattr(scores, name)) is None else value for name in STATS]


@pytest.mark.parametrize(("whole", "runtimes", "schedule"), RUNS)
def test_timestamps_and_input_frames(
    reference: Callable[[bool], Reference], whole: bool, runtimes: str, schedule: str
) -> None:
    known = reference(whole)
    run = known.run(runtimes, schedule)
    for ours, theirs in zip(known.simulated(run), run["sequences"], strict=True):
        assert [one.frame for one in ours] == theirs["input_fidx"]
        # Arrivals are rounded up to 1 ns. A third of 20 us is no whole number of ns either: half a ns for each draw.
        draws = np.arange(1, len(ours) + 1) if schedule == "perf1.5" else np.zeros(len(ours))
        late_ns = np.array([one.end_ns for one in ours]) - np.array(theirs["timestamps"]) * NS
        assert (np.abs(late_ns) <= 1 + draws / 2 + 1e-5).all()


@pytest.mark.parametrize(("whole", "runtimes", "schedule"), RUNS)
def test_matched_outputs(reference: Callable[[bool], Reference], whole: bool, runtimes: str, schedule: str) -> None:
    known = reference(whole)
    run = known.run(runtimes, schedule)
    simulated = known.outputs(run)
    assert [evaluated["eta"] for evaluated in run["evals"]] == [0, -1, 1]
    for evaluated in run["evals"]:
        matched = [
            match(ours, truth.stream, Fraction(evaluated["eta"]))
            for ours, truth in zip(simulated, known.truth, strict=True)
        ]
        for sequence in matched:
            theirs = evaluated["match"][sequence.stream.name]
            assert sequence.output.tolist() == theirs["output_index"]
            assert sequence.input_frame.tolist() == theirs["input_frame"]
        assert sum(m.misses for m in matched) == evaluated["miss"]
        assert sum(m.in_time for m in matched) == evaluated["in_time"]
        assert sum(m.mismatch for m in matched) == evaluated["mismatch"]


@pytest.mark.filterwarnings("ignore:Found annotation id 0")
@pytest.mark.parametrize(("whole", "runtimes", "schedule"), RUNS)
def test_coco_statistics(
    reference: Callable[[bool], Reference],
    monkeypatch: pytest.MonkeyPatch,
    whole: bool,
    runtimes: str,
    schedule: str,
) -> None:
    known = reference(whole)
    run = known.run(runtimes, schedule)
    simulated = known.outputs(run)
    for evaluated in run["evals"]:
        shown = [
            show(ours, truth.stream, Fraction(evaluated["eta"]))
            for ours, truth in zip(simulated, known.truth, strict=True)
        ]
        found = [dict(enumerate(sequence.boxes)) for sequence in shown]
        scores = average_precision(known.truth, found)
        if evaluated["eta"] == 0 and not whole:
            assert _stats(scores) == pytest.approx(evaluated["ap_stats"], abs=1e-6)
        with monkeypatch.context() as numbering:
            _number_labels_from_0(numbering)
            scores = average_precision(known.truth, found)
        assert _stats(scores) == pytest.approx(evaluated["ap_stats"], abs=1e-6)
        assert scores.n_boxes == evaluated["n_results"]


@pytest.mark.filterwarnings("ignore:Found annotation id 0")
@pytest.mark.parametrize("whole", FOLDERS)
def test_coco_statistics_without_latency(
    reference: Callable[[bool], Reference], monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    known = reference(whole)
    found = [dict(enumerate(boxes)) for boxes in known.found]
    theirs = known.document["offline_ap_stats"]
    ours = _stats(average_precision(known.truth, found))
    # Label 0, a bicycle, is found here; to the reference a label of number 0 is one that was not found.
    assert max(abs(np.array(ours) - theirs)) == pytest.approx(0.00678, abs=1e-5)
    _number_labels_from_0(monkeypatch)
    assert _stats(average_precision(known.truth, found)) == pytest.approx(theirs, abs=1e-6)


def _number_labels_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the reference's labels are. It counts whatever finds label 0 as wrong; our labels begin at 1."""
    numbered_from_1 = LabelledImages.as_coco

    def as_coco(dataset: LabelledImages) -> dict[str, Any]:
        document = numbered_from_1(dataset)
        for label in document["annotations"]:
            label["id"] -= 1
        return document

    monkeypatch.setattr(LabelledImages, "as_coco", as_coco)


@pytest.mark.parametrize(
    ("whole", "runtimes", "schedule"), [run for run in RUNS if run.values[2] in ("idle_free", "shrinking_tail")]
)
def test_forecast(reference: Callable[[bool], Reference], whole: bool, runtimes: str, schedule: str) -> None:
    known = reference(whole)
    run = known.run(runtimes, schedule)
    forecast = PublishedForecast()
    shown = [
        show(ours, truth.stream, Fraction(0), forecast)
        for ours, truth in zip(known.outputs(run), known.truth, strict=True)
    ]
    scores = average_precision(known.truth, [dict(enumerate(sequence.boxes)) for sequence in shown])
    assert scores.n_boxes == run["forecast"]["n"]
    assert _stats(scores) == pytest.approx(run["forecast"]["ap_stats"], abs=1e-6)
    if (runtimes, schedule) in FORECASTS[whole]:
        boxes = [boxes for sequence in shown for boxes in sequence.boxes]
        image = np.repeat(np.arange(len(boxes)), [len(b) for b in boxes])
        ours = np.column_stack(
            [
                image,
                np.concatenate([b.ltwh for b in boxes]),
                np.concatenate([b.score for b in boxes]),
                np.concatenate([b.class_id for b in boxes]),
            ]
        )
        theirs = np.load(known.folder / f"forecast_{runtimes}_{schedule}.npz")["rows"].astype(np.float64)
        # The reference sorts by score with a sort that leaves equal scores in no order.
        np.testing.assert_allclose(_sorted(ours), _sorted(theirs), rtol=0, atol=1e-3)


def _sorted(rows: np.ndarray) -> np.ndarray:
    keys = rows.round(1)
    return rows[np.lexsort((keys[:, 2], keys[:, 1], keys[:, 6], keys[:, 0]))]


@dataclass
class Policy:
    """The reference's other three policies: wait or not by how long the newest frame has been there, and the runtime.

    That any object with these two methods is a scheduler is shown by the way.
    """

    waits: Callable[[Fraction, Fraction], bool]

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        self.fps, self.runtime = stream.fps, runtimes.exact_mean_ns * stream.fps / NS

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        return waited or now_ns == 0 or not self.waits(now_ns * self.fps / NS - newest, self.runtime)


POLICIES: dict[str, Callable[[], Scheduler]] = {
    "idle_free": IdleFree,
    "idle_next": lambda: Policy(lambda phase, runtime: True),
    "shrinking_tail": ShrinkingTail,
    "half_tail": lambda: Policy(lambda phase, runtime: phase >= Fraction(1, 2)),
    "half_next_tail": lambda: Policy(lambda phase, runtime: (phase + runtime) % 1 < Fraction(1, 2)),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("whole", FOLDERS)
def test_policies_with_rational_runtimes(reference: Callable[[bool], Reference], whole: bool, policy: str) -> None:
    cases = reference(whole).document["schedule_sim"]
    assert len(cases) == 33
    for case in cases:
        # 60 ns from frame to frame: every runtime of the table is a whole number of ns.
        runtime_ns = Fraction(*case["r"]) * 60
        assert runtime_ns.denominator == 1
        stream = Stream("rational", Fraction(NS, 60), case["T"], 1, 1)
        runtimes = Runtimes(np.array([int(runtime_ns)]), "rational")
        chosen = POLICIES[policy]()
        chosen.begin(stream, runtimes)
        runs = simulate(stream, chosen, runtimes.draws(0))
        # This table alone wants an output to be there before a frame is asked for, not at that instant: 1 ns later.
        late = [Output(run.end_ns + 1, run.frame, Boxes.empty()) for run in runs]
        assert match(late, stream, Fraction(case["eta"])).mismatch == case[policy], case
