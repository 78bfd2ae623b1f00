from __future__ import annotations

import importlib.util
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.train.tensorboard_log import TensorboardLog, open_tensorboard
from pipeline.core.errors import MissingExtraError, UsageError

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


@needs_tensorboard
def test_scalars_and_pictures_come_back(tmp_path: Path) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :, 2] = 255  # red, in OpenCV's order
    cv2.imwrite(str(tmp_path / "red.png"), picture)
    threads = threading.active_count()
    log = open_tensorboard(tmp_path / "events")
    assert log is not None
    log.scalars(1, {"val/AP": 0.25, "train/box": 1.5})
    log.scalars(2, {"val/AP": float("nan"), "train/box": float("inf")})
    log.picture("batch", tmp_path / "red.png", 2)
    log.close()
    log.close()
    assert threading.active_count() == threads
    found = events(tmp_path / "events")
    assert [(e.step, e.value) for e in found.Scalars("val/AP")] == [(1, 0.25)]
    assert [(e.step, e.value) for e in found.Scalars("train/box")] == [(1, 1.5), (2, float("inf"))]
    (image,) = found.Images("batch")
    decoded = cv2.imdecode(np.frombuffer(image.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decoded, picture)


@needs_tensorboard
def test_scalars_are_there_before_the_end(tmp_path: Path) -> None:
    log = TensorboardLog(tmp_path)
    log.scalars(1, {"AP": 0.5})
    assert [e.value for e in events(tmp_path).Scalars("AP")] == [0.5]
    log.close()


@needs_tensorboard
def test_a_resumed_run_replaces_what_it_does_again(tmp_path: Path) -> None:
    first = TensorboardLog(tmp_path)
    for epoch in (1, 2, 3):
        first.scalars(epoch, {"AP": 0.1 * epoch})
    first.close()
    # Event files are read by name, which begins with the second they were made in.
    (old,) = tmp_path.iterdir()
    old.rename(tmp_path / "events.out.tfevents.0000000001.first")
    resumed = TensorboardLog(tmp_path, resumed_at=3)
    resumed.scalars(3, {"AP": 0.75})
    resumed.close()
    assert [(e.step, round(e.value, 3)) for e in events(tmp_path).Scalars("AP")] == [(1, 0.1), (2, 0.2), (3, 0.75)]


@needs_tensorboard
def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("no picture")
    log = TensorboardLog(tmp_path / "events")
    with pytest.raises(UsageError, match=r"x\.png: wanted a picture"):
        log.picture("x", tmp_path / "x.png", 1)
    log.close()


def test_without_tensorboard_there_is_no_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO):
        assert open_tensorboard(tmp_path) is None
    assert [record.getMessage() for record in caplog.records] == [
        "tensorboard is not installed, so there is no log for it: pip install 'tracklight[train]'"
    ]
    assert not list(tmp_path.iterdir())


def test_asking_for_it_by_name_needs_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "tensorboard" or n == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[train\]"):
        TensorboardLog(tmp_path)
