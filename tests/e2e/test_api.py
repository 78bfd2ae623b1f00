"""Tracklight from Python."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from detector.detector import DetectorConfig, YoloDetector
from pipeline.api import stream, to_supervision
from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError, MissingExtraError, SourceError, StageError
from pipeline.core.frame import Frame

ROOT = Path(__file__).resolve().parents[2]


def test_results_come_one_by_one_and_in_order(clip: Path, small_weights: Path) -> None:
    results = list(stream(clip, weights=small_weights))
    assert [result.frame.index for result in results] == list(range(30))
    assert all(len(result.tracks) for result in results)
    assert all(result.timeline.emitted for result in results)


@pytest.mark.timeout(9)  # the drain deadline of a run is 10 s
def test_leaving_the_loop_ends_everything(clip: Path, small_weights: Path) -> None:
    before = threading.active_count()
    for result in stream(clip, weights=small_weights):
        if result.frame.index == 3:
            break
    assert threading.active_count() == before


@pytest.mark.timeout(9)
def test_an_error_in_the_loop_ends_everything(clip: Path, small_weights: Path) -> None:
    def stumble() -> None:
        for result in stream(clip, weights=small_weights):
            _ = 1 / (result.frame.index - 2)

    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        stumble()
    assert threading.active_count() == before


def test_a_generator_that_is_never_started_starts_nothing(clip: Path, small_weights: Path) -> None:
    before = threading.active_count()
    stream(clip, weights=small_weights)
    assert threading.active_count() == before


def test_settings_and_several_sources(clip: Path, small_weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    settings = {"tracker": {"kind": "none"}, "max_frames": 4, "detector": {"max_det": 2}}
    results = list(stream([clip, other], weights=small_weights, settings=settings))
    assert sorted((r.frame.source_id, r.frame.index) for r in results) == sorted(
        (name, i) for name in ("square", "other") for i in range(4)
    )
    assert all(len(r.tracks) == 0 and 0 < len(r.detections) <= 2 and not r.tracked for r in results)


def test_errors_reach_the_loop(clip: Path, small_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mp4"):
        next(iter(stream("nowhere.mp4", weights=small_weights)))
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(StageError, match="empty file"):
        list(stream(empty, weights=small_weights))
    with pytest.raises(ConfigError, match="did you mean 'buffer_s'"):
        list(stream(clip, weights=small_weights, settings={"tracker": {"bufer_s": 1}}))


def test_a_detector_of_ones_own_stays_open(clip: Path) -> None:
    class Nothing:
        class_names = ("thing",)
        closed = 0

        def warmup(self) -> None: ...

        def detect(self, frames: list[Frame]) -> list[Detections]:
            return [Detections.empty() for _ in frames]

        def close(self) -> None:
            self.closed += 1

    detector = Nothing()
    for _ in range(2):
        assert len(list(stream(clip, detector=detector, settings={"max_frames": 3}))) == 3
    assert detector.closed == 0


def test_the_detector_alone(small_weights: Path) -> None:
    detector = YoloDetector(DetectorConfig(weights=str(small_weights)))
    found = detector.detect_images([np.zeros((96, 128, 3), np.uint8), np.zeros((40, 200, 3), np.uint8)])
    assert len(found) == 2
    assert detector.class_names == ("person", "car")
    detector.close()


def test_supervision_gets_the_tracks(clip: Path, small_weights: Path) -> None:
    result = next(iter(stream(clip, weights=small_weights)))
    tracks, given = result.tracks, to_supervision(result)
    assert given.tracker_id.tolist() == tracks.track_id.tolist()
    assert given.xyxy.tolist() == tracks.xyxy.tolist()
    assert given.confidence.tolist() == tracks.confidence.tolist()
    assert given.class_id.tolist() == tracks.class_id.tolist()
    # Copies: what supervision's users write into theirs must not reach our read-only results.
    given.xyxy[:] = 0
    assert result.tracks.xyxy.tolist() == tracks.xyxy.tolist()


def test_supervision_gets_detections_where_nothing_is_tracked(clip: Path, small_weights: Path) -> None:
    result = next(iter(stream(clip, weights=small_weights, settings={"tracker": {"kind": "none"}})))
    given = to_supervision(result)
    assert given.tracker_id is None
    assert given.xyxy.tolist() == result.detections.xyxy.tolist()


def test_without_supervision_one_line_says_what_to_install(
    clip: Path, small_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = next(iter(stream(clip, weights=small_weights)))
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[interop\]"):
        to_supervision(result)


@pytest.mark.slow
def test_the_examples_run(clip: Path, small_weights: Path, tmp_path: Path) -> None:
    import cv2

    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), np.full((96, 128, 3), 90, np.uint8))
    for name, arguments, wanted in (
        ("stream_results.py", [clip, small_weights], "frame 29:"),
        ("detect_image.py", [photo, small_weights], "person"),
        ("track_boxes.py", [], "39 {1:"),
        ("demo.py", ["--source", clip, "--weights", small_weights], "Look at demo/annotated.mp4"),
    ):
        command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=100)
        assert done.returncode == 0, done.stderr
        assert wanted in done.stdout, done.stdout[-300:]
