"""Stores of older and newer versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import StoreError, UsageError
from pipeline.records import migration
from pipeline.records import store as store_module
from pipeline.records.engine import Engine
from pipeline.records.migration import migrate, stored_version
from pipeline.records.schema import STEPS, Step
from pipeline.records.store import open_store

ADDS: Step = ("ALTER TABLE events ADD COLUMN note {text}", "UPDATE events SET note = 'old'")
FAILS: Step = ("ALTER TABLE events ADD COLUMN more {text}", "UPDATE nowhere SET note = 'old'")


@pytest.fixture
def engine(store_url: str, makes: Any) -> Iterator[Engine]:
    """A store of version 1 with one event."""
    with open_store(store_url, read_only=False) as store:
        store.put([*makes.start(), makes.record(1.0)])
        yield store.engine


def test_the_first_release_has_one_step() -> None:
    assert len(STEPS) == 1


def test_an_older_store_is_brought_up_to_date_with_its_rows(engine: Engine, store_url: str, tmp_path: Path) -> None:
    migrate(engine, "store", (*STEPS, ADDS))
    assert stored_version(engine, "store") == 2
    assert list(engine.rows("SELECT start_s, note FROM events")) == [(1.0, "old")]
    migrate(engine, "store", (*STEPS, ADDS))
    copy = tmp_path / "events.db.v1.bak"
    assert copy.exists() == ("://" not in store_url)
    if copy.exists():
        with open_store(str(copy)) as before:
            assert before.count() == 1


def test_a_step_that_fails_changes_nothing(engine: Engine) -> None:
    with pytest.raises(StoreError):
        migrate(engine, "store", (*STEPS, ADDS, FAILS))
    assert stored_version(engine, "store") == 1
    with pytest.raises(StoreError, match="note"):
        list(engine.rows("SELECT note FROM events"))
    migrate(engine, "store", (*STEPS, ADDS))
    assert stored_version(engine, "store") == 2


@pytest.mark.parametrize("read_only", [True, False])
def test_a_newer_store_is_refused(engine: Engine, store_url: str, read_only: bool) -> None:
    engine.run("INSERT INTO schema_version (version) VALUES (7)")
    with pytest.raises(UsageError, match="found version 7; it was made by a newer Tracklight") as caught:
        open_store(store_url, read_only=read_only)
    assert "canary-password" not in str(caught.value)


def test_a_reader_brings_an_older_store_up_to_date(tmp_path: Path, makes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.db"
    with open_store(str(path), read_only=False) as store:
        store.put([*makes.start(), makes.record(1.0)])
    steps = (*STEPS, ADDS)
    for module in (store_module, migration):
        monkeypatch.setattr(module, "STEPS", steps)
    for function in (migration.migrate, migration.refuse_newer):
        defaults = function.__defaults__
        assert defaults == (STEPS,)
        monkeypatch.setattr(function, "__defaults__", (steps,))
    with open_store(str(path)) as store:
        assert store.count() == 1
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT note FROM events").fetchall() == [("old",)]
    connection.close()
