"""Converted networks are kept, so that only the first run with a runtime pays for the conversion."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp

from detector.zoo import cache_dir
from pipeline.core.errors import BackendError

FOLDER = "converted"


def kept(key: Mapping[str, object], file_name: str, build: Callable[[Path], None]) -> Path:
    """The file of that name made for that key, built if it is not there yet.

    Args:
        key: everything that the result depends on: digest of the weights, versions, precision, shapes, device.
        file_name: name of the main file, the same for all of a form, as weights go by several names; files that `build`
            puts beside it are kept too.
        build: makes the file at the path given. A build that fails leaves nothing.

    Raises:
        BackendError: nothing can be written there.
    """
    text = json.dumps({"file": file_name, **{name: str(value) for name, value in key.items()}}, sort_keys=True)
    folder = cache_dir() / FOLDER / hashlib.sha256(text.encode()).hexdigest()[:24]
    if not (folder / file_name).is_file():
        try:
            _make(folder, file_name, build, text)
        except OSError as error:
            raise BackendError(
                f"{folder.parent}: wanted to keep a converted network there: {error.strerror or error}; set "
                "TRACKLIGHT_CACHE to a folder that can be written, or take --backend eager, which needs none"
            ) from error
    return folder / file_name


def _make(folder: Path, file_name: str, build: Callable[[Path], None], key: str) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        build(making / file_name)
        (making / "key.json").write_text(key)
        _move(making, folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _move(making: Path, folder: Path) -> None:
    """Put the files in place all at once: a folder appears whole or not at all."""
    try:
        making.rename(folder)
    except OSError:
        # Another process was faster: its result is as good.
        if not folder.is_dir():
            raise
