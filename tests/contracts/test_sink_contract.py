"""What every sink promises, whatever it writes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipeline.config import registry
from pipeline.core.detections import Detections
from pipeline.core.errors import SinkError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import Sink
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks


@dataclass(frozen=True)
class Kind:
    """A sink under test: where it is, its file's suffix, and how its file is read back (records or frames)."""

    module: str
    sink: str
    config: str
    suffix: str
    count: Callable[[Path], int]

    def make(self, path: Path, **settings: Any) -> Sink:
        module = importlib.import_module(self.module)
        place = {"path": path} if self.suffix else {}
        made: Sink = getattr(module, self.sink)(getattr(module, self.config)(**place, **settings), class_names=("a",))
        return made


def count_lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def count_pictures(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def count_rows(path: Path) -> int:
    import pyarrow.parquet

    return int(pyarrow.parquet.read_metadata(path).num_rows)


FILES = [
    Kind("sinks.video_file", "VideoFileSink", "VideoFileConfig", ".mp4", count_pictures),
    Kind("sinks.video_file", "VideoFileSink", "VideoFileConfig", ".mkv", count_pictures),
    Kind("sinks.hls", "HlsSink", "HlsConfig", ".m3u8", count_pictures),
    Kind("sinks.jsonl", "JsonlSink", "JsonlConfig", ".jsonl", count_lines),
    Kind("sinks.csv_file", "CsvSink", "CsvConfig", ".csv", lambda path: count_lines(path) - 1),
    Kind("sinks.parquet_tracks", "ParquetSink", "ParquetConfig", ".parquet", count_rows),
    Kind("sinks.mot_txt", "MotTextSink", "MotTextConfig", ".txt", count_lines),
    Kind("sinks.coco_json", "CocoJsonSink", "CocoJsonConfig", ".json", lambda path: len(json.loads(path.read_text()))),
]
ALL = [
    *FILES,
    Kind("sinks.null", "NullSink", "NullConfig", "", lambda path: 0),
    Kind("sinks.dashboard.sink", "DashboardSink", "DashboardConfig", "", lambda path: 0),
]


def name_of(kind: Kind) -> str:
    return f"{kind.sink}{kind.suffix}"


def info(source_id: str = "cam", is_live: bool = False) -> StreamInfo:
    return StreamInfo(source_id, 64, 48, 25.0, is_live, None)


def result(index: int, source_id: str = "cam") -> FrameResult:
    """A frame with one object."""
    xyxy, score = np.array([[5, 6, 30, 40]], np.float32), np.array([0.5], np.float32)
    zero, one = np.zeros(1, np.int64), np.ones(1, np.int64)
    at = index * 40_000_000
    return FrameResult(
        Frame(source_id, index, np.full((48, 64, 3), 90, np.uint8), index / 25, at, CaptureClock.FILE),
        Detections(xyxy, score, zero),
        Tracks(xyxy, score, zero, one, zero),
        Timeline(at, at, at, at, at, at),
    )


each = pytest.mark.parametrize("kind", ALL, ids=name_of)
each_file = pytest.mark.parametrize("kind", FILES, ids=name_of)


@each
def test_it_is_a_sink(kind: Kind, tmp_path: Path) -> None:
    sink = kind.make(tmp_path / f"out{kind.suffix}")
    assert isinstance(sink, Sink)
    assert all(
        isinstance(getattr(sink, name), bool) for name in ("needs_image", "needs_main_thread", "is_live", "shared")
    )


@each
def test_making_one_touches_nothing(kind: Kind, tmp_path: Path) -> None:
    kind.make(tmp_path / f"out{kind.suffix}")
    assert list(tmp_path.iterdir()) == []


@each_file
@pytest.mark.parametrize("is_live", [False, True])
def test_everything_written_can_be_read_back(kind: Kind, tmp_path: Path, is_live: bool) -> None:
    path = tmp_path / "new folder" / f"out{kind.suffix}"
    sink = kind.make(path)
    sink.open(info(is_live=is_live))
    for index in range(7):
        sink.write(result(index))
    sink.close()
    sink.close()
    assert kind.count(path) == 7


@each
def test_the_result_is_not_changed(kind: Kind, tmp_path: Path) -> None:
    sink = kind.make(tmp_path / f"out{kind.suffix}")
    sink.open(info())
    given = result(0)
    sink.write(given)
    sink.close()
    assert (given.frame.image == 90).all()
    assert given.tracks.xyxy.tolist() == [[5, 6, 30, 40]]


@each_file
def test_no_frames_leave_a_valid_file_or_none(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    sink = kind.make(path)
    sink.open(info())
    sink.close()
    assert not path.exists() or kind.count(path) == 0
    assert len(list(tmp_path.iterdir())) <= 1


@each
def test_close_without_open(kind: Kind, tmp_path: Path) -> None:
    sink = kind.make(tmp_path / f"out{kind.suffix}")
    sink.close()
    sink.close()
    assert list(tmp_path.iterdir()) == []


@each_file
def test_write_without_open_or_after_close(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    sink = kind.make(path)
    with pytest.raises(SinkError):
        sink.write(result(0))
    sink.open(info())
    sink.write(result(0))
    sink.close()
    with pytest.raises(SinkError):
        sink.write(result(1))
    assert kind.count(path) == 1


@each_file
def test_an_existing_file_survives_a_refused_open(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    path.write_text("precious")
    sink = kind.make(path)
    with pytest.raises(SinkError, match="--exist-ok") as caught:
        sink.open(info())
    with pytest.raises(SinkError):
        sink.write(result(0))
    sink.close()
    assert "\n" not in str(caught.value)
    assert path.read_text() == "precious"


@each_file
def test_an_existing_file_is_replaced_where_that_was_asked_for(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    path.write_text("old " * 10_000)
    sink = kind.make(path, exist_ok=True)
    sink.open(info())
    for index in range(3):
        sink.write(result(index))
    sink.close()
    assert kind.count(path) == 3


@each_file
def test_a_folder_in_the_way(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    path.mkdir()
    for exist_ok in (False, True):
        sink = kind.make(path, exist_ok=exist_ok)
        with pytest.raises(SinkError, match="found a folder"):
            sink.open(info())
        sink.close()
    assert path.is_dir()


@pytest.mark.parametrize("kind", [k for k in FILES if k.suffix in {".jsonl", ".csv", ".parquet"}], ids=name_of)
def test_shared_sinks_take_several_sources(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / f"out{kind.suffix}"
    sink = kind.make(path)
    assert sink.shared
    sink.open(info("a"))
    sink.write(result(0, "a"))
    sink.open(info("b"))
    sink.write(result(0, "b"))
    sink.write(result(1, "a"))
    sink.close()
    assert kind.count(path) == 3


def test_every_registered_sink_is_held_to_this_contract() -> None:
    held = {f"{kind.module}:{kind.sink}" for kind in ALL}
    # These need a screen and a server, or add to what is there: their own tests hold them to it.
    elsewhere = {"sinks.display:DisplaySink", "sinks.rtsp:RtspSink", "sinks.event_store:EventStoreSink"}
    elsewhere |= {"sinks.metrics:MetricsSink", "sinks.mqtt:MqttSink"}
    elsewhere |= {"sinks.recorder:RecorderSink", "sinks.rtsp_serve:RtspServeSink"}
    assert {entry.stage for entry in registry.SINKS.values()} == held | elsewhere


COMPENSATED = {"jsonl": "data", "mqtt": "data"} | dict.fromkeys(("display", "rtsp", "rtsp_serve", "hls"), "pictures")


@pytest.mark.parametrize("name", registry.SINKS)
def test_what_is_a_record_keeps_the_boxes_of_each_frame(name: str) -> None:
    """Only these may get boxes off their frame, where the run makes up for latency; of all others it is a record."""
    sink_class = registry.SINKS[name].stage_class()
    assert getattr(sink_class, "compensated", None) == COMPENSATED.get(name)
    assert hasattr(sink_class, "see") == (name == "web")
    assert name not in COMPENSATED or sink_class.is_live == (COMPENSATED[name] == "pictures")


@each_file
def test_a_result_that_was_moved_is_written_where_it_is_now(kind: Kind, tmp_path: Path) -> None:
    """As little as for any other result may a sink change it, and what it writes can be read back."""
    path = tmp_path / f"out{kind.suffix}"
    sink = kind.make(path)
    sink.open(info(is_live=True))
    motion = TrackMotion(np.full((1, 4), 50, np.float32), np.ones(1, np.float32), np.zeros(1, np.float32))
    moved = replace(result(0), motion=motion).moved_to(100_000_000)
    sink.write(moved)
    sink.close()
    assert moved.tracks.xyxy.tolist() == [[10, 11, 35, 45]]
    assert kind.count(path) == 1


def test_every_registered_sink_exists() -> None:
    for entry in registry.SINKS.values():
        sink_class = entry.stage_class()
        assert entry.config_class().__dataclass_fields__ is not None
        for name in ("needs_image", "needs_main_thread", "is_live", "shared"):
            assert isinstance(getattr(sink_class, name), bool)
