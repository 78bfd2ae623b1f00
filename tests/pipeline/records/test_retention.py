"""What is older or more than somebody wants to keep goes; nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.records import retention
from pipeline.records.making import run_record, source_record
from pipeline.records.retention import Limits, Pruning, Retention
from pipeline.records.rows import EventFilter
from pipeline.records.schema import Record
from pipeline.records.store import open_store, utc_text


def at_time(record: Record, time: datetime) -> Record:
    row = dict(zip(record.table.columns, record.row, strict=True))
    row["start_utc"] = utc_text(time)
    return Record(record.table, tuple(row.values()))


def old_and_new(makes: Any) -> list[Record]:
    """A camera's events of the last ten days, footage of years ago analysed today, and footage analysed long ago."""
    # Not when the file is imported: on a slow machine that may be a quarter of an hour before.
    now = datetime.now(UTC)
    records = []
    for run_id, days, source_id, is_live in (
        ("1-camera", 10, "cam", True),
        ("2-today", 0, "old film", False),
        ("3-long-ago", 9, "film", False),
    ):
        began = now - timedelta(days=days)
        records += [
            run_record(makes.run(run_id, started_utc=began, alive_utc=began if not is_live else now)),
            source_record(makes.source(run_id, source_id, is_live=is_live)),
        ]
    for day in range(10):
        record = makes.record(float(day), run_id="1-camera", source_id="cam")
        records.append(at_time(record, now - timedelta(days=day, minutes=1)))
    film = makes.record(1.0, run_id="2-today", source_id="old film")
    records.append(at_time(film, now - timedelta(days=4000)))
    records.append(makes.record(1.0, run_id="3-long-ago", source_id="film"))
    return records


def test_age(store_url: str, makes: Any) -> None:
    with open_store(store_url, read_only=False) as store:
        store.put(old_and_new(makes))
        pruning = Pruning(Limits(days=5))
        assert pruning.step(store) == 6
        assert pruning.step(store) == 0
        kept = [(event.source_id, event.start_s) for event in store.events(EventFilter(run="all"))]
        assert kept == [("old film", 1.0), ("cam", 4.0), ("cam", 3.0), ("cam", 2.0), ("cam", 1.0), ("cam", 0.0)]
        # A run of which nothing is left goes with its sources; one that still says it lives stays.
        assert [run.run_id for run in store.runs()] == ["1-camera", "2-today"]
        assert len(store.sources("all")) == 2
        assert Pruning(Limits(days=0.01)).step(store) == 4
        assert [run.run_id for run in store.runs()] == ["1-camera", "2-today"]


def test_a_step_is_bounded(store_url: str, makes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 30)
    with open_store(store_url, read_only=False) as store:
        store.put([*makes.start(), *(makes.record(float(at)) for at in range(100))])
        pruning = Pruning(Limits(days=1))
        assert [pruning.step(store) for _ in range(5)] == [30, 30, 30, 10, 0]


def test_size(store_url: str, makes: Any) -> None:
    with open_store(store_url, read_only=False) as store:
        store.put([*makes.start(), *(makes.record(float(at), values={"text": "x" * 500}) for at in range(3000))])
        full = store.engine.size_bytes()
        assert 1.5e6 < full < 6e6
        pruning = Pruning(Limits(max_mb=full / 2 / 1e6))
        n_deleted = 0
        while n := pruning.step(store):
            n_deleted += n
        assert n_deleted == pytest.approx(1500, abs=30)
        assert store.engine.size_bytes() < 0.6 * full
        # The oldest went.
        assert next(store.events()).start_s == n_deleted
        # Nothing more goes when it is looked at again.
        again = Pruning(Limits(max_mb=0.6 * full / 1e6))
        assert again.step(store) == 0


def test_a_file_gets_smaller(tmp_path: Path, makes: Any) -> None:
    path = tmp_path / "e.db"
    with open_store(str(path), read_only=False) as store:
        store.put([*makes.start(), *(makes.record(float(at), values={"text": "x" * 500}) for at in range(3000))])
    full = path.stat().st_size
    with open_store(str(path), read_only=False) as store:
        pruning = Pruning(Limits(days=1))
        while pruning.step(store):
            pass
    assert path.stat().st_size < 0.2 * full


def test_pictures_go_with_their_events(tmp_path: Path, makes: Any) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "e_snapshots"
    folder.mkdir()
    precious = tmp_path / "precious.jpg"
    for file in (folder / "0.jpg", folder / "1.jpg", precious):
        file.write_bytes(b"x" * 10**6)
    pictures = [
        "e_snapshots/0.jpg",
        "e_snapshots/1.jpg",
        "precious.jpg",
        "e_snapshots/../precious.jpg",
        "rtsp://x/1.jpg",
    ]
    with open_store(str(path), read_only=False) as store:
        store.put([*makes.start(), *(makes.record(float(at), picture=name) for at, name in enumerate(pictures))])
        # Pictures count: 2 MB of them, 1.2 allowed.
        assert Pruning(Limits(max_mb=1.2)).step(store) == 3
        assert sorted(file.name for file in folder.iterdir()) == []
        assert Pruning(Limits(days=1)).step(store) == 2
    assert precious.exists()


def test_a_picture_that_cannot_be_deleted_is_told_and_keeps_nothing_else(
    tmp_path: Path, makes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path, folder = tmp_path / "e.db", tmp_path / "e_snapshots"
    # A folder of that name cannot be deleted as a file, not even by root.
    (folder / "0.jpg").mkdir(parents=True)
    (folder / "1.jpg").write_bytes(b"x")
    (folder / "gone.jpg").symlink_to("nowhere")
    with open_store(str(path), read_only=False) as store:
        pictures = [f"e_snapshots/{name}" for name in ("0.jpg", "1.jpg")]
        store.put([*makes.start(), *(makes.record(float(at), picture=name) for at, name in enumerate(pictures))])
        assert Pruning(Limits(max_mb=0.001)).step(store) == 2
        assert store.count(EventFilter(run="all")) == 0
    assert "0.jpg: the picture of a deleted event stays" in caplog.text
    assert not (folder / "1.jpg").exists()


def test_hourly(tmp_path: Path, makes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(retention.time, "monotonic", lambda: now[0])
    kept = Retention(Limits(days=1))
    with open_store(str(tmp_path / "e.db"), read_only=False) as store:
        store.put([*makes.start(), makes.record(1.0)])
        kept.step(store)
        kept.step(store)
        assert store.count() == 0
        store.put([*makes.start(), makes.record(1.0)])
        kept.step(store)
        assert store.count() == 1
        now[0] += 3601
        kept.step(store)
        assert store.count() == 0
