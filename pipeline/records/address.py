"""Where an event store is: a file, or a database by URL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.url import Url

FILE_SUFFIXES = (".db", ".sqlite", ".sqlite3")
URL_SCHEMES = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class StoreAddress:
    """A store's place. `str()` and `repr()` hide credentials.

    Attributes:
        path: the SQLite file, or None.
        url: the PostgreSQL database, or None.
    """

    path: Path | None
    url: Url | None

    def __str__(self) -> str:
        return str(self.path if self.url is None else self.url)

    def beside(self, ending: str) -> Path:
        """A path named after the store: beside the file, or in the working folder for a database."""
        if self.path is not None:
            return self.path.with_name(f"{self.path.stem}{ending}")
        return Path(f"tracklight{ending}")


def parse_store_address(text: str) -> StoreAddress:
    """The store that a text names; a file may have any suffix.

    Raises:
        UsageError: an empty text, or a URL that is not PostgreSQL's.
    """
    text = text.strip()
    if not text:
        raise UsageError("store: wanted a file (events.db) or postgresql://host/database, found an empty text")
    if not Url.looks_like(text):
        return StoreAddress(Path(text).expanduser(), None)
    url = Url(text)
    if url.scheme not in URL_SCHEMES:
        raise UsageError(f"store {url}: wanted a file or postgresql://host/database, found {url.scheme}://")
    return StoreAddress(None, url)
