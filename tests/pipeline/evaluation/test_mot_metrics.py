"""Tracking scores equal TrackEval's own, and nothing is printed on the way."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from pipeline.core.errors import DatasetError, MissingExtraError, UsageError
from pipeline.evaluation.mot_metrics import MotScores, MotSequence, evaluate_mot
from pipeline.evaluation.mot_text import MotRows, read_mot, read_seqinfo

HOTA = {"hota": "HOTA", "det_a": "DetA", "ass_a": "AssA", "loc_a": "LocA", "det_re": "DetRe", "det_pr": "DetPr"}
CLEAR = {
    "mota": "MOTA",
    "motp": "MOTP",
    "id_switches": "IDSW",
    "fragmentations": "Frag",
    "false_positives": "CLR_FP",
    "false_negatives": "CLR_FN",
    "mostly_tracked": "MT",
    "mostly_lost": "ML",
}
IDENTITY = {"idf1": "IDF1", "idp": "IDP", "idr": "IDR"}
COUNT = {"n_true_boxes": "GT_Dets", "n_boxes": "Dets", "n_true_tracks": "GT_IDs", "n_tracks": "IDs"}


def check(scores: MotScores, wanted, where, tolerance=1e-12):
    compared = 0
    for family, names in (("HOTA", HOTA), ("CLEAR", CLEAR), ("Identity", IDENTITY), ("Count", COUNT)):
        for ours, theirs in names.items():
            if theirs in wanted[family]:
                value = np.mean(wanted[family][theirs])
                assert getattr(scores, ours) == pytest.approx(value, abs=tolerance), f"{where} {theirs}"
                compared += 1
    assert compared >= 14


def rows(table):
    return MotRows.from_table(np.asarray(table, np.float64))


def small(folder, prefix=""):
    sequences = {}
    for name in ("small0", "small1"):
        data = np.load(folder / f"{prefix}{name}.npz")
        sequences[name] = MotSequence(rows(data["gt"]), rows(data["tr"]), int(data["T"]))
    return sequences


@pytest.mark.parametrize("remove_distractors", [True, False])
def test_small_sequences(golden_dir, remove_distractors, capfd):
    folder = golden_dir / "tracker"
    wanted = json.loads((folder / "trackeval.json").read_text())[f"MOT17_preproc_{remove_distractors}"]
    report = evaluate_mot(small(folder, "trackeval_"), "MOT17", remove_distractors=remove_distractors)
    for name in ("small0", "small1"):
        check(report.per_sequence[name], wanted[name], name)
    assert capfd.readouterr() == ("", "")


@pytest.mark.reference
@pytest.mark.parametrize("remove_distractors", [True, False])
def test_all_sequences_and_the_combination(reference_dir, remove_distractors):
    folder = reference_dir / "trackeval"
    wanted = json.loads((folder / "trackeval.json").read_text())[f"MOT17_preproc_{remove_distractors}"]
    sequences = small(folder)
    for name, config in (("synth0", 0), ("synth1", 1), ("synth_crowd", 0)):
        data = np.load(reference_dir / "bytetrack" / f"{name}.npz")
        truth, out = data["gt"], data[f"out{config}"].astype(np.float64)
        ones = np.ones((len(truth), 2))
        sequences[name] = MotSequence(
            rows(np.column_stack([truth[:, :2], truth[:, 2:6].round(3), ones])),
            rows(np.column_stack([data[f"out{config}_fid"], out[:, :4].round(3), out[:, 4]])),
            int(truth[:, 0].max()),
        )
    report = evaluate_mot(sequences, "MOT17", remove_distractors=remove_distractors)
    for name in sequences:
        check(report.per_sequence[name], wanted[name], name, tolerance=1e-6)  # the tracks' boxes are stored as float32
    check(report.combined, wanted["COMBINED_SEQ"], "combined", tolerance=1e-6)


@pytest.mark.slow
def test_published_results_on_mot17(data_dir):
    """MPNTrack on the seven MOT17 sequences with SDP detections (its other detectors' results are not at hand)."""
    sequences = {
        folder.name: MotSequence(
            read_mot(folder / "gt" / "gt.txt"),
            read_mot(folder / "MPNTrack.txt"),
            read_seqinfo(folder / "seqinfo.ini").n_frames,
        )
        for folder in sorted((data_dir / "mot17").glob("MOT17-*"))
    }
    assert len(sequences) == 7
    combined = evaluate_mot(sequences, "MOT17").combined
    assert (combined.n_true_boxes, combined.n_true_tracks) == (112297, 546)  # MOT17's own figures for its training set
    found = [round(100 * x, 3) for x in (combined.hota, combined.mota, combined.idf1)]
    assert found == [64.494, 70.301, 74.109]  # by TrackEval 1.3.0's own reader and preprocessing on the same files


def line(frame, track_id, left=0.0, mark=1, class_id=1):
    return [frame, track_id, left, 0, 10, 10, mark, class_id]


def test_perfect_tracks_score_one():
    truth = rows([line(f, i, 100 * i) for f in (1, 2, 3) for i in (1, 2)])
    scores = evaluate_mot({"a": MotSequence(truth, truth, 3)}).combined
    assert scores.hota == scores.idf1 == scores.mota == pytest.approx(1)
    assert (scores.n_tracks, scores.mostly_tracked, scores.id_switches) == (2, 2, 0)


def test_a_switch_is_counted():
    truth = rows([line(f, 1) for f in range(1, 5)])
    tracks = rows([line(f, 1 if f < 3 else 2) for f in range(1, 5)])
    scores = evaluate_mot({"a": MotSequence(truth, tracks, 4)}).combined
    assert (scores.id_switches, scores.mota) == (1, 0.75)


@pytest.mark.parametrize(
    ("benchmark", "class_id", "false_positives"), [("MOT17", 8, 0), ("MOT17", 3, 1), ("MOT20", 6, 0), ("MOT17", 6, 1)]
)
def test_a_match_with_a_distractor_is_not_an_error(benchmark, class_id, false_positives):
    truth = rows([line(1, 1), line(1, 2, 100, mark=0, class_id=class_id)])
    tracks = rows([line(1, 1), line(1, 2, 100)])
    scores = evaluate_mot({"a": MotSequence(truth, tracks, 1)}, benchmark).combined
    assert (scores.n_true_boxes, scores.false_positives) == (1, false_positives)


def test_mot15_knows_no_classes():
    truth = rows([line(1, 1, class_id=-1), line(1, 2, 100, mark=0, class_id=-1)])
    scores = evaluate_mot({"a": MotSequence(truth, truth, 1)}, "MOT15").combined
    assert (scores.n_true_boxes, scores.false_positives) == (1, 1)


@pytest.mark.parametrize("n_true", [0, 1])
@pytest.mark.parametrize("n", [0, 1])
def test_empty_sides(n_true, n):
    none = np.zeros((0, 8))
    sequence = MotSequence(rows([line(1, 1)] if n_true else none), rows([line(1, 1)] if n else none), 2)
    scores = evaluate_mot({"a": sequence}).combined
    assert (scores.n_true_boxes, scores.n_boxes) == (n_true, n)
    assert scores.false_negatives == (1 if n_true and not n else 0)


@pytest.mark.parametrize(
    ("tracks", "error", "message"),
    [
        ([line(3, 1)], DatasetError, "a, tracks: wanted frames up to 2, found 3"),
        (
            [line(2, 1), line(2, 1, 50)],
            DatasetError,
            "a, tracks: wanted every id once per frame, found one twice",
        ),
    ],
)
def test_refusals(tracks, error, message):
    with pytest.raises(error, match=message):
        evaluate_mot({"a": MotSequence(rows([line(1, 1)]), rows(tracks), 2)})


def test_no_sequences():
    with pytest.raises(UsageError, match="at least one sequence"):
        evaluate_mot({})


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackeval", None)
    truth = rows([line(1, 1)])
    with pytest.raises(MissingExtraError, match=r"pip install 'tracklight\[eval\]'"):
        evaluate_mot({"a": MotSequence(truth, truth, 1)})
