"""What a store needs of a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.records.schema import Cell

Row = tuple[Cell, ...]


class Engine(Protocol):
    """One connection. SQL has `?` for every argument. Every method raises StoreError where the database fails."""

    types: Mapping[str, str]
    """Names of column types: text, real, long, blob."""

    def run(self, sql: str, arguments: Sequence[Cell] = ()) -> int:
        """Run one statement; how many rows it changed."""

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """Run one statement for every row."""

    def rows(self, sql: str, arguments: Sequence[Cell] = ()) -> Iterator[Row]:
        """The rows of a query, in memory that does not grow with them."""

    def transaction(self, *, alone: bool = False) -> AbstractContextManager[None]:
        """All or nothing. `alone`: no other such transaction goes on at the same time."""

    def tables(self) -> set[str]:
        """Names of all tables there are."""

    def size_bytes(self) -> int:
        """What the store's tables take."""

    def keep_copy(self, ending: str) -> str:
        """Copy the store to a file beside it; its name, or an empty text where databases are copied otherwise."""

    def give_back_space(self) -> None:
        """Return a bounded part of the space of deleted rows to the file system."""

    def is_gone(self) -> bool:
        """The store was removed under the connection, which would go on writing into nothing."""

    def interrupt(self) -> None:
        """Make what another thread waits for in this connection fail soon."""

    def close(self) -> None:
        """Close the connection. Idempotent."""
