"""A store in one file: SQLite with a write-ahead log, so that readers and a writer do not wait for each other."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from pipeline.core.errors import RefusedRecordError, StoreError, UsageError
from pipeline.records.engine import Row
from pipeline.records.schema import Cell

BUSY_TIMEOUT_S = 2.0
_PAGES_GIVEN_BACK = 2000
_TYPES = {"text": "TEXT", "real": "REAL", "long": "INTEGER", "blob": "BLOB"}


class SqliteEngine:
    """A connection to a file. Methods as in `Engine`.

    Args:
        path: the file; without `read_only` it and its folders are created.
        read_only: never change the file.

    Raises:
        UsageError: no such file to read, a folder, or a file that is no SQLite database.
        StoreError: the system refuses.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.types: Mapping[str, str] = _TYPES
        self._path = path
        if path.is_dir():
            raise UsageError(f"{path}: wanted an event store, found a folder; name a file in it, such as events.db")
        if read_only and not path.exists():
            raise UsageError(f"{path}: no such event store; `tracklight run -o {path.name}` makes one")
        try:
            self._connection = self._connect(read_only)
            self._identity = self._look()
        except sqlite3.DatabaseError as error:
            raise self._told(error) from error
        except OSError as error:
            raise StoreError(f"{path}: cannot be opened as event store: {error.strerror or error}") from error

    def _connect(self, read_only: bool) -> sqlite3.Connection:
        if not read_only:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        mode = self._reading_mode() if read_only else "rwc"
        connection = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            self._set_up(connection, read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reading_mode(self) -> str:
        if os.access(self._path, os.W_OK) and os.access(self._path.parent, os.W_OK):
            # A reader that may not write would leave the files of the log behind.
            return "rw"
        # On a medium that cannot be written SQLite has no place for the log's index, and nobody writes either.
        return "ro" if Path(f"{self._path}-wal").exists() else "ro&immutable=1"

    @staticmethod
    def _set_up(connection: sqlite3.Connection, read_only: bool) -> None:
        # With the log a killed process loses nothing this way; a power failure may take the last commits, no more.
        connection.execute("PRAGMA synchronous = NORMAL")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        # Only a file that is still empty is set up: another program's database stays as it is.
        (n_tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if n_tables or read_only:
            return
        # Two that open a new file at once: changing to the log does not wait for the other one by itself.
        give_up = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(0.01)

    def run(self, sql: str, arguments: Sequence[Cell] = ()) -> int:
        """As in Engine."""
        with self._failures():
            return self._connection.execute(sql, arguments).rowcount

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """As in Engine."""
        with self._failures():
            self._connection.executemany(sql, rows)

    def rows(self, sql: str, arguments: Sequence[Cell] = ()) -> Iterator[Row]:
        """As in Engine."""
        with self._failures():
            # Not `yield from`: that would close the cursor of a reader who outlives the connection, which fails.
            for row in self._connection.execute(sql, arguments):  # noqa: UP028
                yield row

    @contextlib.contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[None]:
        """As in Engine; in a file every transaction that writes is alone."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            # A full disk makes SQLite roll back by itself.
            if self._connection.in_transaction:
                with contextlib.suppress(StoreError):
                    self.run("ROLLBACK")
            raise

    def tables(self) -> set[str]:
        """As in Engine."""
        return {str(name) for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'")}

    def size_bytes(self) -> int:
        """As in Engine: pages in use, since those of deleted rows are used again."""
        pages, free, size = (
            int(row[0] or 0)
            for name in ("page_count", "freelist_count", "page_size")
            for row in self.rows(f"PRAGMA {name}")
        )
        return (pages - free) * size

    def keep_copy(self, ending: str) -> str:
        """As in Engine."""
        copy = self._path.with_name(f"{self._path.name}{ending}")
        with self._failures(), contextlib.closing(sqlite3.connect(copy)) as target:
            self._connection.backup(target)
        return str(copy)

    def give_back_space(self) -> None:
        """As in Engine."""
        # A script runs a statement to its end; a cursor stops at the first page.
        with self._failures():
            self._connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_GIVEN_BACK})")

    def is_gone(self) -> bool:
        """As in Engine: a file without a name takes writes without a complaint."""
        try:
            return self._look() != self._identity
        except OSError:
            return True

    def interrupt(self) -> None:
        """As in Engine."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            self._connection.interrupt()

    def close(self) -> None:
        """As in Engine."""
        self._connection.close()

    def _look(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_dev, status.st_ino

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.DataError, UnicodeEncodeError, OverflowError) as error:
            raise RefusedRecordError(f"{self._path}: the event store fails to take a record: {error}") from error
        except sqlite3.Error as error:
            raise self._told(error) from error

    def _told(self, error: sqlite3.Error) -> UsageError | StoreError:
        text = str(error)
        if "not a database" in text or "malformed" in text:
            return UsageError(f"{self._path}: wanted an event store, found a file that is no whole SQLite database")
        return StoreError(f"{self._path}: the event store fails: {text}")
