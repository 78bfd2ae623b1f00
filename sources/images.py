"""Still images: a folder, a glob, single files, one frame each."""

from __future__ import annotations

import glob
import logging
import threading
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import ImageArray
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Clock
from sources.address import IMAGE_SUFFIXES
from sources.natural import natural_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImagesConfig:
    """Which images, and how fast they count as taken."""

    path: str | tuple[str, ...] = Field(
        description="a folder, a glob or a file (images in natural order: img2 before img10), or a list in its order"
    )
    fps: float | None = Field(default=None, gt=0, description="images per second; null = the images have no media time")


class ImagesSource:
    """One frame per image, as 8-bit BGR, turned upright by its EXIF orientation; sizes may differ.

    16-bit images are scaled to 8 bits, grey becomes three equal channels, and an alpha channel is left out (the
    colours under it stay as stored). An image that cannot be read is left out, with a warning, and counted as
    `corrupt`.

    Args:
        config: the images.
        source_id: unique name of the source within the run.
        clock: clock of `Frame.captured_ns`.
    """

    def __init__(self, config: ImagesConfig, *, source_id: str, clock: Clock) -> None:
        self._config = config
        self._source_id = source_id
        self._clock = clock
        self._interrupted = threading.Event()
        self._paths: list[Path] | None = None
        self._first: Frame | None = None
        self._next_path = 0
        self._index = 0
        self._corrupt = 0

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """`corrupt`: images that could not be read."""
        return {"corrupt": self._corrupt}

    def open(self) -> StreamInfo:
        """List the images and read the first one that can be read.

        Raises:
            SourceError: there are no images, or none can be read. Also when interrupted.
            UsageError: the source is open already.
        """
        if self._paths is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        self._paths = find_images(self._config.path)
        self._first = self._next_frame(self._paths)
        if self._first is None:
            why = "it was interrupted" if self._interrupted.is_set() else f"none of the {len(self._paths)} can be read"
            raise SourceError(f"{self._config.path}: wanted images, found no picture: {why}")
        height, width = self._first.shape_hw
        return StreamInfo(self._source_id, width, height, self._config.fps, False, len(self._paths))

    def read(self) -> Frame | None:
        """The next image; None after the last one or after `interrupt`."""
        if self._paths is None:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        if self._interrupted.is_set():
            return None
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return self._next_frame(self._paths)

    def interrupt(self) -> None:
        """Make `open` and `read` return at the next image."""
        self._interrupted.set()

    def close(self) -> None:
        """Forget the list. Idempotent."""
        self._paths = None
        self._first = None

    def _next_frame(self, paths: list[Path]) -> Frame | None:
        while self._next_path < len(paths) and not self._interrupted.is_set():
            path = paths[self._next_path]
            position = self._next_path
            self._next_path += 1
            try:
                image = read_image(path)
            except SourceError as error:
                self._corrupt += 1
                log.warning("%s", error)
                continue
            # By the place in the list, not the frame index: a damaged image leaves a gap in time, as in a video.
            pts_s = float(position / Fraction(self._config.fps)) if self._config.fps else None
            frame = Frame(self._source_id, self._index, image, pts_s, self._clock.now_ns(), CaptureClock.FILE)
            self._index += 1
            return frame
        return None


def find_images(path: str | tuple[str, ...]) -> list[Path]:
    """The image files that a folder, glob or file name means, in natural order; a list keeps its own order.

    Raises:
        SourceError: there are none.
    """
    if not isinstance(path, str):
        return [image for one in path for image in find_images(one)]
    place = Path(path).expanduser()
    if place.is_file():
        return [place]
    if place.exists() and not place.is_dir():
        raise SourceError(f"{path}: wanted an image, found a pipe or device; save the picture to a file first")
    # glob.glob, because Path.glob takes no absolute patterns.
    pattern = f"{glob.escape(str(place))}/*" if place.is_dir() else str(place)
    candidates = [Path(p) for p in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    images = [p for p in candidates if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    if not images:
        raise SourceError(f"{path}: wanted images, found {'none' if candidates else 'nothing'} there; check the path")
    return sorted(images, key=natural_key)


def read_image(path: Path) -> ImageArray:
    """Read one image as uint8 (h, w, 3) BGR, upright.

    Raises:
        SourceError: the file cannot be read or is not an image that OpenCV knows.
    """
    try:
        # Not cv2.imread: on Windows it cannot open names beyond the code page.
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error) as error:
        reason = " ".join(str(error).split())
        raise SourceError(f"{path}: wanted an image, found one that cannot be read: {reason}") from error
    if image is None:
        found = "something that OpenCV cannot decode (damaged?)" if data.size else "an empty file (0 bytes)"
        raise SourceError(f"{path}: wanted an image, found {found}")
    return np.asarray(image, np.uint8)
