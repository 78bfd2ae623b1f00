"""CVAT for video 1.1: one XML file per video, `<video>.xml`, with a `track` per object and boxes where it bends.

Frames count from 0. A track has one label, that of most of its boxes. `source="auto"` tells that a machine drew it,
`occluded="1"` that the tracker only assumed the place, `outside="1"` that the object is not to be seen from there on.
Dates are left empty: equal input gives equal files.

Source: CVAT's documentation, "XML annotation format", version 1.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from pipeline.archive.formats.keyframes import KeyBox, Thinner
from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.track_spool import TrackSpool
from pipeline.archive.record import AnnotatedVideo, VideoFacts


def write_cvat(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write `<video>.xml` for every video. Raises OSError."""
    for video in videos:
        path = folder / f"{video.facts.name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for text in _document(video, path.with_name(f"{path.name}.part"), options.max_error_px):
                file.write(text)


def _document(video: AnnotatedVideo, spool_path: Path, max_error_px: float) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    yield _meta(video.facts, video.class_names)
    with TrackSpool(spool_path) as spool:
        labels = _spool_tracks(video, spool, max_error_px)
        for track_id in sorted(labels):
            # Of labels that are equally frequent, the one with the lowest number.
            class_id = min(labels[track_id], key=lambda number: (-labels[track_id][number], number))
            label = quoteattr(video.class_names[class_id])
            yield f'  <track id="{track_id}" label={label} source="auto">\n'
            yield from spool.text_of(track_id)
            yield "  </track>\n"
    yield "</annotations>\n"


def _spool_tracks(video: AnnotatedVideo, spool: TrackSpool, max_error_px: float) -> dict[int, Counter[int]]:
    """The boxes of all tracks go to the spool. Returns how often each track had which label."""
    thinners: dict[int, Thinner] = {}
    labels: dict[int, Counter[int]] = {}
    for one in video.frames():
        tracks = one.tracks
        # In the two decimals that are written, so that the bound holds for the file.
        corners = np.round(tracks.xyxy.astype(np.float64), 2)
        rows = zip(tracks.track_id.tolist(), tracks.class_id.tolist(), tracks.detection_row.tolist(), strict=True)
        for xyxy, (track_id, class_id, row) in zip(corners, rows, strict=True):
            labels.setdefault(track_id, Counter())[class_id] += 1
            thinner = thinners.setdefault(track_id, Thinner(max_error_px))
            for box in thinner.add(one.frame, xyxy, occluded=row < 0):
                spool.append(track_id, _box(box))
    for track_id, thinner in thinners.items():
        for box in thinner.end(video.facts.n_frames):
            spool.append(track_id, _box(box))
    return labels


def _box(box: KeyBox) -> str:
    left, top, right, bottom = box.xyxy.tolist()
    return (
        f'    <box frame="{box.frame}" xtl="{left:.2f}" ytl="{top:.2f}" xbr="{right:.2f}" ybr="{bottom:.2f}" '
        f'outside="{int(box.outside)}" occluded="{int(box.occluded)}" keyframe="1" z_order="0"></box>\n'
    )


def _meta(facts: VideoFacts, class_names: Sequence[str]) -> str:
    names = (f"          <name>{escape(name)}</name>\n" for name in class_names)
    rest = "          <attributes></attributes>\n"
    labels = "".join(f"        <label>\n{name}{rest}        </label>\n" for name in names)
    name = escape(facts.name)
    return (
        "  <meta>\n    <task>\n      <id>0</id>\n"
        f"      <name>{name}</name>\n      <size>{facts.n_frames}</size>\n      <mode>interpolation</mode>\n"
        "      <overlap>0</overlap>\n      <bugtracker></bugtracker>\n      <flipped>False</flipped>\n"
        "      <created></created>\n      <updated></updated>\n"
        f"      <labels>\n{labels}      </labels>\n"
        "      <segments>\n        <segment>\n          <id>0</id>\n          <start>0</start>\n"
        f"          <stop>{max(facts.n_frames - 1, 0)}</stop>\n          <url></url>\n"
        "        </segment>\n      </segments>\n"
        "      <owner>\n        <username></username>\n        <email></email>\n      </owner>\n"
        f"      <original_size>\n        <width>{facts.width_px}</width>\n        <height>{facts.height_px}</height>\n"
        "      </original_size>\n    </task>\n    <dumped></dumped>\n  </meta>\n"
    )
