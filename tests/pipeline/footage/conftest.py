"""Small clips, a small model, and results as a pipeline would give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.core.arrays import ImageArray
from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks

WIDTH, HEIGHT = 128, 96
Box = Sequence[float]


def scene_image(seed: int, left: int | None = None) -> ImageArray:
    """A picture of its own for each seed; with a bright square at `left`."""
    coarse = np.random.default_rng(seed).integers(0, 120, (6, 8, 3), np.uint8)
    image = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if left is not None:
        image[30:60, left : left + 30] = (40, 200, 240)
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="session")
def scene() -> Callable[..., ImageArray]:
    """Draws a picture: seed, and where a bright square is."""
    return scene_image


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip: name, then its pictures."""

    def write(name: str, images: Sequence[ImageArray], fps: int = 10) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "12"})
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())
        return path

    return write


def _rows(boxes: Sequence[Box]) -> np.ndarray:
    return np.array([box[:4] for box in boxes], np.float32).reshape(-1, 4)


@pytest.fixture(scope="session")
def result() -> Callable[..., FrameResult]:
    """Makes a result: index, image, boxes (left, top, right, bottom, score[, class]), track ids (0 = no track)."""

    def make(
        index: int,
        image: ImageArray | None = None,
        boxes: Sequence[Box] = (),
        track_ids: Sequence[int] = (),
        *,
        pts_s: float | None = -1.0,
        track_boxes: Sequence[Box] = (),
        source_id: str = "cam",
        tracked: bool = True,
    ) -> FrameResult:
        picture = scene_image(index) if image is None else image
        at_s = index / 10 if pts_s == -1.0 else pts_s
        classes = np.array([int(box[5]) if len(box) > 5 else 0 for box in boxes], np.int64)
        scores = np.array([box[4] for box in boxes], np.float32)
        rows = np.array([row for row, track_id in enumerate(track_ids) if track_id], np.int64)
        ids = np.array([track_id for track_id in track_ids if track_id], np.int64)
        places = _rows(track_boxes) if track_boxes else _rows(boxes)[rows]
        return FrameResult(
            frame=Frame(source_id, index, picture, at_s, 0, CaptureClock.FILE),
            detections=Detections(_rows(boxes), scores, classes),
            tracks=Tracks(places, scores[rows], classes[rows], ids, rows),
            timeline=Timeline(),
            tracked=tracked,
        )

    return make


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOX-nano with two classes, sure that there is a person everywhere."""
    import torch

    from detector.checkpoint import save_checkpoint
    from detector.models import build_model

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    model = build_model("yolox-nano", num_classes=2)
    for name, value in model.state_dict().items():
        if "obj_preds" in name and name.endswith("bias"):
            value.fill_(3.0)
        elif "cls_preds" in name and name.endswith("bias"):
            value.copy_(torch.tensor([-3.0, 3.0]))
    save_checkpoint(path, model, class_names=("car", "person"), input_hw=(96, 128))
    return path
