"""What workers are told, and what they answer. All of it can be pickled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.find import FoundVideo


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all videos.

    Attributes:
        config: a RunConfig as plain values.
        root: the videos lie below it.
        work: the folder in which each video's results are made.
        run: unique id of this call.
        settings: digest of the settings that results depend on.
        names: of all videos of the archive, by which rules are checked.
        threads: of each worker.
    """

    config: dict[str, Any]
    root: Path
    work: Path
    run: str
    settings: str
    names: tuple[str, ...]
    threads: int


@dataclass(frozen=True, slots=True)
class Task:
    """One video to annotate; `number` is unique within the call."""

    number: int
    video: FoundVideo


@dataclass(frozen=True, slots=True)
class Begun:
    """A video was opened. `n_frames` as its container says, or None."""

    name: str
    n_frames: int | None


@dataclass(frozen=True, slots=True)
class Advanced:
    """So many frames of a video have been done."""

    name: str
    n_frames: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a video.

    Attributes:
        name: of the video.
        status: `done`; `corrupt`: the video cannot be read; `failed`: something else; `stopped`: given up.
        made: folder with whole results where it is done.
        reason: one line where it is not.
    """

    name: str
    status: str
    made: Path | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unusable:
    """No video can be annotated: the weights, the rules or the folder are at fault. `reason`: one line."""

    reason: str
    is_usage: bool = False


Message = Begun | Advanced | Outcome | Unusable
