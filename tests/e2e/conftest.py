"""A small model, small clips, and the program as a person starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def write_clip(path: Path, *, n_frames: int, width: int = 128, height: int = 96, fps: int = 25) -> Path:
    """A bright square moving over noise, H.264."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 60, (height, width, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(n_frames):
            image = noise.copy()
            left = 4 + i % (width - 40)
            image[30:60, left : left + 30] = (40, 200, 240)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 25 frames/s."""
    return write_clip(tmp_path_factory.mktemp("clips") / "square.mp4", n_frames=30)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 seconds at 25 frames/s."""
    return write_clip(tmp_path_factory.mktemp("clips") / "long.mp4", n_frames=1500)


@pytest.fixture(scope="session")
def small_weights(sure_weights: Callable[[tuple[int, int]], Path]) -> Path:
    """The untrained network that sees objects everywhere, for pictures as large as the clips'."""
    return sure_weights((96, 128))


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the program to its end, as a person does from a shell."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(*arguments),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            cwd=cwd or ROOT,
            env={**os.environ, **(env or {})},
        )

    return run


@pytest.fixture
def started() -> Callable[..., subprocess.Popen[str]]:
    """Start the program and go on; what is left running is killed at the end of the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
        running.append(process)
        return process

    yield start  # type: ignore[misc]
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def command(*arguments: object) -> Sequence[str]:
    """The command line of the program."""
    return [sys.executable, str(ROOT / "run_pipeline.py"), *map(str, arguments)]


@pytest.fixture
def tiny_training_data(tmp_path: Path) -> Path:
    """data.yaml of eight pictures with red and blue boxes on noise, 64 px, which serve to train and to validate."""
    import cv2

    rng = np.random.default_rng(0)
    folder, side = tmp_path / "set", 64
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(8):
        image = rng.integers(60, 120, (side, side, 3)).astype(np.uint8)
        rows = []
        for class_id, colour in enumerate([(0, 0, 255), (255, 0, 0)]):
            w, h = rng.integers(side // 5, side // 2, 2)
            x, y = rng.integers(0, side - w), rng.integers(0, side - h)
            image[y : y + h, x : x + w] = colour
            rows.append(f"{class_id} {(x + w / 2) / side} {(y + h / 2) / side} {w / side} {h / side}\n")
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        (folder / "labels" / f"{number}.txt").write_text("".join(rows))
    data = folder / "data.yaml"
    data.write_text("names: [red, blue]\ntrain: images\nval: images\n")
    return data
