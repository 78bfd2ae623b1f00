"""Annotated videos that are made up, and a clip whose frames show their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.archive.record import AnnotatedVideo, FrameTracks, VideoFacts
from pipeline.core.tracks import Tracks

BITS, BLOCK = 10, 16
WIDTH, HEIGHT = BITS * BLOCK, 96

# Object: (track_id, class_id, xyxy, confidence, predicted)
Object = tuple[int, int, Sequence[float], float, bool]


@dataclass
class MadeVideo:
    facts: VideoFacts
    class_names: tuple[str, ...]
    objects: Callable[[int], Sequence[Object]]

    def frames(self) -> Iterator[FrameTracks]:
        for frame in range(self.facts.n_frames):
            objects = self.objects(frame)
            tracks = Tracks(
                np.array([one[2] for one in objects], np.float32).reshape(-1, 4),
                np.array([one[3] for one in objects], np.float32),
                np.array([one[1] for one in objects], np.int64),
                np.array([one[0] for one in objects], np.int64),
                np.array([-1 if one[4] else row for row, one in enumerate(objects)], np.int64),
            )
            yield FrameTracks(frame, round(frame / self.facts.fps, 6), tracks)


@pytest.fixture(scope="session")
def make_video() -> Callable[..., AnnotatedVideo]:
    def make(
        name: str = "day1/a.mp4",
        n_frames: int = 40,
        objects: Callable[[int], Sequence[Object]] = lambda frame: (),
        *,
        path: Path | None = None,
        class_names: tuple[str, ...] = ("person", "car"),
    ) -> AnnotatedVideo:
        facts = VideoFacts(name, path or Path("/nowhere") / name, WIDTH, HEIGHT, 10.0, n_frames)
        return MadeVideo(facts, class_names, objects)

    return make


@pytest.fixture(scope="session")
def scene() -> Callable[[int], Sequence[Object]]:
    """A person who walks, is hidden, is gone and comes back; a car that stands, and reaches beyond the frame."""

    def objects(frame: int) -> list[Object]:
        found: list[Object] = [(2, 1, (120.25, 40, 170, 80.5), 0.5, False)]
        if not 15 <= frame < 20:
            x = 10 + 2 * frame + 6 * np.sin(frame / 4)
            found.insert(0, (1, 0, (x, 20, x + 20, 60), 0.9, 8 <= frame < 12))
        return found

    return objects


@pytest.fixture(scope="session")
def counter_clip() -> Callable[..., Path]:
    """Write a clip at 10 frames/s whose frames show their number in black and white squares at the bottom."""

    def make(path: Path, n_frames: int = 40) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.bit_rate = 4_000_000
            for frame in range(n_frames):
                image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
                for bit in range(BITS):
                    image[-BLOCK:, bit * BLOCK : (bit + 1) * BLOCK] = 255 * (frame >> bit & 1)
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def read_counter() -> Callable[[Path], int]:
    """The number that a picture shows."""

    def read(path: Path) -> int:
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert image is not None
        middles = image[HEIGHT - BLOCK // 2, BLOCK // 2 :: BLOCK]
        return sum(int(value > 127) << bit for bit, value in enumerate(middles))

    return read
