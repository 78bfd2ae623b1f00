"""A store in a PostgreSQL database, in a schema of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import MissingExtraError, RefusedRecordError, StoreError
from pipeline.core.url import Url, redact
from pipeline.records.engine import Row
from pipeline.records.schema import Cell

if TYPE_CHECKING:
    import psycopg

SCHEMA = "tracklight"
CONNECT_TIMEOUT_S = 3
_LOCK = 0x7472_6B6C
"""Key of the advisory lock under which tables are made and changed."""
_SETTINGS = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "tracklight",
    # A network that swallows packets must not hold the writer for the system's quarter of an hour.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}

# Collation C: texts sort the same in every database, and as in SQLite.
_TYPES = {"text": 'TEXT COLLATE "C"', "real": "DOUBLE PRECISION", "long": "BIGINT", "blob": "BYTEA"}


class PostgresEngine:
    """A connection to a database. Methods as in `Engine`.

    Args:
        url: postgresql://user:password@host:port/database.
        read_only: never change the database.

    Raises:
        MissingExtraError: psycopg is not installed.
        StoreError: no connection.
    """

    def __init__(self, url: Url, *, read_only: bool) -> None:
        self.types: Mapping[str, str] = _TYPES
        self._url = url
        self._cursors = count()
        self._psycopg = _psycopg()
        self._connection: psycopg.Connection[Any]
        with self._failures():
            self._connection = self._psycopg.connect(url.reveal(), autocommit=True, **_SETTINGS)
        try:
            if read_only:
                self.run("SET default_transaction_read_only TO on")
            elif not list(self.rows("SELECT 1 FROM pg_namespace WHERE nspname = ?", (SCHEMA,))):
                with self.transaction(alone=True):
                    self.run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            self.run(f"SET search_path TO {SCHEMA}")
            self.run("SET TIME ZONE 'UTC'")
        except BaseException:
            self._connection.close()
            raise

    def run(self, sql: str, arguments: Sequence[Cell] = ()) -> int:
        """As in Engine."""
        with self._failures():
            return int(self._connection.execute(_marked(sql), arguments or None).rowcount)

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """As in Engine."""
        with self._failures(), self._connection.cursor() as cursor:
            cursor.executemany(_marked(sql), rows)

    def rows(self, sql: str, arguments: Sequence[Cell] = ()) -> Iterator[Row]:
        """As in Engine."""
        # Held by the server and each of its own name, so that one query may be read while another one is.
        name = f"rows{next(self._cursors)}"
        with self._failures(), self._connection.cursor(name, withhold=True) as cursor:
            cursor.itersize = 2000
            yield from cursor.execute(_marked(sql), arguments or None)

    @contextlib.contextmanager
    def transaction(self, *, alone: bool = False) -> Iterator[None]:
        """As in Engine."""
        with self._failures(), self._connection.transaction():
            if alone:
                self.run(f"SELECT pg_advisory_xact_lock({_LOCK})")
            yield

    def tables(self) -> set[str]:
        """As in Engine."""
        return {str(n) for (n,) in self.rows("SELECT tablename FROM pg_tables WHERE schemaname = ?", (SCHEMA,))}

    def size_bytes(self) -> int:
        """As in Engine: the rows there are, since the space of deleted ones comes back when the server likes."""
        tables = ("events", "heatmaps", "summaries", "sources", "runs")
        sums = (row for name in tables for row in self.rows(f"SELECT sum(pg_column_size(t)) FROM {name} t"))
        return sum(int(row[0] or 0) for row in sums)

    def keep_copy(self, ending: str) -> str:
        """As in Engine: pg_dump is the way to copy a database."""
        return ""

    def give_back_space(self) -> None:
        """As in Engine: the server's own autovacuum does it."""

    def is_gone(self) -> bool:
        """As in Engine: a removed database closes its connections."""
        return False

    def interrupt(self) -> None:
        """As in Engine."""
        # Closing would free what the other thread uses; without its socket that thread finds the connection broken.
        with (
            contextlib.suppress(OSError, self._psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """As in Engine."""
        self._connection.close()

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        psycopg = self._psycopg
        of_the_record = (
            *(psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded),
            # A trigger of the database's owner; half a character; a number that is too long to be sent.
            *(psycopg.errors.RaiseException, UnicodeEncodeError, OverflowError),
        )
        try:
            yield
        except of_the_record as error:
            text = f"{self._url}: the database fails to take a record: {_first_line(error)}"
            raise RefusedRecordError(text) from error
        except psycopg.Error as error:
            raise StoreError(f"{self._url}: the database fails: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return redact(lines[0] if lines else type(error).__name__)


def _marked(sql: str) -> Any:
    return sql.replace("%", "%%").replace("?", "%s")


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtraError("psycopg", "postgres", "an event store in PostgreSQL") from error
    log = logging.getLogger("psycopg")
    if log.level in (logging.NOTSET, logging.WARNING):  # WARNING is what it sets itself
        # It warns of errors that it raises as well.
        log.setLevel(logging.ERROR)
    return psycopg
