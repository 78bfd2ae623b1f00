"""What analytics say of a source does not hang on the batches its frames went through, nor on the other sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import LineConfig, SourceRules, ZoneConfig
from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from tracker.bytetrack import ByteTrackConfig, ByteTracker

pytestmark = pytest.mark.timeout(60)

N_FRAMES = 150
PEOPLE = 10
HW = (360, 640)
RULES = SourceRules(
    lines=(
        LineConfig(name="across", points=((0, 0.5), (1, 0.5))),
        LineConfig(name="slope", points=((0.2, 0.1), (0.7, 0.9))),
    ),
    zones=(ZoneConfig(name="middle", polygon=((0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)), crowd=2),),
)


@dataclass
class Pictures:
    """Frames that show nothing: the detector knows what there is by their numbers."""

    source_id: str
    counters: dict[str, int] = field(default_factory=dict)
    _index: int = 0

    def open(self) -> StreamInfo:
        return StreamInfo(self.source_id, HW[1], HW[0], 25.0, False, N_FRAMES)

    def read(self) -> Frame | None:
        index, self._index = self._index, self._index + 1
        if index == N_FRAMES:
            return None
        # The media times of b are uneven.
        pts_s = index / 25 + (0.01 * (index % 3) if self.source_id == "b" else 0)
        image = np.broadcast_to(np.zeros(1, np.uint8), (*HW, 3))
        return Frame(self.source_id, index, image, pts_s, index * 40_000_000, CaptureClock.FILE)

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class Seer:
    """People who wander about, some of them not seen now and then."""

    class_names = ("person",)

    def __init__(self) -> None:
        self.sizes: set[int] = set()
        self._places = {}
        for seed, name in enumerate("abc"):
            rng = np.random.default_rng(seed)
            steps = np.cumsum(rng.normal(0, 1.0, (N_FRAMES, PEOPLE, 2)), axis=0)
            steps += np.arange(N_FRAMES)[:, None, None] * rng.normal(0, 2, (PEOPLE, 2))
            # To and fro between the edges.
            place = np.abs((rng.uniform(0, 1, (PEOPLE, 2)) * [640, 360] + steps) % [1280, 720] - [640, 360])
            self._places[name] = place, rng.random((N_FRAMES, PEOPLE)) > 0.1

    def warmup(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.sizes.add(len(frames))
        found = []
        for frame in frames:
            places, seen = self._places[frame.source_id]
            foot = places[frame.index][seen[frame.index]]
            boxes = np.concatenate([foot - [10, 40], foot + np.array([10, 0])], axis=1).astype(np.float32)
            found.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64)))
        return found

    def close(self) -> None: ...


@dataclass
class Notebook:
    """What was said of each source."""

    needs_image: bool = False
    needs_main_thread: bool = False
    is_live: bool = False
    shared: bool = True
    said: dict[str, list[Any]] = field(default_factory=dict)

    def open(self, info: StreamInfo) -> None:
        self.said[info.source_id] = []

    def write(self, result: FrameResult) -> None:
        assert result.scene is not None
        now = [event.to_json() for event in result.events]
        self.said[result.frame.source_id].append((now, result.scene.crossings.tolist(), result.scene.visits.tolist()))

    def end_source(self, closing: Closing) -> None:
        self.said[closing.source_id].append([event.to_json() for event in closing.events])

    def close(self) -> None: ...


def run(names: str, settings: RunnerSettings) -> tuple[dict[str, list[Any]], set[int]]:
    seer, notebook = Seer(), Notebook()
    Runner(
        [Pictures(name) for name in names],
        seer,
        lambda info: ByteTracker(ByteTrackConfig()),
        [SinkBinding("notebook", notebook)],
        settings,
        analyst_factory=lambda info: RuleAnalyst(RULES, info, seer.class_names),
    ).run()
    return notebook.said, seer.sizes


def test_batches_and_other_sources_change_nothing() -> None:
    alone: dict[str, list[Any]] = {}
    for name in "abc":
        said, sizes = run(name, RunnerSettings(max_batch=1))
        alone |= said
        assert sizes == {1}
    kinds = {event["kind"] for said in alone.values() for now, _, _ in said[:-1] for event in now}
    assert kinds == {"object", "crossing", "visit", "crowding"}
    together, sizes = run("abc", RunnerSettings(max_batch=8, batch_wait_s=0.002))
    assert max(sizes) > 1
    assert together == alone
