"""Tracks as Parquet: what is in the table, and what is left of a run that was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import MissingExtraError, SinkError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.records.parquet import ROW_GROUP, even_batches, unfinished_batches
from sinks.parquet_tracks import ParquetConfig, ParquetSink

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra store)")
NAMES = ("person", "car")


def result(
    index: int, n: int = 2, source_id: str = "cam", *, tracked: bool = True, pts_s: float | None = 0.5
) -> FrameResult:
    """Object k of a frame has id k + 1, class k % 3 and its left side at k; every second one is predicted."""
    rows = np.arange(n)
    xyxy = np.stack([rows, rows + 1, rows + 20.25, rows + 30.5], axis=1).astype(np.float32)
    score = np.full(n, 0.75, np.float32)
    predicted = np.where(rows % 2, -1, rows)
    return FrameResult(
        Frame(source_id, index, np.zeros((8, 8, 3), np.uint8), pts_s, index * 1000, CaptureClock.FILE),
        Detections(xyxy, score, rows % 3),
        Tracks(xyxy, score, rows % 3, rows + 1, predicted),
        Timeline(0, 0, 0, 0, 0, 0),
        tracked=tracked,
    )


def make(path: Path, *results: FrameResult) -> ParquetSink:
    sink = ParquetSink(ParquetConfig(path=path), class_names=NAMES)
    sink.open(StreamInfo("cam", 8, 8, 25.0, False, None))
    for one in results:
        sink.write(one)
    return sink


def test_rows_and_types(tmp_path: Path) -> None:
    path = tmp_path / "tracks.parquet"
    make(path, result(3, 3), result(4, 0), result(5, 1, "yard", pts_s=None)).close()
    table = parquet.read_table(path)
    assert table.to_pylist()[1] == {
        "source": "cam",
        "frame": 3,
        "pts_s": 0.5,
        "captured_ns": 3000,
        "track_id": 2,
        "class_id": 1,
        "class": "car",
        "confidence": 0.75,
        "x1": 1.0,
        "y1": 2.0,
        "x2": 21.25,
        "y2": 31.5,
        "predicted": True,
    }
    assert table["class"].to_pylist() == ["person", "car", "2", "person"]
    assert table["pts_s"].to_pylist() == [0.5, 0.5, 0.5, None]
    assert [str(field.type) for field in table.schema] == [
        *("string", "int64", "double", "int64", "int64", "int64", "string", "float"),
        *("float", "float", "float", "float", "bool"),
    ]
    about = table.schema.metadata
    assert json.loads(about[b"class_names"]) == list(NAMES)
    assert about[b"tracklight"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["tracks.parquet"]


def test_without_a_tracker_there_are_no_ids(tmp_path: Path) -> None:
    path = tmp_path / "tracks.parquet"
    make(path, result(0, 2, tracked=False)).close()
    table = parquet.read_table(path)
    assert table["track_id"].to_pylist() == [None, None]
    assert table["predicted"].to_pylist() == [False, False]


def test_row_groups_are_even_however_the_rows_came(tmp_path: Path) -> None:
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    make(one, *(result(index, 7000) for index in range(20))).close()
    sink = make(many)
    for index in range(20):
        sink.write(result(index, 7000))
        sink._flush()
    sink.close()
    groups = parquet.read_metadata(one)
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [ROW_GROUP, ROW_GROUP, 8928]
    assert one.read_bytes() == many.read_bytes()


def test_batches_of_one_size() -> None:
    import pyarrow as pa

    schema = pa.schema([("n", pa.int64())])
    parts = [
        pa.RecordBatch.from_pydict({"n": list(range(a, b))}, schema=schema)
        for a, b in ((0, 3), (3, 3), (3, 14), (14, 15))
    ]
    assert [batch["n"].to_pylist() for batch in even_batches(parts, 4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 10, 11],
        [12, 13, 14],
    ]


def test_a_stream_cut_off_anywhere_gives_its_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "tracks.parquet"
    sink = make(path)
    stream = tmp_path / "tracks.parquet.arrows"
    sizes = []
    for index in range(4):
        sink.write(result(index, 5))
        sink._flush()
        sizes.append(stream.stat().st_size)
    whole = stream.read_bytes()
    assert len(whole) == sizes[-1]
    cut = tmp_path / "cut.arrows"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        n_whole = sum(size <= length for size in sizes)
        frames = [frame for batch in unfinished_batches(cut) for frame in batch["frame"].to_pylist()]
        assert frames == [index for index in range(n_whole) for _ in range(5)], length
    sink.close()
    assert parquet.read_table(path).num_rows == 20


CHILD = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("rows", sys.argv[1])
rows = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rows)
sink = rows.make(Path(sys.argv[2]))
for index in range(10**9):
    sink.write(rows.result(index, 3))
    if index % 50 == 0:
        print(index, time.monotonic(), flush=True)
    time.sleep(0.002)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_what_a_killed_run_leaves(tmp_path: Path) -> None:
    """Nothing older than a second is lost, and the next run does not overwrite it."""
    path, stream = tmp_path / "tracks.parquet", tmp_path / "tracks.parquet.arrows"
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen([sys.executable, "-c", CHILD, __file__, path], stdout=subprocess.PIPE, text=True, cwd=root)
    told: list[tuple[int, float]] = []
    assert child.stdout is not None
    for line in child.stdout:
        index, at = line.split()
        told.append((int(index), float(at)))
        if told[-1][1] - told[0][1] > 2.5:
            break
    killed_at = time.monotonic()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    frames = [frame for batch in unfinished_batches(stream) for frame in batch["frame"].to_pylist()]
    assert frames == sorted(frames)
    assert len(frames) == 3 * (frames[-1] + 1)
    # A second until it is written, and what a busy machine needs for it.
    assert frames[-1] >= max(index for index, at in told if at < killed_at - 1.5)
    assert not path.exists()
    with pytest.raises(SinkError, match="arrows"):
        make(path)
    assert stream.stat().st_size > 0


def test_a_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def refuse(*args: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    path = tmp_path / "tracks.parquet"
    sink = make(path, result(0))
    sink._flush()
    monkeypatch.setattr("sinks.parquet_tracks.write_parquet", refuse)
    with pytest.raises(SinkError, match="the disk is full") as caught:
        sink.close()
    assert "tracks.parquet.arrows" in str(caught.value)
    sink.close()
    assert not path.exists()
    assert sum(batch.num_rows for batch in unfinished_batches(tmp_path / "tracks.parquet.arrows")) == 2


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[store\]"):
        ParquetSink(ParquetConfig(path=tmp_path / "tracks.parquet"), class_names=NAMES)
