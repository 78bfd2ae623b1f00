"""What latency costs one source, without labels: what was shown, against what the same pipeline says later.

When a frame arrives, the last output that was shown stands for it. It was made from an older frame. Once the pipeline
has seen that frame, or frames before and after it, its own outputs tell where the objects were: that is taken for the
truth. A pipeline that is wrong offline is wrong on both sides here, so that what remains is the cost of its latency, as
a share of the accuracy that it would have without.

The rule of what stands when is that of streaming accuracy: Li, Wang and Ramanan, "Towards Streaming Perception"
(arXiv 2005.10420), section 3.1.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.arrays import IntArray
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.tracks import Tracks
from pipeline.streaming.between import Between, Said
from pipeline.streaming.loss_tally import LossTally
from pipeline.streaming.standing import Asked, Standing, count_missed, count_standing

LONGEST_GAP_S = 2.0
"""Nothing is said of the frames between two outputs that are further apart: nobody knows where objects were."""
RECENT_S = 30.0
"""In the recent figures, what was counted so long ago weighs 1/e."""
REMEMBERED = 512
"""Outputs that are kept until the frames are known at whose arrival they stood."""
KNOWN_IDS = 4096
"""Ids that are remembered as seen before; beyond that, the first ones are forgotten."""


@dataclass(slots=True)
class _Viewer:
    """One who is shown a source's outputs, in the order of time."""

    shown: deque[Standing] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    total: LossTally = field(default_factory=LossTally)
    recent: LossTally = field(default_factory=LossTally)


class SelfConsistency:
    """Counts what latency costs one source. `said` and `begin_anew` from one thread, the rest from any.

    All instants are on one clock. Memory is bounded: the last outputs are kept, frames are not.

    Args:
        viewers: names of those who are shown the outputs, each at instants of its own.
        frames_per_s: about how many frames are asked about; None = every one. They are drawn at uneven distances (the
            same ones in every run), for what stands has a rhythm of its own.
    """

    def __init__(self, *viewers: str, frames_per_s: float | None = None) -> None:
        self._every_ns = None if frames_per_s is None else 1e9 / frames_per_s
        self._due_ns = -math.inf
        self._judged_ns = 0
        self._draws = np.random.default_rng(0)
        self._lock = threading.Lock()
        self._viewers = {name: _Viewer() for name in viewers}
        self._last: Said | None = None
        self._first_said_ns: dict[int, int] = {}

    def shown(self, viewer: str, at_ns: int, index: int, captured_ns: int, tracks: Tracks) -> None:
        """A viewer is shown boxes; they stand until the next ones.

        Args:
            viewer: whom.
            at_ns: since when; what was shown last stands until then, so that an earlier instant counts as its own.
            index: number of the frame behind them.
            captured_ns: when that was captured.
            tracks: the boxes as they are shown, moved ahead where the run makes up for latency.
        """
        with self._lock:
            shown = self._viewers[viewer].shown
            shown.append(
                Standing(
                    at_ns=max(at_ns, shown[-1].at_ns) if shown else at_ns,
                    index=index,
                    captured_ns=captured_ns,
                    xyxy=tracks.xyxy,
                    confidence=tracks.confidence,
                    class_id=tracks.class_id,
                    track_id=tracks.track_id,
                )
            )

    def said(self, index: int, captured_ns: int, at_ns: int, tracks: Tracks) -> None:
        """What the pipeline says of a frame; it tells what was true since the frame of which it spoke last.

        Args:
            index: number of the frame in its source; counts every frame, dropped ones too.
            captured_ns: when the frame was captured.
            at_ns: now.
            tracks: the boxes of that frame, not moved.
        """
        after = Said(index, captured_ns, tracks.xyxy, tracks.class_id, tracks.track_id)
        before, self._last = self._last, after
        if before is not None and before.index < index and before.captured_ns < captured_ns:
            if captured_ns - before.captured_ns <= LONGEST_GAP_S * 1e9:
                self._judge(before, after)
            self._let_go(captured_ns)
        for track_id in tracks.track_id.tolist():
            self._first_said_ns.setdefault(track_id, at_ns)
        while len(self._first_said_ns) > KNOWN_IDS:
            del self._first_said_ns[next(iter(self._first_said_ns))]

    def begin_anew(self) -> None:
        """The scene is another one from here on: what was said and shown before tells nothing of it. Sums stay."""
        self._last = None
        self._due_ns = -math.inf
        self._first_said_ns.clear()
        with self._lock:
            for viewer in self._viewers.values():
                viewer.shown.clear()

    def cost(self, viewer: str, offline_ap50: float | None = None, *, recent: bool = False) -> LatencyCost | None:
        """What latency costs a viewer; None before the first frame that could be judged.

        Args:
            viewer: who.
            offline_ap50: AP50 that the pipeline reaches on such footage without latency, 0 to 1; None = not known.
            recent: of the last RECENT_S or so, not since the beginning.
        """
        with self._lock:
            one = self._viewers[viewer]
            tally = one.recent if recent else one.total
            return tally.cost(offline_ap50) if one.total.frames else None

    def _judge(self, before: Said, after: Said) -> None:
        """Ask about frames from one output's to the next one's, that one left out."""
        n_frames = after.index - before.index
        gap_ns = after.captured_ns - before.captured_ns
        # Frames that were dropped arrived in between, evenly.
        arrived_ns = before.captured_ns + np.arange(n_frames) * gap_ns // n_frames
        number = self._drawn(arrived_ns)
        if not len(number):
            return
        arrived_ns = arrived_ns[number]
        between = Between(before, after)
        xyxy, present = between.at(number / n_frames)
        kept = math.exp((self._judged_ns - after.captured_ns) / 1e9 / RECENT_S)
        self._judged_ns = after.captured_ns
        for viewer in self._viewers.values():
            with self._lock:
                shown = list(viewer.shown)
            if not shown:
                continue
            standing = np.searchsorted([one.at_ns for one in shown], arrived_ns, side="right") - 1
            tally = LossTally()
            for k in sorted(set(standing.tolist())):
                of_k = standing == k
                asked = Asked(before.index + number[of_k], arrived_ns[of_k], xyxy[of_k], present[of_k])
                if k >= 0:
                    count_standing(tally, shown[k], between, asked, self._first_said_ns)
                elif len(shown) < REMEMBERED:
                    count_missed(tally, asked)
            with self._lock:
                viewer.total.add(tally)
                viewer.recent.add(tally, kept)

    def _drawn(self, arrived_ns: IntArray) -> IntArray:
        """Which of the frames that arrived at these instants are asked about."""
        if self._every_ns is None:
            return np.arange(len(arrived_ns))
        drawn = []
        for number, at_ns in enumerate(arrived_ns.tolist()):
            if at_ns >= self._due_ns:
                drawn.append(number)
                self._due_ns = at_ns + self._every_ns * self._draws.uniform(0.5, 1.5)
        return np.array(drawn, np.int64)

    def _let_go(self, until_ns: int) -> None:
        """Forget what was replaced before the next frame that will be asked about arrived."""
        with self._lock:
            for viewer in self._viewers.values():
                while len(viewer.shown) > 1 and viewer.shown[1].at_ns <= until_ns:
                    viewer.shown.popleft()
