"""Small clips, a small model, and records of results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.archive.done import Done, write_done


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Write a clip of a square that moves over noise, 64x48, 10 frames/s."""

    def make(path: Path, n_frames: int = 5, seed: int = 0) -> Path:
        rng = np.random.default_rng(seed)
        noise = rng.integers(0, 80, (48, 64, 3), np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(n_frames):
                image = noise.copy()
                left = (seed + 2 * i) % 44
                image[10:30, left : left + 18] = (40, 200, 240)
                for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def small_weights(sure_weights: Callable[[tuple[int, int]], Path]) -> Path:
    """The untrained network that sees objects everywhere."""
    return sure_weights((64, 64))


@pytest.fixture
def make_done() -> Callable[..., Done]:
    """A record; what is given replaces its values."""

    def make(name: str = "day1/a.mp4", **changes: Any) -> Done:
        known: dict[str, Any] = {
            "name": name,
            "work": f"work of {name}",
            "size": 100,
            "mtime_ns": 7,
            "settings": "0123456789abcdef",
            "class_names": ("person", "car"),
            "width_px": 64,
            "height_px": 48,
            "fps": 10.0,
            "n_frames": 2,
            "n_tracks": 1,
            "n_boxes": 2,
            "n_events": 0,
            "notes": (),
            "seconds": 0.5,
            "finished": "2026-01-02T03:04:05.000006+00:00",
        }
        return Done(**known | changes)

    return make


@pytest.fixture
def write_results() -> Callable[[Path, Done], Path]:
    """Whole results in a folder: two frames, the second without objects, and a closing line."""

    def write(folder: Path, done: Done) -> Path:
        folder.mkdir(parents=True)
        (folder / "tracks.jsonl").write_text(
            f'{{"source":"{done.name}","frame":0,"pts_s":0.0,"dropped_before":0,"objects":['
            '{"track_id":3,"class_id":1,"class":"car","confidence":0.9,"xyxy":[1.0,2.0,3.0,4.5]},'
            '{"track_id":1,"class_id":0,"class":"person","confidence":0.5,"xyxy":[5.0,6.0,7.0,8.0],"predicted":true}'
            '],"events":[]}\n'
            f'{{"source":"{done.name}","frame":1,"pts_s":null,"dropped_before":0,"objects":[],"events":[]}}\n'
            f'{{"source":"{done.name}","end_s":0.1,"events":[],"summary":{{}}}}\n'
        )
        write_done(folder, done)
        return folder

    return write
