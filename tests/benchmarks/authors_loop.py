"""The baseline: detection in a video as the YOLOv7 authors' script goes about it, written anew from its behaviour.

    python tests/benchmarks/authors_loop.py --weights FILE --source clip.mp4 --out folder [--json figures.json]

One frame after another in one thread: OpenCV reads it; it is letterboxed to 640 px, padded to a multiple of the stride
only; turned to RGB planes in 0..1; the fused network runs in PyTorch in 32 bits, contiguous, and decodes all
candidates itself; suppression by class on the confident ones; boxes scaled back, drawn with OpenCV, written as text and
as mp4v video. The network is this project's own, with the same layers and the same cost.

What differs: suppression is torchvision's there and NumPy here (torchvision does not load beside PyTorch's CPU build);
at ordinary numbers of boxes both take a fraction of a millisecond. Nothing is printed per frame.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch

from detector.checkpoint import load_checkpoint
from detector.models import fuse
from pipeline.benchmark.usage import cpu_s, peak_memory_mb

CONF_THRES, IOU_THRES, MAX_DET = 0.25, 0.45, 300
CLASS_GAP_PX = 4096
"""Boxes of class c are moved by c times this, so that one pass suppresses within each class only."""


def letterbox(image: np.ndarray, side_px: int, stride: int) -> tuple[np.ndarray, float, float, float]:
    """The resized and padded picture, the scale, and the padding left and above (px)."""
    height, width = image.shape[:2]
    scale = min(side_px / height, side_px / width)
    new_w, new_h = round(width * scale), round(height * scale)
    pad_x, pad_y = (side_px - new_w) % stride / 2, (side_px - new_h) % stride / 2
    if (new_w, new_h) != (width, height):
        image = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    top, bottom = round(pad_y - 0.1), round(pad_y + 0.1)
    left, right = round(pad_x - 0.1), round(pad_x + 0.1)
    padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    return padded, scale, left, top


def suppress(candidates: torch.Tensor) -> np.ndarray:
    """Boxes (n, 6) of candidates (k, 5 + nc): xyxy px, confidence, class; the best first."""
    rows = candidates[candidates[:, 4] > CONF_THRES]
    confidence, class_id = (rows[:, 5:] * rows[:, 4:5]).max(1)
    wanted = confidence > CONF_THRES
    rows, confidence, class_id = rows[wanted], confidence[wanted], class_id[wanted]
    half = rows[:, 2:4] / 2
    boxes = torch.cat((rows[:, :2] - half, rows[:, :2] + half, confidence[:, None], class_id[:, None].float()), 1)
    boxes = boxes[confidence.argsort(descending=True)]
    found = boxes.numpy()
    return found[greedy(found[:, :4] + found[:, 5:] * CLASS_GAP_PX)[:MAX_DET]]


def greedy(boxes: np.ndarray) -> list[int]:
    """Rows that no better one overlaps by more than IOU_THRES; boxes (n, 4) come by falling confidence."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left, kept = np.arange(len(boxes)), []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(int(best))
        corner = np.maximum(boxes[best, :2], boxes[rest, :2])
        size = np.maximum(np.minimum(boxes[best, 2:], boxes[rest, 2:]) - corner, 0)
        shared = size[:, 0] * size[:, 1]
        left = rest[shared <= IOU_THRES * (area[best] + area[rest] - shared)]
    return kept


def draw(image: np.ndarray, box: np.ndarray, text: str, color: tuple[int, int, int]) -> None:
    """A frame around the object, and its name on a filled ground."""
    x1, y1, x2, y2 = (int(v) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), color, 1, cv2.LINE_AA)
    (width, height), _ = cv2.getTextSize(text, 0, 1 / 3, 1)
    cv2.rectangle(image, (x1, y1), (x1 + width, y1 - height - 3), color, -1, cv2.LINE_AA)
    cv2.putText(image, text, (x1, y1 - 2), 0, 1 / 3, (225, 255, 255), 1, cv2.LINE_AA)


class Loop:
    """The loop over one video.

    Args:
        weights: of an own checkpoint or one of the authors'.
        out: folder for the video and the texts.
        side_px: side of the input.
    """

    def __init__(self, weights: Path, out: Path, side_px: int) -> None:
        loaded = load_checkpoint(weights)
        self._network = fuse(loaded.model).eval()
        self._stride = loaded.model.max_stride
        self._names = loaded.class_names
        self._side_px = side_px
        self._out = out
        rng = np.random.default_rng(0)
        self._colors = [tuple(int(c) for c in color) for color in rng.integers(0, 255, (len(self._names), 3))]
        self.objects = 0

    def run(self, source: Path) -> int:
        """Every frame; returns how many."""
        (self._out / "labels").mkdir(parents=True, exist_ok=True)
        capture = cv2.VideoCapture(str(source))
        size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        video = cv2.VideoWriter(str(self._out / "video.mp4"), codec, capture.get(cv2.CAP_PROP_FPS), size)
        n = 0
        while True:
            there, image = capture.read()
            if not there:
                break
            n += 1
            self._one(image, n)
            video.write(image)
        capture.release()
        video.release()
        return n

    @torch.no_grad()
    def _one(self, image: np.ndarray, number: int) -> None:
        padded, scale, left, top = letterbox(image, self._side_px, self._stride)
        planes = torch.from_numpy(np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1)))
        candidates = self._network((planes.float() / 255)[None])
        found = suppress(candidates[0])
        height, width = image.shape[:2]
        found[:, [0, 2]] = ((found[:, [0, 2]] - left) / scale).clip(0, width)
        found[:, [1, 3]] = ((found[:, [1, 3]] - top) / scale).clip(0, height)
        self.objects += len(found)
        for row in found[::-1]:
            class_id = int(row[5])
            self._write(row, class_id, number, (height, width))
            draw(image, row[:4], f"{self._names[class_id]} {row[4]:.2f}", self._colors[class_id])

    def _write(self, row: np.ndarray, class_id: int, number: int, shape_hw: tuple[int, int]) -> None:
        height, width = shape_hw
        x1, y1, x2, y2 = row[:4]
        values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        with (self._out / "labels" / f"video_{number}.txt").open("a") as file:
            file.write(f"{class_id} " + " ".join(f"{value:g}" for value in values) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Detect in a video the plain way, and time it.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--img-size", type=int, default=640)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    loop = Loop(args.weights, args.out, args.img_size)
    began_s, began_cpu_s = time.perf_counter(), cpu_s()
    frames = loop.run(args.source)
    wall_s, spent_s = time.perf_counter() - began_s, cpu_s() - began_cpu_s
    figures = {
        "frames": frames,
        "frames_per_s": frames / wall_s,
        "cpu_s_per_frame": spent_s / frames,
        "objects_per_frame": loop.objects / frames,
        "peak_memory_mb": peak_memory_mb(),
        "video_bytes": (args.out / "video.mp4").stat().st_size,
    }
    if args.json:
        args.json.write_text(json.dumps(figures))
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
