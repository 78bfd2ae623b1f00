"""Tables for pandas, from real stores and files."""

from __future__ import annotations

import runpy
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.api_records import counts_frame, events_frame, tracks_frame
from pipeline.core.detections import Detections
from pipeline.core.errors import MissingExtraError, UsageError
from pipeline.core.event import EventKind
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.records.rows import EventFilter
from pipeline.records.store import open_store
from sinks.jsonl import JsonlConfig, JsonlSink
from sinks.parquet_tracks import ParquetConfig, ParquetSink

pandas = pytest.importorskip("pandas", reason="pandas is not installed (extra store)")
pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra store)")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def results(n: int = 6, *, tracked: bool = True) -> list[FrameResult]:
    """Frame k has k objects."""
    made = []
    for index in range(n):
        rows = np.arange(index)
        xyxy = np.stack([rows, rows, rows + 10.5, rows + 20], axis=1).astype(np.float32)
        score = np.full(index, 0.5, np.float32)
        made.append(
            FrameResult(
                Frame("gate", index, np.zeros((8, 8, 3), np.uint8), index / 25, index, CaptureClock.FILE),
                Detections(xyxy, score, rows % 2),
                Tracks(xyxy, score, rows % 2, rows + 1, np.where(rows == 1, -1, rows)),
                Timeline(0, 0, 0, 0, 0, 0),
                tracked=tracked,
            )
        )
    return made


@pytest.mark.parametrize("tracked", [True, False])
def test_tracks_are_the_same_from_everywhere(tmp_path: Path, tracked: bool) -> None:
    names = ("person", "car")
    sinks = [
        JsonlSink(JsonlConfig(path=tmp_path / "t.jsonl"), class_names=names),
        ParquetSink(ParquetConfig(path=tmp_path / "t.parquet"), class_names=names),
        ParquetSink(ParquetConfig(path=tmp_path / "killed.parquet"), class_names=names),
    ]
    for sink in sinks:
        sink.open(StreamInfo("gate", 8, 8, 25.0, False, None))
        for one in results(tracked=tracked):
            sink.write(one)
    sinks[2]._flush()  # type: ignore[union-attr]
    killed = tracks_frame(tmp_path / "killed.parquet.arrows")
    for sink in sinks:
        sink.close()
    direct = tracks_frame(results(tracked=tracked), class_names=names)
    assert len(direct) == 15
    for frame in (killed, tracks_frame(tmp_path / "t.jsonl"), tracks_frame(str(tmp_path / "t.parquet"))):
        pandas.testing.assert_frame_equal(frame, direct)
    assert str(direct["track_id"].dtype) == "Int64"
    assert direct["track_id"].isna().all() == (not tracked)
    assert direct["predicted"].sum() == (4 if tracked else 0)


def test_no_tracks_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"source":"a","end_s":1.0,"events":[],"summary":{}}\n')
    frame = tracks_frame(tmp_path / "t.jsonl")
    assert len(frame) == 0
    assert (frame.dtypes == tracks_frame(results()).dtypes).all()


@pytest.mark.parametrize("line", ["{", "[]", '{"objects":[{}]}', '{"objects":[{"xyxy":[1]}]}', '"text"'])
def test_files_that_are_something_else(tmp_path: Path, line: str) -> None:
    (tmp_path / "t.jsonl").write_text(f"{line}\n")
    with pytest.raises(UsageError, match="line 1"):
        tracks_frame(tmp_path / "t.jsonl")
    with pytest.raises(UsageError, match=r"wanted \.jsonl"):
        tracks_frame(tmp_path / "t.txt")
    with pytest.raises(FileNotFoundError):
        tracks_frame(tmp_path / "absent.jsonl")


