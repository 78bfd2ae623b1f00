"""Events as Parquet."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from pipeline.core.errors import MissingExtraError
from pipeline.core.event import EventKind
from pipeline.records.parquet import write_events_parquet
from pipeline.records.store import open_store

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (extra store)")


def test_events_come_back_as_they_were(makes: Any, tmp_path: Path, store_url: str) -> None:
    of_zone = {"kind": EventKind.CROWDING, "track_ids": (), "class_id": -1, "class_name": "", "box": None}
    records = [
        makes.record(1.5, 4.0, is_timed=True, picture="a.jpg", footage="v.mp4#t=1"),
        makes.record(2.0, None, **of_zone, values={}),
    ]
    with open_store(store_url, read_only=False) as store:
        store.put([*makes.start(), *records])
    path = tmp_path / "new" / "events.parquet"
    with open_store(store_url) as store:
        events = list(store.events())
        write_events_parquet(iter(events), path)
    rows = {row["start_s"]: row for row in parquet.read_table(path).to_pylist()}
    for event in events:
        row, plain = rows[event.start_s], event.to_json()
        corners = None if row["x1"] is None else [row[name] for name in ("x1", "y1", "x2", "y2")]
        assert corners == plain["box"]
        assert json.loads(row["values"]) == plain["values"]
        assert (row["start_utc"], row["end_utc"]) == (event.start_utc, event.end_utc)
        for name in set(plain) - {"box", "values", "phase", "start_utc", "end_utc"}:
            assert row[name] == plain[name], name
    assert [entry.name for entry in path.parent.iterdir()] == ["events.parquet"]


def test_no_events_give_an_empty_table(tmp_path: Path) -> None:
    write_events_parquet([], tmp_path / "events.parquet")
    table = parquet.read_table(tmp_path / "events.parquet")
    assert (table.num_rows, table.column_names[:2]) == (0, ["run", "event_id"])


def test_a_failure_leaves_nothing(makes: Any, tmp_path: Path) -> None:
    def fail() -> Any:
        yield from ()
        raise OSError("gone")

    (tmp_path / "events.parquet").write_text("precious")
    with pytest.raises(OSError, match="gone"):
        write_events_parquet(fail(), tmp_path / "events.parquet")
    assert (tmp_path / "events.parquet").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_by_the_verb(makes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("events.db", read_only=False) as store:
        store.put([*makes.start(), *(makes.record(float(n), float(n)) for n in range(25))])
    assert main(["events", "export", "out.parquet"]) == 0
    assert capsys.readouterr().out == "wrote 25 events to out.parquet\n"
    assert parquet.read_table("out.parquet").num_rows == 25


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[store\]"):
        write_events_parquet([], tmp_path / "events.parquet")
