"""Fetching one file over HTTP(S), once: to a temporary file, verified, then renamed into place."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from pipeline.core.errors import CheckpointError

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0


def download(url: str, target: Path, sha256: str | None = None, *, show_progress: bool = True) -> str:
    """Fetch `url` into `target`. A failure leaves nothing behind; a file that is there is replaced.

    Args:
        url: http:// or https:// address.
        target: the file to make; its folder is made too.
        sha256: hexadecimal digest that the file must have; None takes any.
        show_progress: a bar on stderr, if that is a terminal.

    Returns:
        The SHA-256 of the file, hexadecimal.

    Raises:
        CheckpointError: no connection, the server refuses, the file ends early or has another digest.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    by_hand = f"fetch {url} on another machine and put it at {target}"
    try:
        with (
            urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply,
            NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as part,
        ):
            try:
                digest = _copy(reply, part, target.name, show_progress)
                _check(digest, sha256, url)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).replace(target)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except urllib.error.HTTPError as error:
        error.close()
        raise CheckpointError(f"{url}: the server says {error.code} {error.reason}; {by_hand}") from error
    except http.client.IncompleteRead as error:
        raise CheckpointError(f"{url}: the transfer ended early; try again, or {by_hand}") from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error
        raise CheckpointError(f"{url}: cannot be reached ({reason}); {by_hand}") from error
    return digest


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(reply: http.client.HTTPResponse, part: IO[bytes], name: str, show_progress: bool) -> str:
    announced = reply.headers.get("Content-Length")
    total = int(announced) if announced and announced.isdigit() else None
    digest = hashlib.sha256()
    received = 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not (show_progress and console.is_terminal)) as progress:
        task = progress.add_task(name, total=total)
        while chunk := reply.read(_CHUNK_BYTES):
            part.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            progress.update(task, completed=received)
    if total is not None and received != total:
        raise http.client.IncompleteRead(b"", total - received)
    return digest.hexdigest()


def _check(found: str, wanted: str | None, url: str) -> None:
    if wanted is not None and found != wanted.lower():
        raise CheckpointError(
            f"{url}: wanted SHA-256 {wanted.lower()}, found {found}; nothing was kept: "
            "the file was changed or damaged on the way"
        )
