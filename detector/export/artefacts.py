"""Converted networks are kept, so that only the first run with a runtime pays for the conversion."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from detector.zoo import cache_dir

FOLDER = "converted"


def kept(key: Mapping[str, object], file_name: str, build: Callable[[Path], None]) -> Path:
    """The file of that name made for that key, built if it is not there yet.

    Args:
        key: everything that the result depends on: digest of the weights, versions, precision, shapes, device.
        file_name: name of the main file; files that `build` puts beside it are kept too.
        build: makes the file at the path given. A build that fails or is killed leaves nothing.
    """
    text = json.dumps({name: str(value) for name, value in key.items()}, sort_keys=True)
    folder = cache_dir() / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not (folder / file_name).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(mkdtemp(dir=folder.parent, prefix=".making-"))
        try:
            build(making / file_name)
            (making / "key.json").write_text(text)
            _move(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder / file_name


def _move(making: Path, folder: Path) -> None:
    """Put the files in place all at once: a folder appears whole or not at all."""
    try:
        making.rename(folder)
    except OSError:
        # Another process was faster: its result is as good.
        if not folder.is_dir():
            raise
