"""How far an archive is, in frames: videos differ too much in length for a count of videos to tell the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.archive.done import Done
from pipeline.archive.find import FoundVideo
from pipeline.archive.job import Advanced, Begun, Message, Outcome


@dataclass(frozen=True, slots=True)
class Progress:
    """One look at it.

    Attributes:
        n_videos: of the archive.
        n_done: videos with results, those of earlier calls included.
        n_given_up: corrupt or failed in this call.
        n_frames: frames done, those of earlier calls included.
        n_frames_expected: of the whole archive, an estimate until the last video is done; None while nothing is known.
        frames_per_s: of this call, all workers together.
        left_s: estimated time left, or None while nothing is known.
        running: videos in work, with the frames done of each.
    """

    n_videos: int
    n_done: int
    n_given_up: int
    n_frames: int
    n_frames_expected: int | None
    frames_per_s: float
    left_s: float | None
    running: Mapping[str, int]


@dataclass(slots=True)
class _Video:
    size: int
    n_frames: int = 0
    expected: int | None = None
    running: bool = False


class Account:
    """Adds up what workers tell. From any thread.

    The frames of a video that was not opened yet are estimated from its size in bytes and those of the others.

    Args:
        videos: of the archive.
        done: by name, those that need no work.
        most: frames of each video that are read, or None for all.
        now: seconds on a monotonic clock.
    """

    def __init__(
        self,
        videos: tuple[FoundVideo, ...],
        done: Mapping[str, Done],
        *,
        most: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._now = now
        self._lock = threading.Lock()
        self._videos = {video.name: _Video(video.size) for video in videos}
        self._n_done = self._n_given_up = 0
        self._n_earlier = 0
        self._any_begun = False
        self._began = now()
        for name, one in done.items():
            self._videos[name].n_frames = self._videos[name].expected = one.n_frames
            self._n_earlier += one.n_frames
            self._n_done += 1

    def hear(self, message: Message) -> None:
        """Take what a worker tells."""
        with self._lock:
            if isinstance(message, Begun):
                if not self._any_begun:
                    # Loading the detector tells nothing of the pace.
                    self._any_begun, self._began = True, self._now()
                video = self._videos[message.name]
                video.running, video.n_frames, video.expected = True, 0, message.n_frames
            elif isinstance(message, Advanced):
                self._videos[message.name].n_frames = message.n_frames
            elif isinstance(message, Outcome) and message.status != "done":
                video = self._videos[message.name]
                video.running, video.n_frames, video.expected = False, 0, 0
                self._n_given_up += message.status != "stopped"

    def finish(self, done: Done) -> None:
        """A video is done and in its place."""
        with self._lock:
            video = self._videos[done.name]
            video.running, video.n_frames, video.expected = False, done.n_frames, done.n_frames
            self._n_done += 1

    def progress(self) -> Progress:
        """How things stand."""
        with self._lock:
            videos = self._videos.values()
            n_frames = sum(video.n_frames for video in videos)
            expected = self._expected()
            elapsed = self._now() - self._began
            pace = (n_frames - self._n_earlier) / elapsed if elapsed > 0 else 0.0
            left = (expected - n_frames) / pace if expected is not None and pace > 0 else None
            running = {name: video.n_frames for name, video in self._videos.items() if video.running}
            return Progress(
                len(videos), self._n_done, self._n_given_up, n_frames, expected, max(pace, 0.0), left, running
            )

    def _expected(self) -> int | None:
        """Frames of the whole archive, as far as that can be told."""
        videos = self._videos.values()
        known = [(video.size, video.expected) for video in videos if video.expected]
        known_bytes = sum(size for size, _ in known)
        if not known_bytes:
            return 0 if all(video.expected == 0 for video in videos) else None
        per_byte = sum(expected for _, expected in known) / known_bytes

        def of(video: _Video) -> int:
            guess = round(video.size * per_byte)
            if self._most is not None:
                guess = min(guess, self._most)
            return max(video.n_frames, guess if video.expected is None else video.expected)

        return sum(map(of, videos))
