"""Pictures of events, drawn and encoded in a thread of their own."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from pipeline.core.arrays import ImageArray
from pipeline.core.event import Event
from pipeline.core.whole_file import write_whole
from pipeline.records.address import StoreAddress
from pipeline.records.snapshot_place import snapshot_folder, snapshot_reference

logger = logging.getLogger(__name__)

LONG_SIDE_PX = 1280
QUALITY = 85
_WAITING = 8
"""Pictures that may wait: at 4K they hold 200 MB."""
_COLOUR = (0, 200, 255)
_EDGE = (0, 0, 0)

_Order = tuple[Path, ImageArray, tuple[float, float, float, float] | None]


class SnapshotWriter:
    """Writes JPEG files into the folder of snapshots, at most so many a second.

    Args:
        address: the store that they belong to.
        per_s: most pictures (1/s); up to as many at once.
    """

    def __init__(self, address: StoreAddress, per_s: float) -> None:
        self._address = address
        self._folder = snapshot_folder(address)
        self._per_s = per_s
        self._allowed = max(per_s, 1.0)
        self._allowed_at = time.monotonic()
        self._orders: queue.Queue[_Order | None] = queue.Queue()
        self._counters = dict.fromkeys(("snapshots", "snapshots_left_out", "snapshots_failed"), 0)
        # Not a daemon: it would be cut off in the middle of a file.
        self._thread = threading.Thread(target=self._loop, name="snapshots", daemon=False)

    @property
    def counters(self) -> Mapping[str, int]:
        """Pictures written, left out because there were too many, and those that could not be written."""
        return dict(self._counters)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, run_id: str, event: Event, image: ImageArray) -> str:
        """Have a picture made of the event.

        Returns:
            How the store refers to it; empty where there are too many.
        """
        if not self._is_allowed() or self._orders.qsize() >= _WAITING:
            self._counters["snapshots_left_out"] += 1
            return ""
        path = self._folder / f"{run_id}-{event.event_id}.jpg"
        self._orders.put((path, image, event.box))
        return snapshot_reference(self._address, path)

    def close(self) -> None:
        """Finish those that wait. Idempotent."""
        if self._thread.ident is not None:
            self._orders.put(None)
            self._thread.join()

    def _is_allowed(self) -> bool:
        now = time.monotonic()
        most = max(self._per_s, 1.0)
        self._allowed = min(self._allowed + (now - self._allowed_at) * self._per_s, most)
        self._allowed_at = now
        if self._allowed < 1.0:
            return False
        self._allowed -= 1.0
        return True

    def _loop(self) -> None:
        while (order := self._orders.get()) is not None:
            path, image, box = order
            try:
                write_whole(path, encode_snapshot(image, box))
                self._counters["snapshots"] += 1
            except (OSError, cv2.error) as error:
                if not self._counters["snapshots_failed"]:
                    logger.warning("%s: pictures of events cannot be written: %s", self._folder, error)
                self._counters["snapshots_failed"] += 1


def encode_snapshot(image: ImageArray, box: tuple[float, float, float, float] | None) -> bytes:
    """A JPEG of the frame, its long side at most `LONG_SIDE_PX`, with the box.

    Args:
        image: uint8 (h, w, 3), BGR. Not modified.
        box: xyxy px in the frame, or None.
    """
    h, w = image.shape[:2]
    scale = min(LONG_SIDE_PX / max(h, w), 1.0)
    if scale < 1.0:
        picture = cv2.resize(image, (round(w * scale), round(h * scale)), interpolation=cv2.INTER_AREA)
    else:
        picture = image.copy()
    if box is not None:
        x1, y1, x2, y2 = (round(value * scale) for value in box)
        width = max(round(max(picture.shape) / 640), 1)
        cv2.rectangle(picture, (x1, y1), (x2, y2), _EDGE, width + 2, cv2.LINE_AA)
        cv2.rectangle(picture, (x1, y1), (x2, y2), _COLOUR, width, cv2.LINE_AA)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
