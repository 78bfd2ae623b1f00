"""Gathers up to N frames from several sources within a time budget, fairly."""

from __future__ import annotations

import threading
import time

from pipeline.core.control import QueueDepth
from pipeline.core.errors import UsageError
from pipeline.core.frame import Frame
from pipeline.runtime.channel import Channel, Policy
from pipeline.runtime.choice import FrameChoice


class Batcher:
    """The intake of the detector: one channel per source, taken in turn so that a fast source cannot starve a slow one.

    A batch forms from whoever has a frame; a slow or dead source is not waited for beyond the budget. Recorded sources
    may fill a batch with several of their frames, live ones give one each (theirs hold only the newest).

    Args:
        max_batch: most frames in a batch, 1 or more.
        max_wait_s: how long a batch that has one frame waits for more. Only batches above 1 wait.
        choice: says which frames are to be detected; None: all that are taken.
    """

    def __init__(self, max_batch: int = 1, max_wait_s: float = 0.0, choice: FrameChoice | None = None) -> None:
        if max_batch < 1:
            raise UsageError(f"Batcher: wanted a batch of 1 or more, found {max_batch}")
        self.max_batch = max_batch
        self.max_wait_s = max_wait_s
        self.changed = threading.Condition()
        """The condition that every channel of this batcher shares."""
        self._channels: dict[str, Channel[Frame]] = {}
        self._expected: set[object] = set()
        self._ended: list[str] = []
        self._next = 0
        self._aborted = False
        self._choice = choice
        self._passed: set[Frame] = set()
        self._waited = False

    def expect(self, who: object) -> None:
        """Somebody may `add` a channel later: until `give_up`, `gather` waits instead of ending."""
        with self.changed:
            self._expected.add(who)

    def add(self, source_id: str, channel: Channel[Frame]) -> None:
        """Take frames from this channel from now on. It must share `changed`.

        Waits until an earlier, closed channel of the same source is drained: its frames come first.
        """
        with self.changed:
            self.changed.wait_for(lambda: source_id not in self._channels or self._aborted)
            self._expected.discard(source_id)
            self._channels[source_id] = channel
            if self._aborted:
                channel.abort()
            self.changed.notify_all()

    def give_up(self, who: object) -> None:
        """Nothing more comes of the one that was expected."""
        with self.changed:
            self._expected.discard(who)
            self.changed.notify_all()

    def end(self, source_id: str) -> None:
        """A source ends without a channel: it never opened, or its channel is drained already."""
        with self.changed:
            if source_id not in self._channels:
                self._ended.append(source_id)
                self.changed.notify_all()

    def ended(self) -> list[str]:
        """Sources that have ended with the batches gathered so far; a source may be told more than once."""
        with self.changed:
            ended, self._ended = self._ended, []
            return ended

    def passed(self) -> set[Frame]:
        """Frames of the batches gathered so far that are not to be detected, each told once."""
        with self.changed:
            passed, self._passed = self._passed, set()
            return passed

    def depths(self) -> dict[str, QueueDepth]:
        """Frames that wait, by source."""
        with self.changed:
            return {name: QueueDepth(len(channel), channel.capacity) for name, channel in self._channels.items()}

    def gather(self) -> list[Frame]:
        """The next batch of 1 to `max_batch` frames; empty where a source has ended, all have, or after `abort`.

        Frames that are not to be detected (`passed`) stand in it at their place and do not count. Those of a live
        source come without any that are, since they must not wait for them.
        """
        batch: list[Frame] = []
        deadline = None
        with self.changed:
            self._waited = False
            while True:
                self._take_into(batch)
                if self._is_full(batch) or self._aborted:
                    return batch
                if batch:
                    if self._passed.issuperset(batch):
                        return batch
                    if deadline is None:
                        deadline = time.monotonic() + self.max_wait_s
                    left_s = deadline - time.monotonic()
                    if left_s <= 0 or self._finished():
                        return batch
                    self.changed.wait(left_s)
                else:
                    if self._finished() or self._ended:
                        return batch
                    self.changed.wait(self._choice.patience_s() if self._choice is not None else None)
                    self._waited = True

    def _is_full(self, batch: list[Frame]) -> bool:
        return sum(frame not in self._passed for frame in batch) == self.max_batch

    def _take_into(self, batch: list[Frame]) -> None:
        """Fill the batch from ready channels, one frame from each in turn, starting behind the last one served."""
        if not batch and self._take_passing(batch):
            return
        while not self._is_full(batch):
            names = list(self._channels)
            for offset in range(len(names)):
                position = (self._next + offset) % len(names)
                frame = self._take_from(self._channels[names[position]])
                if frame is not None:
                    batch.append(frame)
                    self._next = position + 1
                    break
            else:
                self._forget_finished()
                return

    def _take_passing(self, batch: list[Frame]) -> bool:
        """Fill the batch with frames of live sources that pass by; whether there are any."""
        choice = self._choice
        if choice is None or choice.every_nth is None:
            return False
        for channel in self._channels.values():
            while channel.policy is Policy.NEWEST and (frame := channel.peek()) is not None:
                if not choice.passes(frame, is_live=True, n_newer=len(channel) - 1):
                    break
                batch.append(frame)
                self._let_pass(channel, choice)
        return bool(batch)

    def _let_pass(self, channel: Channel[Frame], choice: FrameChoice) -> Frame | None:
        frame = channel.poll()
        if frame is not None:
            choice.let_pass(frame)
            self._passed.add(frame)
        return frame

    def _take_from(self, channel: Channel[Frame]) -> Frame | None:
        """The oldest frame of a channel, if its turn has come."""
        choice = self._choice
        frame = channel.peek() if choice is not None else None
        if choice is None or frame is None:
            return channel.poll()
        is_live = channel.policy is Policy.NEWEST
        if choice.passes(frame, is_live=is_live, n_newer=len(channel) - 1):
            return None if is_live else self._let_pass(channel, choice)
        # Nothing would come after the last frame of a source, and where others wait the detector has no time to lose.
        alone = is_live and not channel.closed and sum(len(other) > 0 for other in self._channels.values()) == 1
        if alone and not choice.takes(frame, waited=self._waited):
            return None
        choice.took(frame)
        return channel.poll()

    def _forget_finished(self) -> None:
        for name in [name for name, channel in self._channels.items() if channel.finished]:
            del self._channels[name]
            self._ended.append(name)
            self.changed.notify_all()

    def _finished(self) -> bool:
        return not self._expected and not self._channels

    def abort(self) -> list[Frame]:
        """Stop at once; later channels are aborted as they come. Returns the frames that nobody will get."""
        with self.changed:
            self._aborted = True
            left = [frame for channel in self._channels.values() for frame in channel.abort()]
            self.changed.notify_all()
            return left
