"""MOT challenge text: ground truth, detections and results, one box per line, and seqinfo.ini.

Line: `frame,id,left,top,width,height,confidence,class,visibility` in ground truth (confidence 0 = do not count), and
`frame,id,left,top,width,height,confidence,-1,-1,-1` in detections (id -1) and results. Frames count from 1. Boxes are
in px and may reach beyond the image.

Source: MOT16 (arXiv 1603.00831), section 4.1 and table 6.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import IntArray, read_only
from pipeline.core.errors import DatasetError, UsageError
from pipeline.core.tracks import Tracks

MIN_COLUMNS = 6
MAX_COLUMNS = 10


@dataclass(frozen=True, slots=True, eq=False)
class MotRows:
    """Boxes of a sequence, in the order of the file.

    Attributes:
        frame: int64 (n,), from 1.
        track_id: int64 (n,), -1 = none.
        ltwh: float64 (n, 4), left, top, width, height in px.
        confidence: float64 (n,); in ground truth 0 marks a box that does not count. 1 where the file has none.
        class_id: int64 (n,), MOT's numbers from 1 (pedestrian); -1 where the file has none.

    Raises:
        ShapeError: a shape or dtype differs from the above.
    """

    frame: IntArray
    track_id: IntArray
    ltwh: NDArray[np.float64]
    confidence: NDArray[np.float64]
    class_id: IntArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", read_only("MotRows.frame", self.frame, np.int64, (None,)))
        n = len(self.frame)
        object.__setattr__(self, "ltwh", read_only("MotRows.ltwh", self.ltwh, np.float64, (n, 4)))
        object.__setattr__(self, "confidence", read_only("MotRows.confidence", self.confidence, np.float64, (n,)))
        for name in ("track_id", "class_id"):
            object.__setattr__(self, name, read_only(f"MotRows.{name}", getattr(self, name), np.int64, (n,)))

    @classmethod
    def from_table(cls, table: NDArray[np.float64]) -> MotRows:
        """Rows from the columns of a file, float64 (n, 6..10).

        Raises:
            UsageError: another number of columns, a value that is not finite, or a frame below 1.
        """
        if table.ndim != 2 or not MIN_COLUMNS <= table.shape[1] <= MAX_COLUMNS:
            raise UsageError(f"MOT rows: wanted {MIN_COLUMNS} to {MAX_COLUMNS} columns, found shape {table.shape}")
        if not np.isfinite(table).all():
            raise UsageError(f"MOT rows: wanted finite numbers, found others in row {_first(~np.isfinite(table))}")
        if (table[:, 0] < 1).any():
            raise UsageError(f"MOT rows: wanted frames from 1, found {table[:, 0].min():g}; frames count from 1")
        n, columns = table.shape
        return cls(
            frame=table[:, 0].astype(np.int64),
            track_id=table[:, 1].astype(np.int64),
            ltwh=np.ascontiguousarray(table[:, 2:6], np.float64),
            confidence=table[:, 6].astype(np.float64) if columns > 6 else np.ones(n),
            class_id=table[:, 7].astype(np.int64) if columns > 7 else np.full(n, -1, np.int64),
        )

    @classmethod
    def from_tracks(cls, frames: Iterable[tuple[int, Tracks]]) -> MotRows:
        """Rows from a tracker's output: pairs of a frame number, counted from 1, and its tracks."""
        tables = [
            np.column_stack(
                [
                    np.full(len(tracks), frame),
                    tracks.track_id,
                    tracks.xyxy[:, :2],
                    tracks.xyxy[:, 2:].astype(np.float64) - tracks.xyxy[:, :2],
                    tracks.confidence,
                ]
            )
            for frame, tracks in frames
        ]
        return cls.from_table(np.concatenate([np.zeros((0, 7)), *tables]))

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """What seqinfo.ini says about a sequence.

    Attributes:
        name: name of the sequence.
        n_frames: number of frames.
        fps: frame rate, 1/s.
        width_px, height_px: size of the pictures.
    """

    name: str
    n_frames: int
    fps: float
    width_px: int
    height_px: int


def read_mot(path: Path) -> MotRows:
    """Read ground truth, detections or results; an empty file is no rows.

    Raises:
        DatasetError: the file is missing, or a line is not 6 to 10 numbers with a frame from 1; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: wanted a MOT text file, found none that can be read ({error})") from error
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            rows.append(_numbers(path, number, line))
    if not rows:
        return MotRows.from_table(np.zeros((0, MIN_COLUMNS)))
    widths = {len(row) for row in rows}
    if len(widths) > 1:
        raise DatasetError(f"{path}: wanted the same number of columns in every line, found {sorted(widths)}")
    try:
        return MotRows.from_table(np.array(rows))
    except UsageError as error:
        raise DatasetError(f"{path}: {error}") from error


def _numbers(path: Path, number: int, line: str) -> list[float]:
    fields = line.strip().rstrip(",").replace(",", " ").split()
    try:
        values = [float(field) for field in fields]
    except ValueError as error:
        raise DatasetError(f"{path}:{number}: wanted numbers, found {line.strip()!r}") from error
    if not MIN_COLUMNS <= len(values) <= MAX_COLUMNS:
        raise DatasetError(
            f"{path}:{number}: wanted {MIN_COLUMNS} to {MAX_COLUMNS} columns, found {len(values)} in {line.strip()!r}"
        )
    return values


def format_mot(rows: MotRows) -> str:
    """Result lines, sorted by frame as the challenge wants them; boxes with 2 decimals, scores with 6."""
    order = np.argsort(rows.frame, kind="stable")
    return "".join(
        f"{rows.frame[i]},{rows.track_id[i]},{x:.2f},{y:.2f},{w:.2f},{h:.2f},{rows.confidence[i]:.6g},-1,-1,-1\n"
        for i, (x, y, w, h) in zip(order.tolist(), rows.ltwh[order].tolist(), strict=True)
    )


def write_mot(path: Path, rows: MotRows) -> None:
    """Write result lines, see `format_mot`; an existing file is replaced.

    Raises:
        DatasetError: the file cannot be written.
    """
    try:
        path.write_text(format_mot(rows), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path}: wanted to write tracks there, found {error}") from error


def read_seqinfo(path: Path) -> SequenceInfo:
    """Read a seqinfo.ini.

    Raises:
        DatasetError: the file is missing, is not of that form, or a value is not a positive number.
    """
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        section = parser["Sequence"]
        info = SequenceInfo(
            name=section["name"],
            n_frames=int(section["seqLength"]),
            fps=float(section["frameRate"]),
            width_px=int(section["imWidth"]),
            height_px=int(section["imHeight"]),
        )
    except OSError as error:
        raise DatasetError(f"{path}: wanted a seqinfo.ini, found none that can be read ({error})") from error
    except KeyError as error:
        raise DatasetError(
            f"{path}: wanted [Sequence] with name, seqLength, frameRate, imWidth, imHeight; {error} is missing"
        ) from error
    except (ValueError, configparser.Error) as error:
        raise DatasetError(f"{path}: wanted a seqinfo.ini, found one that cannot be read: {error}") from error
    if not (info.n_frames > 0 and info.fps > 0 and info.width_px > 0 and info.height_px > 0):
        raise DatasetError(f"{path}: wanted positive numbers, found {info}")
    return info


def _first(mask: NDArray[np.bool_]) -> int:
    return int(np.flatnonzero(mask.any(axis=1))[0])
