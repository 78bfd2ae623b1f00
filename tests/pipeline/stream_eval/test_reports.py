"""What is written: figures, page, video, dump."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console

from pipeline.config.build import load_run_config
from pipeline.core.detections import Detections
from pipeline.stream_eval.answers import Detected, Device
from pipeline.stream_eval.document import Document, to_document
from pipeline.stream_eval.dump import write_dump
from pipeline.stream_eval.evaluate import Evaluation, evaluate
from pipeline.stream_eval.job import clips_of, simulate_all
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.latency_curve import CurvePoint
from pipeline.stream_eval.object_speed import error_by_speed
from pipeline.stream_eval.page_writer import html_page
from pipeline.stream_eval.table import print_document
from pipeline.stream_eval.video import write_video
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree

NAME = "<b>square</b>"
DEVICE = Device(Runtimes.constant(60), 5_000_000)


@pytest.fixture
def evaluation(square: Callable[..., Labelled]) -> Evaluation:
    labelled = square(24, name=NAME)
    found = []
    for boxes in labelled.truth.boxes:
        xyxy = boxes.ltwh.astype(np.float32)
        xyxy[:, 2:] += xyxy[:, :2]
        found.append(Detections(xyxy, np.full(1, 0.9, np.float32), np.zeros(1, np.int64)))
    return evaluate(simulate_all([Detected(labelled, found, None)], IdleFree(), DEVICE, 0))


@pytest.fixture
def document(evaluation: Evaluation) -> Document:
    curve = [CurvePoint(ms, 0.9 - ms / 1000, 0.95, None, 0.8 - ms / 1000) for ms in (10, 100)]
    settings = {"mode": "simulated", "eta": "0", "detector": {"weights": "a<b"}}
    speeds = error_by_speed((*evaluation.answers,) * 2, (*evaluation.shown,) * 2)
    return to_document(evaluation, settings, device=DEVICE, curve=curve, speeds=speeds, notes=["odd & strange"])


def test_the_document_is_plain_and_holds_both_accuracies(document: Document) -> None:
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    combined = document["combined"]
    assert combined["offline"]["ap"] > combined["streaming"]["ap"] > 0
    assert combined["miss_share"] == combined["misses"] / 24
    assert document["latency_ms"]["p50"] >= 65
    assert document["device"]["lag_ms"] == 5
    assert document["sequences"][NAME]["n_outputs"] > 10
    assert len(document["error_by_speed"]) == 1


def test_the_table_tells_the_main_figures(document: Document) -> None:
    written = StringIO()
    print_document(document, Console(file=written, width=160))
    text = written.getvalue()
    combined = document["combined"]
    for value in (100 * combined["offline"]["ap"], 100 * combined["streaming"]["ap"]):
        assert f"{value:.1f}" in text
    assert "2 missed" in text
    assert "p95" in text
    assert "odd & strange" in text


class _Reader(HTMLParser):
    """Tags that are open, addresses, and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_needs_nothing_else_and_escapes_names(document: Document) -> None:
    page = html_page(document)
    reader = _Reader()
    reader.feed(page)
    assert reader.tags.count("svg") == 2
    assert "script" not in reader.tags
    assert reader.tags[reader.tags.index("h1") + 1] == "p"
    assert f"Streaming accuracy of {NAME}" in reader.text
    assert "weights: a<b" in reader.text
    assert "odd & strange" in reader.text
    # Within a plot, marks refer to each other; nothing refers outside.
    assert all(address.startswith("#") for address in reader.addresses)


def test_a_page_without_plots(document: Document) -> None:
    page = html_page(document | {"latency_curve": [], "error_by_speed": []})
    assert "<svg" not in page
    assert "sAP: what was shown" in page


def test_the_dump_has_a_line_for_every_frame(evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    write_dump(path, evaluation)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(24))
    assert lines[0]["output"] is None
    assert lines[0]["shown"] == []
    later = lines[10]
    assert later["staleness_frames"] == 10 - later["input_frame"] > 0
    assert later["output_ns"] <= later["arrival_ns"]
    (shown,), (true,) = later["shown"], later["truth"]
    assert true == {"class": "person", "ltwh": [28.0, 20.0, 32.0, 32.0], "track_id": 1, "counts": True}
    assert shown["ltwh"][0] == 8 + 2 * later["input_frame"]
    assert (shown["score"], shown["track_id"]) == (0.9, None)


def test_the_video_shows_truth_and_what_was_shown(
    evaluation: Evaluation, pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(24)
    labelled = evaluation.answers[0].labelled
    (clip,) = clips_of([labelled], str(folder), load_run_config(None, {}, []))
    path = tmp_path / "side.mp4"
    write_video(path, clip, evaluation.shown[0])
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 20
    assert len(frames) == 24
    height, width = frames[0].shape[:2]
    assert (height, width) == (96, 804)
    # Below the caption: frame 0 has a box on the left only, frame 20 on both sides, at different places.
    assert _differs(frames[0][50:60, :400], frames[0][50:60, 404:])
    assert _differs(frames[20][50:60, :400], frames[20][50:60, 404:])


def _differs(left: np.ndarray, right: np.ndarray) -> bool:
    return bool((np.abs(left.astype(int) - right[:, :400].astype(int)).max(axis=2) > 60).sum() > 8)