@pytest.fixture
def filled(makes: Any, store_url: str) -> str:
    """A camera with wall times, and footage without."""
    camera = {"run_id": "r1", "source_id": "gate", "is_timed": True}
    clip = {"run_id": "r2", "source_id": "clip"}
    records = [
        *makes.start("r1", is_live=True, first_utc=makes.began, address="rtsp://gate"),
        *makes.start("r2", source_id="clip"),
        *(
            makes.record(minutes * 60.0, minutes * 60.0, kind=EventKind.CROSSING, rule="door", **camera, values=values)
            for minutes, values in ((5, {"direction": "in"}), (50, {"direction": "in"}), (70, {"direction": "out"}))
        ),
        makes.record(20.0, 25.0, **camera),
        makes.record(4000.0, None, **clip),
        makes.record(9.0, 10.0, kind=EventKind.LOITERING, **clip),
    ]
    with open_store(store_url, read_only=False) as store:
        store.put(records)
    return store_url


def test_events(filled: str, makes: Any) -> None:
    frame = events_frame(filled)
    assert len(frame) == 6
    assert str(frame["start_utc"].dtype).endswith("UTC]")
    visit = frame[(frame["source"] == "gate") & (frame["kind"] == "visit")].iloc[0]
    assert visit["start_utc"] == makes.began + timedelta(seconds=20)
    assert visit["lasted"] == pandas.Timedelta(5, "s")
    assert visit["values"]["dwell_s"] == 2.5
    assert list(visit["track_ids"]) == [7, 9]
    open_one = frame[frame["end_s"].isna()].iloc[0]
    assert (open_one["source"], open_one["start_utc"] is pandas.NaT) == ("clip", True)
    assert open_one["lasted"] is pandas.NaT
    assert len(events_frame(filled, EventFilter(kinds=("crossing",)))) == 3
    with open_store(filled) as store:
        pandas.testing.assert_frame_equal(
            events_frame(store).drop(columns=["values", "track_ids"]), frame.drop(columns=["values", "track_ids"])
        )


def test_no_events_have_the_same_columns(filled: str) -> None:
    empty = events_frame(filled, EventFilter(rules=("no such rule",)))
    assert len(empty) == 0
    assert list(empty.columns) == list(events_frame(filled).columns)
    assert str(empty["lasted"].dtype).startswith("timedelta64")
    none = counts_frame(filled, wanted=EventFilter(rules=("no such rule",)))
    assert (none.dtypes == counts_frame(filled).dtypes).all()


def test_counts(filled: str, makes: Any) -> None:
    frame = counts_frame(filled, "hour")
    by_hour = {
        (row.source, row.start_utc, row.start, row.kind, row.rule, row.direction, row["class"]): row.n
        for _, row in frame.iterrows()
    }
    eight, nine = (pandas.Timestamp(makes.began + timedelta(hours=n)) for n in (0, 1))
    assert {key: n for key, n in by_hour.items() if key[0] == "gate"} == {
        ("gate", eight, pandas.NaT, "crossing", "door", "in", "person"): 2,
        ("gate", nine, pandas.NaT, "crossing", "door", "out", "person"): 1,
        ("gate", eight, pandas.NaT, "visit", "zone", "", "person"): 1,
    }
    (clip,) = [row for _, row in frame.iterrows() if row.source == "clip"]
    assert (clip.start_utc is pandas.NaT, clip.start, clip.n) == (True, pandas.Timedelta(1, "h"), 1)


def test_counts_add_up_to_the_events(filled: str) -> None:
    events = events_frame(filled)
    expected = Counter(events[events["kind"].isin(["object", "crossing", "visit"])]["kind"])
    for by in ("15min", "hour", "day"):
        assert counts_frame(filled, by).groupby("kind")["n"].sum().to_dict() == expected


def test_days_begin_at_the_zones_midnight(filled: str) -> None:
    starts = counts_frame(filled, "day", timezone="Asia/Tokyo")["start_utc"].dropna().unique()
    assert [str(start) for start in starts] == ["2026-04-30 15:00:00+00:00"]
    with pytest.raises(UsageError, match="by"):
        counts_frame(filled, "week")


def test_without_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled: str) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (lambda: tracks_frame(results()), lambda: events_frame(filled), lambda: counts_frame(filled)):
        with pytest.raises(MissingExtraError, match=r"tracklight\[store\]"):
            call()


def test_the_example(filled: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["count_by_hour.py", filled])
    runpy.run_path(str(EXAMPLES / "count_by_hour.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["gate", "2026-05-01", "08:00:00+00:00", "door", "2", "0"] for line in lines), lines
