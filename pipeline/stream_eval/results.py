"""What a run left behind: our JSON lines, with the instants at which every frame was captured and emitted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import DatasetError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import NS, Stream

_KEYS = ("source", "frame", "captured_ns", "emitted_ns", "dropped_before", "objects")


@dataclass(frozen=True, slots=True)
class Line:
    """One frame of a file.

    Attributes:
        where: file and line number, for errors.
        frame: number of the frame in its source, from 0.
        captured_ns, emitted_ns: on one clock, whose zero means nothing.
        dropped_before: frames dropped since the line before.
        objects: as they stand in the file.
        moved: the run moved them ahead of their frame (`--compensate`).
    """

    where: str
    frame: int
    captured_ns: int
    emitted_ns: int
    dropped_before: int
    objects: Sequence[dict[str, Any]]
    moved: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A run of one source, on the stream's clock.

    Attributes:
        outputs: by rising instants; classes are numbers into `class_names`.
        class_names: every class that occurs in the file, by class_id of the outputs.
        moved: the run itself moved boxes ahead of their frames.
        worst_off_ns: the largest distance of a capture from the instant at which the stream's frame arrives.
    """

    outputs: tuple[Output, ...]
    class_names: tuple[str, ...]
    moved: bool
    worst_off_ns: int


def read_results(path: Path) -> dict[str, list[Line]]:
    """The lines of a JSON-lines output, by source.

    Raises:
        DatasetError: no such file, no such lines, or a run that wrote no times; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: wanted the JSON lines of a run, found none that can be read ({error})") from error
    by_source: dict[str, list[Line]] = {}
    for source, line in _lines(path, text):
        by_source.setdefault(source, []).append(line)
    if not by_source:
        raise DatasetError(f"{path}: wanted the JSON lines of a run, found no frame in it")
    return by_source


def recorded(lines: Sequence[Line], stream: Stream) -> Recorded:
    """One source's lines as outputs on the stream's clock.

    The stream's time zero is the instant at which its frame 0 was captured; where that frame was dropped, it is as many
    frame intervals before the first line's capture as its number says.

    Args:
        lines: in the order of the file.
        stream: of the ground truth.

    Raises:
        DatasetError: the lines cannot be a paced run of this stream; names file and line.
    """
    _check_order(lines, stream)
    t0_ns = lines[0].captured_ns - stream.arrival_ns(lines[0].frame)
    off = [line.captured_ns - t0_ns - stream.arrival_ns(line.frame) for line in lines]
    _check_pace(lines, stream, off)
    names = sorted({str(one["class"]) for line in lines for one in line.objects})
    number = {name: class_id for class_id, name in enumerate(names)}
    # A capture may lie a little before its frame's place in the stream; an output then counts from that place on.
    at_ns = [max(line.emitted_ns - t0_ns, stream.arrival_ns(line.frame)) for line in lines]
    return Recorded(
        outputs=tuple(Output(at, line.frame, _boxes(line, number)) for at, line in zip(at_ns, lines, strict=True)),
        class_names=tuple(names),
        moved=any(line.moved for line in lines),
        worst_off_ns=max(map(abs, off)),
    )


def _lines(path: Path, text: str) -> Iterator[tuple[str, Line]]:
    for number, written in enumerate(text.splitlines(), 1):
        where = f"{path}:{number}"
        if not written.strip():
            continue
        try:
            record = json.loads(written)
        except ValueError as error:
            raise DatasetError(f"{where}: wanted a JSON object, found something else ({error})") from error
        if not isinstance(record, dict):
            raise DatasetError(f"{where}: wanted a JSON object, found a {type(record).__name__}")
        if "end_s" in record and "frame" not in record:
            continue
        missing = [key for key in _KEYS if record.get(key) is None]
        if missing:
            hint = "; the run was told to write no times (timing: false)" if "captured_ns" in missing else ""
            raise DatasetError(f"{where}: wanted a frame of a run; missing: {', '.join(missing)}{hint}")
        try:
            frame, captured_ns, emitted_ns, dropped = (int(record[key]) for key in _KEYS[1:5])
            objects = _checked_objects(record["objects"])
            moved = "boxes_at_ns" in record
            yield str(record["source"]), Line(where, frame, captured_ns, emitted_ns, dropped, objects, moved)
        except (TypeError, ValueError, KeyError) as error:
            raise DatasetError(f"{where}: wanted a frame as `run -o out.jsonl` writes it, found: {error}") from error


def _checked_objects(objects: Any) -> list[dict[str, Any]]:
    for one in objects:
        if len(one["xyxy"]) != 4 or not np.isfinite([*one["xyxy"], one["confidence"]]).all():
            raise ValueError(f"an object that is no box: {one}")
        str(one["class"]), one["track_id"]
    return list(objects)


def _check_order(lines: Sequence[Line], stream: Stream) -> None:
    before: Line | None = None
    for line in lines:
        if not 0 <= line.frame < stream.n_frames:
            raise DatasetError(
                f"{line.where}: wanted frames 0 to {stream.n_frames - 1} as in {stream.name}, found {line.frame}; "
                "is it another recording?"
            )
        if line.emitted_ns < line.captured_ns:
            raise DatasetError(
                f"{line.where}: wanted a result after its frame, found frame {line.frame} emitted "
                f"{(line.captured_ns - line.emitted_ns) / 1e6:.3f} ms before it was captured"
            )
        n_before = -1 if before is None else before.frame
        if line.frame <= n_before:
            raise DatasetError(
                f"{line.where}: wanted frames in rising order, found frame {line.frame} behind {n_before}; "
                "is it one run of one source?"
            )
        if before is not None and line.emitted_ns < before.emitted_ns:
            raise DatasetError(
                f"{line.where}: wanted results in the order in which they were emitted, found frame {line.frame} "
                f"emitted before frame {before.frame}"
            )
        if line.dropped_before != line.frame - n_before - 1:
            raise DatasetError(
                f"{line.where}: wanted every frame as a line or told as dropped, found frame {line.frame} behind "
                f"{n_before} with {line.dropped_before} dropped between; lines are missing"
            )
        before = line


def _check_pace(lines: Sequence[Line], stream: Stream, off: Sequence[int]) -> None:
    """Whether every frame came when the stream says: within half an interval."""
    first, last = lines[0], lines[-1]
    limit_ns = stream.arrival_ns(1) / 2
    worst = max(range(len(off)), key=lambda k: abs(off[k]))
    if abs(off[worst]) <= limit_ns:
        return
    if abs(off[-1]) > limit_ns:
        fps = (last.frame - first.frame) * NS / max(last.captured_ns - first.captured_ns, 1)
        raise DatasetError(
            f"{first.where}: wanted frames at the truth's {float(stream.fps):.6g} per s, found {fps:.6g} per s; "
            "record with `run --realtime`, or give the truth's rate with --fps"
        )
    raise DatasetError(
        f"{lines[worst].where}: wanted frame {lines[worst].frame} within {limit_ns / 1e6:.1f} ms of its place at "
        f"{float(stream.fps):.6g} per s, found it {off[worst] / 1e6:.1f} ms off; record with `run --realtime`"
    )


def _boxes(line: Line, number: dict[str, int]) -> Boxes:
    n = len(line.objects)
    xyxy = np.array([one["xyxy"] for one in line.objects], np.float64).reshape(n, 4)
    return Boxes(
        ltwh=np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
        score=np.array([one["confidence"] for one in line.objects], np.float64),
        class_id=np.array([number[str(one["class"])] for one in line.objects], np.int64),
        track_id=np.array([-1 if one["track_id"] is None else one["track_id"] for one in line.objects], np.int64),
    )


def pair_with(names: Sequence[str], by_source: dict[str, list[Line]], path: Path) -> list[list[Line]]:
    """The lines of each sequence of the truth: of the source of its name, or of the only source for the only sequence.

    Raises:
        DatasetError: a sequence without lines, or several sources for one sequence.
    """
    if len(names) == 1 and len(by_source) == 1:
        return list(by_source.values())
    missing = [name for name in names if name not in by_source]
    if missing:
        raise DatasetError(
            f"{path}: wanted results of {missing[0]}, found sources {', '.join(by_source)}; name the sources as the "
            "truth's sequences are named, or score files of one source each against --sequence NAME"
        )
    return [by_source[name] for name in names]
