"""Recorded tracks against ground truth, as a person scores them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.cli.main import main


def sequence(folder: Path, rows: list[str]) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={folder.name}\nframeRate=10\nseqLength=4\nimWidth=160\nimHeight=96\n"
    )
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        sequence(tmp_path / "truth" / name, [f"{frame},1,{10 * frame},10,20,40,1,1,1" for frame in range(1, 5)])
    return tmp_path / "truth"


def test_mot_text_and_json_lines_score_alike(truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Three of four frames, with a change of id: one box missed, one switch.
    boxes = [(1, 7), (2, 7), (3, 8)]
    text, lines = tmp_path / "a.txt", tmp_path / "a.jsonl"
    text.write_text("".join(f"{frame},{number},{10 * frame},10,20,40,0.9,-1,-1,-1\n" for frame, number in boxes))
    cat = {"track_id": 9, "class": "cat", "confidence": 0.9, "xyxy": [0, 0, 5, 5]}
    records = [
        {"source": "a", "frame": frame - 1, "objects": [
            cat, {"track_id": number, "class": "person", "confidence": 0.9, "xyxy": [left, 10, left + 20, 50]}
        ]}
        for frame, number, left in ((frame, number, 10 * frame) for frame, number in boxes)
    ]  # fmt: skip
    lines.write_text("".join(json.dumps(one) + "\n" for one in [*records, {"source": "a", "end_s": 0.4, "events": []}]))
    figures = []
    for results in (text, lines):
        report = tmp_path / f"{results.suffix[1:]}.json"
        words = ["track-eval", "--truth", truth / "a", "--results", results, "--json", report]
        assert main([str(word) for word in words]) == 0
        figures.append(json.loads(report.read_text()))
    assert figures[0] == figures[1]
    scores = figures[0]["per_sequence"]["a"]
    assert (scores["false_negatives"], scores["id_switches"], scores["false_positives"]) == (1, 1, 0)
    assert scores["mota"] == pytest.approx(1 - 2 / 4)
    assert figures[0]["benchmark"] == "MOT17"
    assert "50.0" in capsys.readouterr().out


def test_several_sequences_are_taken_together(truth: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [f"{frame},1,{10 * frame},10,20,40,0.9,-1,-1,-1\n" for frame in range(1, 5 if name == "a" else 2)]
        (tmp_path / f"{name}.txt").write_text("".join(rows))
    report = tmp_path / "report.json"
    words = ["track-eval", "--truth", truth, "--results", tmp_path / "{sequence}.txt", "--json", report, "--quiet"]
    assert main([str(word) for word in words]) == 0
    told = json.loads(report.read_text())
    assert [round(one["mota"], 3) for one in told["per_sequence"].values()] == [1, 0.25]
    assert told["combined"]["mota"] == pytest.approx(5 / 8)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--results", "x.txt"], "a file for each of 2 sequences"),
        (["--results", "{sequence}.none", "--sequence", "c"], "found 'c'; there: a, b"),
        (["--results", "none.txt", "--sequence", "a"], "none.txt: wanted a MOT text file"),
        (["--results", "none.jsonl", "--sequence", "a"], "none.jsonl: wanted the JSON lines"),
    ],
    ids=["one file", "no sequence", "no text", "no lines"],
)
def test_what_cannot_be_scored_is_told(
    options: list[str], said: str, truth: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track-eval", "--truth", str(truth), *options]) in (1, 2)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"source": "a", "frame": 0, "objects": []}', '{"source": "b", "frame": 0, "objects": []}'], "found a, b"),
        (['{"source": "a", "frame": 0, "objects": [{"class": "person", "track_id": null, "xyxy": [0, 0, 1, 1]}]}'],
         "an object without track_id"),
        (["{}"], "out.jsonl:1"),
        (["no json"], "out.jsonl:1"),
    ],
    ids=["two sources", "no ids", "no frame", "no json"],
)  # fmt: skip
def test_lines_that_are_no_tracks_are_told(
    lines: list[str], said: str, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("\n".join(lines))
    assert main(["track-eval", "--truth", str(truth / "a"), "--results", str(path)]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.reference
def test_the_published_tracks_of_mot17(data_dir: Path, tmp_path: Path) -> None:
    folder, report = data_dir / "mot17", tmp_path / "report.json"
    results = str(folder / "{sequence}" / "MPNTrack.txt")
    assert main(["track-eval", "--truth", str(folder), "--results", results, "--json", str(report), "--quiet"]) == 0
    combined = json.loads(report.read_text())["combined"]
    assert combined["n_true_boxes"] == 112_297
