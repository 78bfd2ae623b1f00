"""Where things lie in the folder that `annotate` writes to."""

from __future__ import annotations

from pathlib import Path

VIDEOS = "videos"
"""One folder per video below it, at the video's own name: videos/day1/north.mp4/tracks.jsonl."""
TRACKS = "tracks.jsonl"
REPORT = "report.json"
DONE = "done.json"
"""Written last, so a folder that has it is whole."""

SETTINGS = "archive.json"
MANIFEST = "manifest.json"
JOURNAL = "journal.jsonl"
WORK = ".work"
"""Results that are being made; they are moved to `VIDEOS` when whole."""
LOCK = ".lock"


def video_folder(out: Path, name: str) -> Path:
    """The folder with a video's results."""
    return out / VIDEOS / name
