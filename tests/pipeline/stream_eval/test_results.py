"""Recorded runs: what is read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DatasetError, UsageError
from pipeline.stream_eval.job import recorded_answers
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.results import read_results, recorded

Line = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Square = Callable[..., Labelled]


def read(path: Path, square: Square, n_frames: int = 40) -> Any:
    (lines,) = read_results(path).values()
    return recorded(lines, square(n_frames).truth.stream)


def test_outputs_are_on_the_clock_of_the_first_capture(line: Line, write_lines: Write, square: Square) -> None:
    run = read(write_lines([line(0), line(2, 1), line(3), {"source": "square", "end_s": 2.0, "events": []}]), square)
    assert [(o.at_ns, o.input_frame) for o in run.outputs] == [(60_000_000, 0), (160_000_000, 2), (210_000_000, 3)]
    assert run.outputs[0].boxes.ltwh.tolist() == [[8, 20, 32, 32]]
    assert run.class_names == ("Person",)
    assert run.worst_off_ns == 0


def test_time_zero_is_frame_0_also_where_it_was_dropped(line: Line, write_lines: Write, square: Square) -> None:
    run = read(write_lines([line(2, 2), line(3)]), square)
    assert [o.at_ns for o in run.outputs] == [160_000_000, 210_000_000]


def test_a_capture_a_little_early_counts_from_its_place(line: Line, write_lines: Write, square: Square) -> None:
    early = line(1, captured_ns=5_040_000_000, emitted_ns=5_041_000_000)
    run = read(write_lines([line(0, latency_ms=1), early]), square)
    assert [o.at_ns for o in run.outputs] == [1_000_000, 50_000_000]
    assert run.worst_off_ns == 10_000_000


def test_a_frame_without_objects_is_an_answer(line: Line, write_lines: Write, square: Square) -> None:
    run = read(write_lines([line(0), line(1, objects=[])]), square)
    assert [len(o.boxes) for o in run.outputs] == [1, 0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([(0, {}), (1, {"captured_ns": 5_100_000_000, "emitted_ns": 5_160_000_000})], "20 per s, found 10 per s"),
        ([(0, {}), (1, {"captured_ns": 5_080_000_000, "emitted_ns": 5_160_000_000}), (2, {})], "30.0 ms off"),
        ([(1, {"dropped_before": 1}), (0, {})], "frame 0 behind 1"),
        ([(0, {}), (0, {})], "frame 0 behind 0"),
        ([(0, {}), (1, {"emitted_ns": 5_055_000_000})], "frame 1 emitted before frame 0"),
        ([(0, {"emitted_ns": 4_999_000_000})], "1.000 ms before it was captured"),
        ([(0, {}), (3, {})], "frame 3 behind 0 with 0 dropped between; lines are missing"),
        ([(0, {}), (40, {"dropped_before": 39})], "wanted frames 0 to 39 as in square, found 40"),
    ],
    ids=["rate", "jitter", "unsorted", "twice", "emission unsorted", "before its frame", "missing", "beyond the end"],
)
def test_what_is_no_paced_run_of_the_stream_is_refused(
    changed: list[tuple[int, dict[str, Any]]], said: str, line: Line, write_lines: Write, square: Square
) -> None:
    path = write_lines([line(frame) | values for frame, values in changed])
    with pytest.raises(DatasetError, match=said) as caught:
        read(path, square)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found no frame"),
        ("{", "out.jsonl:1: wanted a JSON object"),
        ("[]", "found a list"),
        ('{"source": "a", "frame": 0, "pts_s": 0, "dropped_before": 0, "objects": []}', "timing: false"),
        (json.dumps({"source": "a", "frame": "x", "captured_ns": 1, "emitted_ns": 2, "dropped_before": 0,
                     "objects": []}),
         "out.jsonl:1: wanted a frame as"),
        (json.dumps({"source": "a", "frame": 0, "captured_ns": 1, "emitted_ns": 2, "dropped_before": 0,
                     "objects": [{"class": "a", "track_id": 1, "confidence": 1, "xyxy": [0, 0, float("nan"), 1]}]}),
         "an object that is no box"),
        (json.dumps({"source": "a", "frame": 0, "captured_ns": 1, "emitted_ns": 2, "dropped_before": 0,
                     "objects": [{"class": "a"}]}), "out.jsonl:1: wanted a frame as"),
    ],
    ids=["empty", "no json", "no object", "no times", "no number", "no box", "no field"],
)  # fmt: skip
def test_files_that_are_no_results_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(text)
    with pytest.raises(DatasetError, match=said):
        read_results(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none that can be read"):
        read_results(tmp_path / "none.jsonl")


def test_two_sources_in_one_file_go_to_the_sequences_of_their_names(
    line: Line, write_lines: Write, square: Square
) -> None:
    lines = [line(0), line(0, source="other", latency_ms=20), line(1)]
    path = write_lines(lines)
    labelled = [square(name="other"), square(name="square")]
    answers, _ = recorded_answers(labelled, str(path))
    assert [len(one.outputs) for one in answers] == [1, 2]
    assert answers[0].latency_ns.tolist() == [20_000_000]
    with pytest.raises(DatasetError, match="wanted results of third, found sources square, other"):
        recorded_answers([square(name="third")], str(path))


def test_one_file_for_each_sequence(line: Line, write_lines: Write, square: Square, tmp_path: Path) -> None:
    write_lines([line(0)], "run-a.jsonl")
    write_lines([line(0), line(1)], "run-b.jsonl")
    answers, _ = recorded_answers([square(name="a"), square(name="b")], str(tmp_path / "run-{sequence}.jsonl"))
    assert [len(one.outputs) for one in answers] == [1, 2]


def test_boxes_of_unknown_classes_are_left_out_and_told(line: Line, write_lines: Write, square: Square) -> None:
    cat = {"track_id": 2, "class": "cat", "confidence": 0.8, "xyxy": [0, 0, 9, 9]}
    both = line(0)
    both["objects"] = [cat, *both["objects"]]
    answers, notes = recorded_answers([square()], str(write_lines([both])))
    assert answers[0].outputs[0].boxes.ltwh.tolist() == [[8, 20, 32, 32]]
    assert any("left out: 1 cat" in note for note in notes)
    with pytest.raises(UsageError, match=r"a class that the truth has \(person\), found cat"):
        recorded_answers([square()], str(write_lines([line(0, objects=[cat])])))


def test_boxes_that_the_run_moved_are_not_moved_again(line: Line, write_lines: Write, square: Square) -> None:
    path = str(write_lines([line(0, boxes_at_ns=5_060_000_000)]))
    _, notes = recorded_answers([square()], path)
    assert any("--compensate moved these boxes" in note for note in notes)
    with pytest.raises(UsageError, match="moved by --compensate already"):
        recorded_answers([square()], path, forecast=True)
