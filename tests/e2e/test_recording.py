"""Recording as a person runs it, and killed as a power cut would."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FPS = 25
ZONE = {"name": "all", "polygon": [[0, 0], [1, 0], [1, 1], [0, 1]]}
CAMERA = """
import sys, time, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from pipeline.core.detections import Detections
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.recorder import RecorderConfig, RecorderSink

clips = {"kinds": ["visit"], "pre_s": 1.0, "post_s": 1.0}
sink = RecorderSink(RecorderConfig(path=sys.argv[2], container=sys.argv[3], segment_s=2.0, min_free_gb=0, threads=1,
                                   annotated=False, clips=clips), class_names=())
for name in ("a", "b"):
    sink.open(StreamInfo(name, 160, 96, 25.0, True, None))
# Times are exact however busy the machine is, and no picture makes haste after one that was late: none is dropped.
begun_ns, pace = time.monotonic_ns(), threading.Event()
for i in range(10_000):
    for name in ("a", "b"):
        at = begun_ns + i * 40_000_000
        image = np.full((96, 160, 3), i % 250, np.uint8)
        at_s = at / 1e9
        events = (Event("00000000000000aa", EventKind.VISIT, "zone", name, at_s, None, at, i),) if i == 60 else ()
        sink.write(FrameResult(Frame(name, i, image, None, at, CaptureClock.RECEIVE), Detections.empty(),
                               Tracks.empty(), Timeline(at, at, at, at, at, at), events=events))
    print(i, flush=True)
    pace.wait(0.04)
"""


def shown(path: Path) -> list[int]:
    """The number in every picture of a file."""
    with av.open(str(path)) as container:
        return [round(float(frame.to_ndarray(format="bgr24").mean())) for frame in container.decode(video=0)]


@pytest.mark.parametrize(("container", "kill_at"), [("mp4", 108), ("mkv", 115)])
def test_kill_9_leaves_every_closed_segment_and_the_last_one_but_its_last_seconds(
    tmp_path: Path, container: str, kill_at: int
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CAMERA, str(ROOT), str(tmp_path), container], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < kill_at:
            pass
        process.send_signal(signal.SIGKILL)
    for source in ("a", "b"):
        files = sorted((tmp_path / source).iterdir())
        numbers = [shown(path) for path in files[:-1]]
        # A segment that was begun just before may hold no picture yet.
        with contextlib.suppress(av.FFmpegError):
            numbers.append(shown(files[-1]))
        every = [number for part in numbers for number in part]
        # Nothing is missing from the first picture to at most two seconds before the end.
        assert np.allclose(every, range(len(every)), atol=2)
        assert kill_at - len(every) <= 2 * FPS
        assert [len(part) for part in numbers[1:-1]] == pytest.approx([2 * FPS] * (len(numbers) - 2), abs=3)
        clip = shown(tmp_path / "clips" / source / "00000000000000aa.mp4")
        # The event is at picture 60, the clip begins a second before it, at a key frame: one comes every second.
        assert 60 - 2 * FPS - 2 <= clip[0] <= 60 - FPS + 2
        assert clip[-1] >= kill_at - 2 * FPS


def test_a_run_records_cuts_clips_and_refers_to_them(
    program: Callable[..., subprocess.CompletedProcess[str]], clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps({"sources": {"*": {"zones": [ZONE]}}}))
    done = program(
        *("run", "--source", clip, "--weights", small_weights, "--rules", rules, "--report", tmp_path / "report.json"),
        *("-o", f"record:{tmp_path / 'rec'}", "-o", tmp_path / "events.db", "-o", tmp_path / "live.m3u8"),
        *("--set", "sink.recorder.clips.kinds=[visit]", "--set", "sink.recorder.min_free_gb=0"),
        *("--set", "sink.recorder.annotated=false"),
    )
    assert done.returncode == 0, done.stderr
    segments = list((tmp_path / "rec" / clip.stem).iterdir())
    assert [len(shown(path)) for path in segments] == [30]
    with sqlite3.connect(tmp_path / "events.db") as store:
        rows = store.execute("SELECT event_id, clip FROM events WHERE kind = 'visit'").fetchall()
    store.close()
    assert rows
    assert {place for _, place in rows} == {str(tmp_path / "rec" / "clips" / clip.stem / f"{n}.mp4") for n, _ in rows}
    # They all begin at once: one file of many names.
    assert len({Path(place).stat().st_ino for _, place in rows}) == 1
    assert len(shown(Path(rows[0][1]))) == 30
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sinks"][str(tmp_path / "rec")]["counters"]["segments"] == 1
