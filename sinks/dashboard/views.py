"""Draws and encodes the pictures that somebody waits for, each once for all who watch, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from enum import StrEnum

import cv2

from pipeline.core.result import FrameResult
from sinks.dashboard.board import Board
from sinks.dashboard.scaled import Scaler
from sinks.draw import Annotator, DrawConfig


class ViewSize(StrEnum):
    """How large a view is."""

    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class _Class:
    long_side_px: int
    most_per_s: float
    quality: int


_CLASSES = {
    ViewSize.SMALL: _Class(480, 12, 72),
    ViewSize.MEDIUM: _Class(800, 15, 75),
    ViewSize.LARGE: _Class(1280, 25, 80),
    ViewSize.FULL: _Class(3840, 25, 85),
}
_UNWATCHED_S = 10.0
"""A view that nobody asked for in so long is forgotten, with the trails it has drawn."""

Key = tuple[str, ViewSize]


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture.

    Attributes:
        source_id: whose.
        number: of the result that it shows, counted from 1 for each source.
        jpeg: the file.
        width_px, height_px: its size.
        captured_ns: of its frame.
        boxes_ahead_ms: how far its tracks were moved ahead of the frame that they were found in; 0 = they are its own.
    """

    source_id: str
    number: int
    jpeg: bytes
    width_px: int
    height_px: int
    captured_ns: int
    boxes_ahead_ms: float = 0.0


@dataclass(eq=False, slots=True)
class Want:
    """Somebody waits for a picture of a view that is newer than `after`."""

    key: Key
    after: int
    deliver: Callable[[Picture | None], None]


@dataclass(slots=True)
class _View:
    annotator: Annotator
    scaler: Scaler
    picture: Picture | None = None
    begun_s: float = 0.0
    wanted_s: float = 0.0
    wants: list[Want] = field(default_factory=list)


class Views:
    """A picture is made only while somebody waits for it: a slow viewer asks less often and so gets fewer.

    Args:
        board: where results come from.
        draw: what is drawn.
        class_names: names by class_id.
        most_cpu: share of one core that drawing and encoding may take, 0 to 1; pictures come less often then.
    """

    def __init__(self, board: Board, draw: DrawConfig, class_names: tuple[str, ...], most_cpu: float) -> None:
        self._board = board
        self._draw = draw
        self._class_names = class_names
        self._most_cpu = most_cpu
        self._changed = threading.Condition()
        self._views: dict[Key, _View] = {}
        self._n_wants = 0
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="dashboard-views")
        board.on_result = self._new_result

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """End; everyone who waits, or asks later, gets None. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.keep(())
        if self._thread.ident is not None:
            self._thread.join()

    def ask(self, source_id: str, size: ViewSize, after: int, deliver: Callable[[Picture | None], None]) -> Want:
        """Wait for a picture. From any thread.

        Args:
            source_id: of which source; need not have given anything yet.
            size: how large.
            after: number of the last picture that the asker has; 0 = none.
            deliver: called once, from any thread, maybe before this returns; must not block. None = there will be none.
        """
        want = Want((source_id, size), after, deliver)
        with self._changed:
            if not self._closed:
                view = self._view(want.key)
                view.wanted_s = time.monotonic()
                view.wants.append(want)
                self._n_wants += 1
                self._changed.notify()
                return want
        deliver(None)
        return want

    def withdraw(self, want: Want) -> None:
        """No longer wait; nothing where it was delivered. From any thread."""
        with self._changed:
            view = self._views.get(want.key)
            if view is not None and want in view.wants:
                view.wants.remove(want)
                self._n_wants -= 1

    def keep(self, source_ids: Collection[str]) -> None:
        """Let the views of other sources go; who waits for them gets None."""
        with self._changed:
            gone = [self._views.pop(key) for key in list(self._views) if key[0] not in source_ids]
            wants = [want for view in gone for want in view.wants]
            self._n_wants -= len(wants)
            for view in gone:
                view.wants = []
        for want in wants:
            want.deliver(None)

    @property
    def n_watched(self) -> int:
        """Views that are kept because somebody asked for them lately."""
        with self._changed:
            return len(self._views)

    def _new_result(self, source_id: str) -> None:
        # Read without the lock: a want that comes at this moment looks at the board itself.
        if self._n_wants:
            with self._changed:
                self._changed.notify()

    def _view(self, key: Key) -> _View:
        if key not in self._views:
            now_s = time.monotonic()
            for old in [k for k, v in self._views.items() if not v.wants and now_s - v.wanted_s > _UNWATCHED_S]:
                del self._views[old]
            size = key[1]
            draw = self._draw
            if size is ViewSize.SMALL:
                draw = replace(draw, counts=False, confidence=False)
            if size is not ViewSize.FULL:
                # Widths that a person chose are for the whole picture.
                draw = replace(draw, line_width_px=None, text_size_px=None)
            self._views[key] = _View(Annotator(draw, self._class_names), Scaler(_CLASSES[size].long_side_px))
        return self._views[key]

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while (job := self._next_job()) is not None:
            key, view, number, result = job
            began_s = time.thread_time()
            picture = _make(view, _CLASSES[key[1]].quality, number, result)
            used_s = time.thread_time() - began_s
            with self._changed:
                view.picture = picture
                ready = [want for want in view.wants if want.after < number]
                view.wants = [want for want in view.wants if want.after >= number]
                self._n_wants -= len(ready)
                pause_until_s = time.monotonic() + used_s * (1 / self._most_cpu - 1)
            for want in ready:
                want.deliver(picture)
            self._pause(pause_until_s)

    def _pause(self, until_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, max(until_s - time.monotonic(), 0.0))

    def _next_job(self) -> tuple[Key, _View, int, FrameResult] | None:
        """The picture that was not made for longest, of those that somebody waits for; None at the end."""
        with self._changed:
            while not self._closed:
                now_s = time.monotonic()
                soonest_s: float | None = None
                for key, view in sorted(self._views.items(), key=lambda item: item[1].begun_s):
                    newest = self._board.newest(key[0]) if view.wants else None
                    if newest is None or all(want.after >= newest[0] for want in view.wants):
                        continue
                    due_s = view.begun_s + 1 / _CLASSES[key[1]].most_per_s
                    if due_s <= now_s:
                        view.begun_s = now_s
                        return key, view, *newest
                    soonest_s = due_s if soonest_s is None else min(soonest_s, due_s)
                self._changed.wait(None if soonest_s is None else soonest_s - now_s)
            return None


def _make(view: _View, quality: int, number: int, result: FrameResult) -> Picture:
    if view.picture is not None and view.picture.number == number:
        return view.picture
    image = view.annotator.draw(view.scaler.scale(result))
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    frame, found_ns, at_ns = result.frame, result.timeline.captured, result.boxes_at_ns
    ahead_ms = 0.0 if at_ns is None or found_ns is None else (at_ns - found_ns) / 1e6
    return Picture(frame.source_id, number, data.tobytes(), image.shape[1], image.shape[0], frame.captured_ns, ahead_ms)
