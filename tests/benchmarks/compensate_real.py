"""What compensation wins back on real footage, from one run of each clip and latency.

    python tests/benchmarks/compensate_real.py CLIP... --weights yolox_nano.pth --late-ms 50 100 200 400

The detector's boxes of every frame are found first, offline. Then the clip is played at its own rate to a detector
that gives those same boxes late by so much, with the real tracker and all of the runtime. Each box that comes out is
compared with the detector's boxes of the frame that is nearest to that moment: mean IoU with the best of its class,
and the share that overlaps by half and by three quarters.

- own: the box on its own frame; what the tracker changes about the detector's boxes, and the most to be hoped for.
- late: the measured box against the frame at the moment at which it comes out (`--compensate off`).
- moved: the box as outputs of data write it (`--compensate display`; `emit` is some 0.1 ms earlier).
- picture: the box in a live picture with `display`, on that picture's own frame; below it how old pictures are.
- unmoved: the same pictures, had the boxes not been moved.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.config.build import build_run, load_run_config
from pipeline.core.boxes import iou_matrix
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.runtime.sink_worker import SinkBinding
from sinks.draw import Annotator, DrawConfig

SEEN = 0.3
"""Boxes that are compared with have this confidence at least."""


class Late:
    """Boxes that were found before, by frame, after a wait."""

    def __init__(self, found: Sequence[Detections], class_names: tuple[str, ...], late_s: float) -> None:
        self._found = found
        self.class_names = class_names
        self._late_s = late_s

    def warmup(self) -> None:
        """Nothing to do."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The boxes of these frames."""
        threading.Event().wait(self._late_s)
        return [self._found[frame.index] for frame in frames]

    def close(self) -> None:
        """Nothing to do."""


class Keep:
    """A sink that keeps boxes, not pictures, and when they came."""

    needs_image = False
    needs_main_thread = False
    shared = True

    def __init__(self, compensated: str, video: Path | None, class_names: tuple[str, ...]) -> None:
        self.compensated = compensated
        self.is_live = compensated == "pictures"
        self.boxes: list[tuple[int, np.ndarray, np.ndarray]] = []
        """Index of the frame, boxes (n, 4), classes (n,)."""
        self.age_ms: list[float] = []
        """From the capture of the frame to now."""
        self.late_ns: list[int] = []
        """From the capture of the frame to the hand-over."""
        self.found_ns: list[int] = []
        """When the frame was captured that the boxes were found in."""
        self._video = video
        self._annotator = Annotator(DrawConfig(), class_names)

    def open(self, info: StreamInfo) -> None:
        """Nothing to do."""

    def write(self, result: FrameResult) -> None:
        """Keep it; of pictures every tenth is drawn."""
        self.age_ms.append((time.monotonic_ns() - result.frame.captured_ns) / 1e6)
        self.late_ns.append((result.timeline.emitted or 0) - result.frame.captured_ns)
        self.found_ns.append(result.timeline.captured or 0)
        self.boxes.append((result.frame.index, result.tracks.xyxy, result.tracks.class_id))
        if self._video is not None and len(self.boxes) % 10 == 0:
            cv2.imwrite(str(self._video / f"{result.frame.index:05d}.jpg"), self._annotator.draw(result))

    def close(self) -> None:
        """Nothing to do."""


def found_offline(clip: Path, weights: str, n_frames: int) -> tuple[list[Detections], tuple[str, ...], float]:
    """The detector's boxes of every frame, the names of classes, and the clip's rate."""
    from detector.detector import DetectorConfig, YoloDetector

    reader = cv2.VideoCapture(str(clip))
    fps = reader.get(cv2.CAP_PROP_FPS)
    detector = YoloDetector(DetectorConfig(weights=weights, conf_thres=0.1))
    found: list[Detections] = []
    while len(found) < n_frames:
        there, image = reader.read()
        if not there:
            break
        found += detector.detect_images([image])
    reader.release()
    detector.close()
    return found, detector.class_names, fps


def overlaps(truth: Detections, boxes: np.ndarray, classes: np.ndarray) -> list[float]:
    """Of each box the IoU with the best of its class."""
    sure = truth.select(truth.confidence >= SEEN)
    together = np.where(classes[:, None] == sure.class_id[None], iou_matrix(boxes, sure.xyxy), 0)
    return together.max(axis=1, initial=0.0).tolist()


def shown(name: str, values: list[float]) -> str:
    """One line of figures."""
    of = np.array(values or [0.0])
    return f"{name:8} {of.mean():.3f}  {np.mean(of >= 0.5):6.1%}  {np.mean(of >= 0.75):6.1%}"


def measure(
    clip: Path, found: list[Detections], names: tuple[str, ...], fps: float, late_ms: int, video: Path | None
) -> None:
    """Run the clip once and print what came out."""
    folder = None
    if video is not None:
        folder = video / f"{clip.stem}-{late_ms}"
        folder.mkdir(parents=True, exist_ok=True)
    measured, moved, pictures = Keep("", None, names), Keep("data", None, names), Keep("pictures", folder, names)
    runtime = {"realtime": True, "compensate": "display"}
    config = load_run_config(None, {"sources": [str(clip)], "runtime": runtime, "max_frames": len(found)}, [])
    sinks = [SinkBinding(str(number), sink) for number, sink in enumerate((measured, moved, pictures))]
    with build_run(config, detector=Late(found, names, late_ms / 1e3), extra_sinks=sinks) as running:
        running.runner.run()
    own: list[float] = []
    late: list[float] = []
    now: list[float] = []
    for was, ahead, late_ns in zip(measured.boxes, moved.boxes, measured.late_ns, strict=True):
        index, boxes, classes = was
        current = min(index + round(late_ns / 1e9 * fps), len(found) - 1)
        own += overlaps(found[index], boxes, classes)
        late += overlaps(found[current], boxes, classes)
        now += overlaps(found[current], ahead[1], classes)
    seen = [value for index, boxes, classes in pictures.boxes for value in overlaps(found[index], boxes, classes)]
    found_in = dict(zip(measured.found_ns, measured.boxes, strict=True))
    unmoved: list[float] = []
    for (index, *_), found_ns in zip(pictures.boxes, pictures.found_ns, strict=True):
        _, boxes, classes = found_in[found_ns]
        unmoved += overlaps(found[index], boxes, classes)
    age_ms = np.mean(measured.late_ns) / 1e6
    print(
        f"{clip.stem}, {fps:g} frames/s, {late_ms} ms late: {len(measured.boxes)} results of {len(own)} boxes, "
        f"{age_ms:.0f} ms old when emitted"
    )
    print("           IoU   >= 0.5  >= 0.75")
    for name, values in (("own", own), ("late", late), ("moved", now), ("picture", seen), ("unmoved", unmoved)):
        print(shown(name, values))
    print(
        f"pictures: {len(pictures.boxes)}, {np.mean(pictures.age_ms):.1f} ms old, with display; "
        f"{len(measured.boxes)}, {np.mean(measured.age_ms):.0f} ms old, with off\n",
        flush=True,
    )


def main() -> None:
    """Measure every clip at every latency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--late-ms", nargs="+", type=int, default=[50, 100, 200, 400])
    parser.add_argument("--max-frames", type=int, default=300)
    parser.add_argument("--video", type=Path, help="folder for every tenth live picture")
    args = parser.parse_args()
    for clip in args.clips:
        found, names, fps = found_offline(clip, args.weights, args.max_frames)
        for late_ms in args.late_ms:
            measure(clip, found, names, fps, late_ms, args.video)


if __name__ == "__main__":
    main()
