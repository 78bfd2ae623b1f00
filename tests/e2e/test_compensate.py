"""A late detector on a clip that is played at its own rate, with the real tracker."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.api import stream
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame
from pipeline.core.result import FrameResult

PX_PER_S = 25.0
"""Of the square in the clip: 1 px a frame."""
LATE_S = 0.1


class LateEye:
    """Finds the bright square, a tenth of a second late."""

    class_names = ("square",)

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        threading.Event().wait(LATE_S)
        return [self._find(frame) for frame in frames]

    @staticmethod
    def _find(frame: Frame) -> Detections:
        left = 4 + frame.index
        box = np.array([[left, 30, left + 30, 60]], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int64))

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", ["off", "emit"])
def test_boxes_are_where_the_object_is_when_they_come_out(clip: Path, tmp_path: Path, kind: str) -> None:
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    settings = {
        "runtime": {"realtime": True, "compensate": kind},
        "outputs": [str(lines), str(table)],
    }
    results = list(stream(clip, detector=LateEye(), settings=settings))  # type: ignore[arg-type]
    assert len(results) >= 4
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    rows = table.read_text().splitlines()[1:]
    assert len(told) == len(results) == len(rows)
    for result, line, row in zip(results[3:], told[3:], rows[3:], strict=True):
        emitted_ns = result.timeline.emitted
        assert emitted_ns is not None
        left, measured = float(result.tracks.xyxy[0, 0]), float(result.detections.xyxy[0, 0])
        assert line["objects"][0]["xyxy"][0] == pytest.approx(left, abs=0.01), "both are outputs of data"
        assert float(row.split(",")[7]) == pytest.approx(measured, abs=1), "a table keeps the frame's own boxes"
        now = measured + PX_PER_S * (emitted_ns - result.frame.captured_ns) / 1e9
        if kind == "off":
            assert "boxes_at_ns" not in line
            assert (result.boxes_at_ns, left) == (None, pytest.approx(measured, abs=1))
        else:
            assert result.boxes_at_ns == line["boxes_at_ns"] == line["emitted_ns"] == emitted_ns
            assert left == pytest.approx(now, abs=1)
            assert now - measured >= PX_PER_S * LATE_S, "which is far from the box that was measured"
    assert isinstance(results[0], FrameResult)
