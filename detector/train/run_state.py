"""A training run on disk: all that is needed to go on after any interruption as if there had been none."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import CheckpointError
from pipeline.core.whole_file import write_whole

STATE_FILE = "state.pt"
FORMAT_VERSION = 1


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run; a reader, or a kill at any moment, finds the old one or the new one.

    Args:
        folder: of the run.
        state: tensors and plain values, nested in dictionaries and lists.
    """
    buffer = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, **state}, buffer)
    write_whole(folder / STATE_FILE, buffer.getbuffer(), durable=True)


def load_state(folder: Path) -> dict[str, Any] | None:
    """Read the state of a run; nothing in the file is executed. None: no epoch was finished.

    Raises:
        CheckpointError: it is damaged, or of a newer program.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of damaged bytes raises whatever it stumbles over
        raise CheckpointError(f"{path}: wanted the state of a run, found a damaged file ({error})") from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: wanted a state of format {FORMAT_VERSION}, found {version}; use the program that wrote it"
        )
    return dict(state)
