"""Bringing a store to the version of this program."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.errors import UsageError
from pipeline.records.engine import Engine
from pipeline.records.schema import STEPS, Step


def stored_version(engine: Engine, name: str) -> int:
    """The version of a store's tables; 0 where there are none yet.

    Raises:
        UsageError: the database holds something else.
    """
    tables = engine.tables()
    if "schema_version" not in tables:
        if tables:
            raise UsageError(f"{name}: wanted an event store, found a database of something else ({sorted(tables)[0]})")
        return 0
    (row,) = engine.rows("SELECT max(version) FROM schema_version")
    return int(row[0] or 0)


def migrate(engine: Engine, name: str, steps: Sequence[Step] = STEPS) -> None:
    """Make the tables, or bring them to the newest version in one transaction; a file is copied before.

    Raises:
        UsageError: the store is of a newer version than this program.
        StoreError: the database fails; the store is as it was.
    """
    version = stored_version(engine, name)
    if version == len(steps):
        return
    refuse_newer(version, name, steps)
    if version:
        engine.keep_copy(f".v{version}.bak")
    with engine.transaction(alone=True):
        # Another process may have done it while this one waited for its turn.
        version = stored_version(engine, name)
        if version == 0:
            engine.run("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        for number, step in enumerate(steps[version:], version + 1):
            for statement in step:
                engine.run(statement.format(**engine.types))
            engine.run("INSERT INTO schema_version (version) VALUES (?)", (number,))


def refuse_newer(version: int, name: str, steps: Sequence[Step] = STEPS) -> None:
    """Raise UsageError for a store that a newer program made."""
    if version > len(steps):
        raise UsageError(
            f"{name}: wanted an event store of version {len(steps)} or older, found version {version}; "
            "it was made by a newer Tracklight: update this one"
        )
