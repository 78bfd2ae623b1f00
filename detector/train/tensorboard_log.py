"""Figures and pictures of a training for TensorBoard."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import cv2

from pipeline.core.errors import MissingExtraError, UsageError

_log = logging.getLogger(__name__)


class TensorboardLog:
    """Writes an event file that `tensorboard --logdir` shows.

    Args:
        folder: where the file goes; made if need be.
        resumed_at: step from which on TensorBoard forgets what an earlier, interrupted run wrote; None: nothing.

    Raises:
        MissingExtraError: tensorboard is not installed.
        OSError: the file cannot be written.
    """

    def __init__(self, folder: Path, resumed_at: int | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", "train", "TensorBoard") from error
        self._writer = SummaryWriter(str(folder), purge_step=resumed_at)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to each curve, and write it out.

        Args:
            step: number of the epoch.
            values: by name of the curve; a slash groups them. nan, which stands for "not measured", is left out.
        """
        for name, value in values.items():
            if not math.isnan(value):
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def picture(self, tag: str, path: Path, step: int) -> None:
        """Add a picture from a file.

        Raises:
            UsageError: the file is no picture.
        """
        pixels = cv2.imread(str(path))
        if pixels is None:
            raise UsageError(f"{path}: wanted a picture for TensorBoard, found none that can be read")
        rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        self._writer.add_image(tag, rgb, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and end the writing thread. Idempotent."""
        self._writer.close()


def open_tensorboard(folder: Path, resumed_at: int | None = None) -> TensorboardLog | None:
    """A log in the folder, or None, told in the program's log, where tensorboard is not installed.

    Args:
        folder: where the event file goes.
        resumed_at: see TensorboardLog.
    """
    if importlib.util.find_spec("tensorboard") is None:
        _log.info("tensorboard is not installed, so there is no log for it: pip install 'tracklight[train]'")
        return None
    return TensorboardLog(folder, resumed_at)
