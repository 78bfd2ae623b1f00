"""The pictures of a labelled sequence: a video file or a folder, played as a run plays it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

from pipeline.config.build import make_source
from pipeline.config.cameras import LIVE_KINDS, addresses_of
from pipeline.config.schema import RunConfig
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, UsageError
from pipeline.core.frame import Frame
from pipeline.core.protocols import Detector
from pipeline.stream_eval.frame_rate import rate_text, rates_agree
from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.stream import Stream


@dataclass(frozen=True, slots=True)
class Clip:
    """Pictures on disk, and the labels that belong to them.

    Attributes:
        labelled: the labels.
        config: a run of these pictures: one source, no outputs.

    Raises:
        SourceError, UsageError: an address that leads nowhere, or to something else than one recording.
    """

    labelled: Labelled
    config: RunConfig

    def __post_init__(self) -> None:
        found = addresses_of(self.config)
        if len(found) != 1 or found[0].kind in LIVE_KINDS:
            raise UsageError(
                f"{self.labelled.name}: wanted one video or folder of pictures, found {', '.join(self.config.sources)}"
            )

    @property
    def stream(self) -> Stream:
        """The pictures in time, as the labels tell it."""
        return self.labelled.truth.stream

    def frames(self) -> Generator[Frame]:
        """The labelled frames, as fast as they are decoded.

        Raises:
            SourceError: the pictures cannot be opened or read.
            DatasetError: they are not those that the labels are of: fewer, damaged, of another size or rate.
        """
        config = self.config.model_copy(update={"runtime": self.config.runtime.model_copy(update={"realtime": False})})
        (address,) = addresses_of(config)
        stream = self.stream
        last: Frame | None = None
        first_pts_s: float | None = None
        with closing(make_source(config, address, MonotonicClock())) as source:
            source.open()
            while (last is None or last.index + 1 < stream.n_frames) and (frame := source.read()) is not None:
                self._check_frame(frame, dict(source.counters))
                first_pts_s = frame.pts_s if last is None else first_pts_s
                last = frame
                yield frame
        n_read = 0 if last is None else last.index + 1
        if n_read < stream.n_frames:
            raise DatasetError(f"{address.value}: wanted {stream.n_frames} frames as {self._labels}, found {n_read}")
        if last is not None and last.pts_s is not None and first_pts_s is not None and last.pts_s > first_pts_s:
            self._check_rate(Fraction(last.index) / Fraction(last.pts_s - first_pts_s), address.value)

    @property
    def _labels(self) -> str:
        return f"{self.labelled.path} has labels for ({self.labelled.name})"

    def _check_frame(self, frame: Frame, counters: dict[str, int]) -> None:
        stream = self.stream
        if frame.shape_hw != (stream.height_px, stream.width_px):
            raise DatasetError(
                f"{frame}: wanted {stream.width_px}x{stream.height_px} px as {self._labels}, "
                f"found {frame.shape_hw[1]}x{frame.shape_hw[0]}"
            )
        if counters.get("corrupt", 0):
            raise DatasetError(
                f"{frame}: wanted every frame that {self._labels}, found one before it that cannot be decoded: "
                "labels and pictures would not belong together any more"
            )

    def _check_rate(self, rate: Fraction, address: str) -> None:
        if not rates_agree(self.stream.fps, rate):
            raise DatasetError(
                f"{address}: wanted {rate_text(self.stream.fps)} as {self.labelled.path} says, "
                f"found {rate_text(rate)}; is it another recording?"
            )


def detect_all(
    clip: Clip, detector: Detector, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Detections]:
    """What the detector finds in every labelled frame, each looked at once.

    Raises:
        SourceError, DatasetError: see `Clip.frames`.
        BackendError: the detector failed.
    """
    found: list[Detections] = []
    for frame in clip.frames():
        found += detector.detect([frame])
        progress(len(found), clip.stream.n_frames)
    return found
