"""Reads MOTChallenge sequences: gt/gt.txt, with seqinfo.ini and gt/labels.txt where they are.

Rows with 0 in the seventh column do not count and are left out; a visibility of 0 is taken as hidden. Without
labels.txt classes have the names of MOT16.

Source: MOT16 (arXiv 1603.00831), section 4.1 and table 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.archive.corrected.checks import MAX_BOXES, MAX_FRAME, check_size, number, safe_name, whole
from pipeline.archive.corrected.labels import Annotations, FramesOfVideo, LabelBox, PictureLabels
from pipeline.core.errors import DatasetError
from pipeline.evaluation.mot_text import SequenceInfo, read_seqinfo

MOT16_CLASSES = (
    *("pedestrian", "person on vehicle", "car", "bicycle", "motorbike", "non motorized vehicle", "static person"),
    *("distractor", "occluder", "occluder on the ground", "occluder full", "reflection"),
)


def read_mot_sequence(path: Path, root: Path, found: Annotations) -> None:
    """Add the labels of one gt.txt. Raises DatasetError."""
    check_size(path)
    place = path.parent.parent
    info = read_seqinfo(place / "seqinfo.ini") if (place / "seqinfo.ini").is_file() else None
    classes = _classes(path.with_name("labels.txt"))
    boxes: dict[int, list[LabelBox]] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for count, line in enumerate(lines, start=1):
            if count > MAX_BOXES:
                raise DatasetError(f"{path}: wanted at most {MAX_BOXES} lines, found more; divide the sequence")
            if line.strip():
                _add(line, classes, boxes, found, f"{path}, line {count}")
    found.files.append(path)
    found.declared.update(dict.fromkeys(classes))
    names = [place.relative_to(root).as_posix()] if place != root else []
    names += [info.name] if info else [place.name]
    plain = list(dict.fromkeys(safe_name(name, f"{path}: the sequence's name") for name in names))
    pictures = _pictures(place)
    if not pictures:
        found.videos.append(FramesOfVideo(plain, path, _size(info), boxes, range(info.n_frames) if info else None))
    for picture in pictures:
        name = f"{picture.parent.name}/{picture.name}"
        of_picture = boxes.get(int(picture.stem) - 1, [])
        found.pictures.append(PictureLabels([f"{plain[0]}/{name}", name], path, _size(info), of_picture))


def _pictures(place: Path) -> list[Path]:
    """The pictures of a sequence, which are called by the frame's number."""
    named = [path for path in (place / "img1").glob("*") if path.stem.isdecimal() and len(path.stem) < 10]
    return sorted(named, key=lambda path: int(path.stem))


def _size(info: SequenceInfo | None) -> tuple[int, int] | None:
    return (info.width_px, info.height_px) if info else None


def _classes(path: Path) -> Sequence[str]:
    if not path.is_file():
        return MOT16_CLASSES
    check_size(path)
    return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]


def _add(line: str, classes: Sequence[str], boxes: dict[int, list[LabelBox]], found: Annotations, where: str) -> None:
    fields = line.strip().rstrip(",").replace(",", " ").split()
    if not 6 <= len(fields) <= 10:
        raise DatasetError(f"{where}: wanted 6 to 10 columns, found {len(fields)}")
    frame = whole(fields[0].removesuffix(".0"), "frame", where, most=MAX_FRAME)
    if frame < 1:
        raise DatasetError(f"{where}: wanted frames from 1, found {frame}")
    left, top, width, height, *rest = (number(value, "column", where) for value in fields[2:])
    # What the line does not say: it counts, is of the first class, and is to be seen.
    counts, class_number, visibility, *_ = [*rest, *(1.0, 1.0, 1.0)[len(rest) :]]
    if not counts:
        found.left_out["row that does not count"] += 1
        return
    if not 1 <= class_number <= len(classes) or not class_number.is_integer():
        raise DatasetError(f"{where}: wanted a class from 1 to {len(classes)}, found {fields[7]}")
    label = classes[int(class_number) - 1]
    box = LabelBox(label, (left, top, left + width, top + height), visibility == 0)
    boxes.setdefault(frame - 1, []).append(box)
