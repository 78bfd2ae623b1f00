"""MOT challenge results: one line per object, as TrackEval and the MOT challenge server read them."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.boxes import xyxy_to_ltwh
from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.line_file import LineFile
from sinks.objects import shown_objects


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MotTextConfig:
    """Where the lines go."""

    path: Path = Field(description="file to write (.txt)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")


class MotTextSink:
    """Lines `frame,id,left,top,width,height,confidence,-1,-1,-1`, frames counted from 1.

    The id is -1 in a run without a tracker, as in the challenge's detection files. The format knows no classes:
    restrict the run to the class that is to be evaluated.

    Args:
        config: the file.
        class_names: not used; every sink is made the same way.

    Source: MOT16 (arXiv 1603.00831), section 3.3; pixel positions are written as they are, not shifted by 1.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = False

    def __init__(self, config: MotTextConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._file: LineFile | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file. Raises SinkError."""
        if self._file is None:
            self._file = LineFile(self._config.path, exist_ok=self._config.exist_ok)

    def write(self, result: FrameResult) -> None:
        """Append the frame's objects. Raises SinkError."""
        if self._file is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        shown = shown_objects(result)
        ids = [-1] * len(shown) if shown.track_id is None else shown.track_id.tolist()
        rows = zip(ids, xyxy_to_ltwh(shown.xyxy).tolist(), shown.confidence.tolist(), strict=True)
        number = result.frame.index + 1
        lines = [
            f"{number},{track_id},{left:.2f},{top:.2f},{width:.2f},{height:.2f},{confidence:.4f},-1,-1,-1\n"
            for track_id, (left, top, width, height), confidence in rows
        ]
        if lines:
            self._file.append("".join(lines))

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._file is not None:
            self._file.close()
