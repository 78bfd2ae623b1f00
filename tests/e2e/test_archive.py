"""An archive of 200 clips, killed twice while it is annotated, ends as if nothing had happened: here and on Ray."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc"),
]

ROOT = Path(__file__).resolve().parents[2]
N_CLIPS = 200
N_FRAMES = 3
CORRUPT = "day3/broken.mp4"
CUT_OFF = "day2/empty.mkv"


def write_clip(path: Path, seed: int) -> None:
    """Two squares that move over noise, 48x32, each clip its own."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 80, (32, 48, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for i in range(N_FRAMES):
            image = noise.copy()
            for left, top, colour in ((seed % 20 + 2 * i, 4, (40, 200, 240)), (30 - i, seed % 14, (240, 60, 20))):
                image[top : top + 16, left : left + 14] = colour
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 clips in four folders, a file that is no video, and one without a byte."""
    root = tmp_path_factory.mktemp("footage")
    for number in range(N_CLIPS):
        path = root / f"day{number % 4}" / f"clip {number:03}.mp4"
        path.parent.mkdir(exist_ok=True)
        write_clip(path, number)
    (root / CORRUPT).write_bytes(b"no video at all" * 400)
    (root / CUT_OFF).touch()
    (root / "notes.txt").write_text("no video either")
    return root


class Program:
    """`annotate` as a person starts it, in a process group of its own."""

    def __init__(self, clips: Path, weights: Path, errors: Path) -> None:
        self._clips, self._weights, self._errors = clips, weights, errors
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, out: Path, *options: object) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, ROOT / "run_pipeline.py", "annotate", "--source", self._clips, "-o", out),
            *("--weights", self._weights, "--backend", "eager", "--img-size", 32, "--device", "cpu"),
            *("--set", "detector.max_det=20", *options),
        ]
        with self._errors.open("a") as errors:
            process = subprocess.Popen([str(part) for part in command], stderr=errors, start_new_session=True)
        self._running.append(process)
        return process

    def run(self, out: Path, *options: object) -> int:
        return self.start(out, *options).wait(timeout=200)

    def errors(self) -> str:
        return self._errors.read_text()

    def close(self) -> None:
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def annotate(clips: Path, small_weights: Path, tmp_path: Path) -> Iterator[Program]:
    program = Program(clips, small_weights, tmp_path / "stderr.txt")
    yield program
    program.close()


@pytest.fixture(scope="module")
def uninterrupted(clips: Path, small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run by one worker gives that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    program = Program(clips, small_weights, folder / "stderr.txt")
    try:
        assert program.run(folder / "out", "--workers", 1) == 1, program.errors()
    finally:
        program.close()
    assert f"corrupt: {clips / CORRUPT}" in program.errors()
    assert f"corrupt: {clips / CUT_OFF}" in program.errors()
    assert "partial: 200 videos annotated, 2 given up; 600 frames" in program.errors()
    return folder / "out"


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a Ray of two workers that outlives whoever uses it."""
    pytest.importorskip("ray")
    patch = pytest.MonkeyPatch()
    for name, value in (("MODE", "token"), ("TOKEN", secrets.token_hex(32))):
        patch.setenv(f"RAY_AUTH_{name}", value)
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Else it waits for half a minute at its end for work of processes that were killed.
    patch.setenv("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Ray puts sockets there, whose paths have little room.
    folder = tempfile.mkdtemp(prefix="ray")
    command = [
        *(str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2", f"--port={port}"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", f"--temp-dir={folder}"),
        *("--disable-usage-stats", "--object-store-memory=100000000"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(port):
            assert process.poll() is None, "ray start has ended"
            assert time.monotonic() < deadline, "ray does not start"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
        patch.undo()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def done_folders(out: Path) -> dict[str, Path]:
    """Videos with whole results, as anyone sees them on disk."""
    videos = out / "videos"
    return {str(path.parent.relative_to(videos)): path.parent for path in videos.rglob("done.json")}


def tracks(out: Path) -> dict[str, bytes]:
    return {name: (folder / "tracks.jsonl").read_bytes() for name, folder in done_folders(out).items()}


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes], program: Program) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, program.errors()
        assert time.monotonic() < deadline, program.errors()
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def identities(out: Path) -> dict[str, tuple[int, int]]:
    """Who made the results of each video, and when: another file has another number."""
    return {
        name: (status.st_ino, status.st_mtime_ns)
        for name, folder in done_folders(out).items()
        for status in [(folder / "tracks.jsonl").stat()]
    }


def interrupted_twice(annotate: Program, out: Path, *options: object) -> None:
    """Kill two runs, each after some videos, and let the third one finish."""
    seen: dict[str, tuple[int, int]] = {}
    for least in (20, 90):
        process = annotate.start(out, *options)
        wait_for(lambda least=least: len(done_folders(out)) >= least, process, annotate)  # type: ignore[misc]
        kill(process)
        now = identities(out)
        assert seen.items() <= now.items(), "a video was done twice"
        assert len(now) < N_CLIPS
        seen = now
    assert annotate.run(out, *options) == 1, annotate.errors()
    assert seen.items() <= identities(out).items(), "a video was done twice"


def check_equal(out: Path, whole: Path, clips: Path) -> None:
    assert tracks(out) == tracks(whole)
    assert len(tracks(out)) == N_CLIPS
    assert sorted(path.name for path in out.iterdir()) == [
        *(".lock", "archive.json", "journal.jsonl", "manifest.json", "videos")
    ]
    files = {path.name for folder in done_folders(out).values() for path in folder.iterdir()}
    assert files == {"tracks.jsonl", "report.json", "done.json"}
    journal = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    finished = [row["video"] for row in journal if row["status"] == "done"]
    assert len(finished) == len(set(finished)) == N_CLIPS
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "partial"
    totals = manifest["totals"]
    assert (totals["videos"], totals["done"], totals["corrupt"]) == (N_CLIPS + 2, N_CLIPS, 2)
    assert (totals["failed"], totals["waiting"], totals["frames"]) == (0, 0, N_CLIPS * N_FRAMES)
    given_up = {row["video"]: row["reason"] for row in manifest["videos"] if row["status"] == "corrupt"}
    assert set(given_up) == {CORRUPT, CUT_OFF}
    assert all(str(clips / name) in reason and "\n" not in reason for name, reason in given_up.items())


def test_the_results_hold_tracks(uninterrupted: Path) -> None:
    """Else all that follows would compare nothing with nothing."""
    manifest = json.loads((uninterrupted / "manifest.json").read_text())
    assert manifest["totals"]["boxes"] > 10 * N_CLIPS
    texts = set(tracks(uninterrupted).values())
    assert len(texts) == N_CLIPS
    first = json.loads(tracks(uninterrupted)["day0/clip 000.mp4"].splitlines()[0])
    assert set(first) == {"source", "frame", "pts_s", "dropped_before", "objects", "events"}


def test_killed_twice(annotate: Program, uninterrupted: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    interrupted_twice(annotate, out, "--workers", 2)
    check_equal(out, uninterrupted, clips)
    before = identities(out)
    assert annotate.run(out, "--workers", 2) == 1
    assert "0 videos annotated, 200 were done before, 2 given up" in annotate.errors()
    assert identities(out) == before


def test_killed_twice_on_ray(annotate: Program, uninterrupted: Path, clips: Path, tmp_path: Path, cluster: str) -> None:
    out = tmp_path / "out"
    interrupted_twice(annotate, out, "--workers", 2, "--ray", cluster)
    check_equal(out, uninterrupted, clips)
    assert "Traceback" not in annotate.errors()


def test_ctrl_c_ends_within_seconds_and_formats_follow_a_whole_run(
    annotate: Program, clips: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    only = ("--set", "max_frames=2", "--workers", 2, "--format", "coco")
    process = annotate.start(out, *only)
    wait_for(lambda: len(done_folders(out)) >= 10, process, annotate)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - began < 10
    assert "interrupted; the same command goes on from here" in annotate.errors()
    assert not (out / "coco").exists()
    n_before = len(done_folders(out))
    assert 10 <= n_before < N_CLIPS
    assert json.loads((out / "manifest.json").read_text())["status"] == "interrupted"
    assert annotate.run(out, *only) == 1
    assert f"{N_CLIPS - n_before} videos annotated, {n_before} were done before" in annotate.errors()
    assert len(json.loads((out / "coco" / "annotations" / "instances_default.json").read_text())["videos"]) == N_CLIPS
    assert "Traceback" not in annotate.errors()


def test_workers_end_with_a_parent_that_is_killed(annotate: Program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = annotate.start(out, "--workers", 2)
    wait_for(lambda: len(done_folders(out)) >= 5, process, annotate)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}/cmdline").exists() for child in children):
        assert time.monotonic() < deadline, "workers go on without their parent"
        time.sleep(0.05)


def test_two_at_once_are_refused(annotate: Program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = annotate.start(out, "--workers", 1)
    wait_for(lambda: len(done_folders(out)) >= 1, process, annotate)
    assert annotate.run(out, "--workers", 1) == 2
    assert "found another annotate at work in it" in annotate.errors()
    assert process.poll() is None


def test_what_no_actor_can_work_with_is_told_once(annotate: Program, tmp_path: Path, cluster: str) -> None:
    assert annotate.run(tmp_path / "out", "--ray", cluster, "--quiet", "--classes", "dragon") == 2
    (line,) = annotate.errors().splitlines()
    assert line.startswith("tracklight: ")
    assert "dragon" in line
