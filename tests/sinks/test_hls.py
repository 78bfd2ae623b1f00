from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks import hls
from sinks.hls import HlsConfig, HlsSink

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]


def make_sink(folder: Path, **settings: Any) -> HlsSink:
    values = {"path": folder / "live.m3u8", "threads": 1, "crf": 10, "window": 3} | settings
    return HlsSink(HlsConfig(**values), class_names=())


def write(sink: HlsSink, make_result: Make, frames: range) -> None:
    for i in frames:
        sink.write(make_result(i, image=np.full((48, 64, 3), i % 250, np.uint8), pts_s=i / 25))


def entries(playlist: Path) -> list[str]:
    return [line for line in playlist.read_text().splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("kind", ["mpegts", "fmp4"])
def test_it_plays_while_it_is_written(tmp_path: Path, make_result: Make, make_info: Info, kind: str) -> None:
    sink = make_sink(tmp_path, segment_type=kind)
    sink.open(make_info(is_live=True))
    write(sink, make_result, range(200))
    playlist = tmp_path / "live.m3u8"
    assert len(entries(playlist)) == 3
    assert "#EXT-X-ENDLIST" not in playlist.read_text()
    with av.open(str(playlist)) as container:
        frames = container.decode(video=0)
        shown = [round(float(frame.to_ndarray(format="bgr24").mean())) for frame in islice(frames, 25)]
    # A player begins three segments before the end: what was written in the last seconds.
    assert np.allclose(shown, range(100, 125), atol=2)
    sink.close()
    assert "#EXT-X-ENDLIST" in playlist.read_text()


def test_old_segments_are_deleted_and_each_plays_alone(
    tmp_path: Path, make_result: Make, make_info: Info, read_video: Callable[[Path], Any]
) -> None:
    sink = make_sink(tmp_path)
    sink.open(make_info(is_live=True))
    write(sink, make_result, range(500))
    sink.close()
    files = sorted(tmp_path.glob("*.ts"))
    assert len(files) <= 5
    assert set(entries(tmp_path / "live.m3u8")) <= {path.name for path in files}
    assert not list(tmp_path.glob("*.tmp"))
    pictures = [read_video(path).pictures for path in files]
    assert [len(p) for p in pictures] == [25] * len(files)
    assert round(float(pictures[-1][-1].mean())) == pytest.approx(499 % 250, abs=2)


def test_a_reader_never_finds_half_a_playlist(tmp_path: Path, make_result: Make, make_info: Info) -> None:
    sink = make_sink(tmp_path)
    sink.open(make_info(is_live=True))
    write(sink, make_result, range(60))
    playlist = tmp_path / "live.m3u8"
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.append(playlist.read_text())

    looking = threading.Thread(target=look)
    looking.start()
    write(sink, make_result, range(60, 1000))
    done.set()
    looking.join()
    sink.close()
    assert len(set(seen)) > 5
    assert all(text.startswith("#EXTM3U") and text.rstrip().endswith(".ts") for text in seen)


def test_what_a_killed_run_left_is_replaced_only_when_asked(tmp_path: Path, make_result: Make, make_info: Info) -> None:
    first = make_sink(tmp_path)
    first.open(make_info(is_live=True))
    write(first, make_result, range(100))
    first.close()
    left = {path.name for path in tmp_path.iterdir()}
    others = {"live-notes.txt", "live-2-1795280498.ts", "live.b-1795280498.ts"}
    for name in others:
        (tmp_path / name).write_text("mine")
    with pytest.raises(SinkError, match="--exist-ok"):
        make_sink(tmp_path).open(make_info())
    assert left <= {path.name for path in tmp_path.iterdir()}
    second = make_sink(tmp_path, exist_ok=True)
    second.open(make_info())
    assert {path.name for path in tmp_path.iterdir()} == {"live.m3u8", *others}
    second.close()
    # No frame, no playlist.
    assert {path.name for path in tmp_path.iterdir()} == others


def test_a_full_disk_is_waited_for(
    tmp_path: Path,
    make_result: Make,
    make_info: Info,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hls, "RETRY_S", 0.0)
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300000", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        (disk / "foreign").write_bytes(bytes(280_000))
        sink = make_sink(disk)
        sink.open(make_info(is_live=True))
        noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
        for i in range(100):
            sink.write(make_result(i, image=np.roll(noise, i, 0), pts_s=i / 25))
        assert sink.counters["unwritten"] > 0
        (disk / "foreign").unlink()
        write(sink, make_result, range(100, 200))
        sink.close()
        assert len(entries(disk / "live.m3u8")) >= 1
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert sum("pictures are dropped" in message for message in caplog.messages) >= 1


@pytest.mark.parametrize("name", ["live.mp4", "li%dve.m3u8"])
def test_another_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="wanted a"):
        HlsSink(HlsConfig(path=tmp_path / name), class_names=())


def test_write_without_open(tmp_path: Path, make_result: Make) -> None:
    sink = make_sink(tmp_path)
    with pytest.raises(SinkError, match="not open"):
        sink.write(make_result())
    sink.close()
