"""MOTChallenge's layout, as TrackEval and CVAT read it: one folder per video with gt/gt.txt and seqinfo.ini.

`gt.txt` holds `frame,id,left,top,width,height,1,class,visibility`: frames and classes count from 1, boxes are in px.
The seventh number says that the box counts; it is no confidence, since TrackEval takes a fraction there for a 0, which
means "do not count". Visibility is 1, and 0 where the tracker only assumed the place; CVAT shows these as occluded.
`gt/labels.txt` names the classes in CVAT's way, and `seqmap.txt` lists the sequences in TrackEval's.

Source: MOT16 (arXiv 1603.00831), section 4.1 and table 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.record import AnnotatedVideo, FrameTracks, VideoFacts
from pipeline.core.boxes import xyxy_to_ltwh


def write_mot(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write `<video>/gt/gt.txt`, `<video>/gt/labels.txt` and `<video>/seqinfo.ini` for every video. Raises OSError."""
    for video in videos:
        place = folder / video.facts.name
        (place / "gt").mkdir(parents=True)
        with (place / "gt" / "gt.txt").open("w", encoding="utf-8", newline="\n") as file:
            for one in video.frames():
                file.write(_lines(one))
        (place / "gt" / "labels.txt").write_text("\n".join(video.class_names), encoding="utf-8")
        (place / "seqinfo.ini").write_text(_seqinfo(video.facts), encoding="utf-8")
    names = "".join(f"{video.facts.name}\n" for video in videos)
    (folder / "seqmap.txt").write_text(f"name\n{names}", encoding="utf-8")


def _lines(one: FrameTracks) -> str:
    tracks = one.tracks
    rows = zip(
        tracks.track_id.tolist(),
        xyxy_to_ltwh(tracks.xyxy.astype(float)).tolist(),
        tracks.class_id.tolist(),
        tracks.detection_row.tolist(),
        strict=True,
    )
    return "".join(
        f"{one.frame + 1},{track_id},{left:.2f},{top:.2f},{width:.2f},{height:.2f},1,{class_id + 1},{int(row >= 0)}\n"
        for track_id, (left, top, width, height), class_id, row in rows
    )


def _seqinfo(facts: VideoFacts) -> str:
    # CVAT's reader wants exactly these keys and whole numbers.
    return (
        f"[Sequence]\nname={facts.name}\nimDir=img1\nframeRate={max(round(facts.fps), 1)}\n"
        f"seqLength={facts.n_frames}\nimWidth={facts.width_px}\nimHeight={facts.height_px}\nimExt=.jpg\n"
    )
