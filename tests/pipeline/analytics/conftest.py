"""What tests of rules share: frames without pictures, tracks, and MOT17's ground truth as a perfect tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from pipeline.analytics.config import SourceRules, ZoneConfig
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.zones import Zones
from pipeline.core.event import Event
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.tracks import Tracks
from pipeline.evaluation.mot_text import read_mot, read_seqinfo

MOT17 = ("MOT17-02", "MOT17-04", "MOT17-05", "MOT17-09", "MOT17-10", "MOT17-11", "MOT17-13")
PEDESTRIAN = 1
CLASS_NAMES = ("person", "car", "bicycle")


def blank(shape_hw: tuple[int, int]) -> np.ndarray:
    """A picture of any size that takes no memory."""
    return np.broadcast_to(np.zeros(1, np.uint8), (*shape_hw, 3))


@dataclass(frozen=True)
class Footage:
    """What a tracker says about footage, frame by frame, without the pictures."""

    info: StreamInfo
    frames: tuple[tuple[Frame, Tracks], ...]

    def __iter__(self) -> Iterator[tuple[Frame, Tracks]]:
        return iter(self.frames)

    @property
    def shape_hw(self) -> tuple[int, int]:
        return self.info.height_px, self.info.width_px


@pytest.fixture(scope="session")
def class_names() -> tuple[str, ...]:
    return CLASS_NAMES


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., Frame]:
    """Makes a Frame without a picture; a live one where `pts_s` is None and `captured_ns` is given."""

    def make(
        index: int,
        pts_s: float | None,
        shape_hw: tuple[int, int] = (720, 1280),
        captured_ns: int | None = None,
        source_id: str = "cam",
    ) -> Frame:
        ns = round((pts_s if pts_s is not None else index / 30) * 1e9) if captured_ns is None else captured_ns
        return Frame(source_id, index, blank(shape_hw), pts_s, ns, CaptureClock.FILE)

    return make


@pytest.fixture(scope="session")
def make_info() -> Callable[..., StreamInfo]:
    def make(
        shape_hw: tuple[int, int] = (720, 1280),
        fps: float | None = 30.0,
        is_live: bool = False,
        source_id: str = "cam",
    ) -> StreamInfo:
        return StreamInfo(source_id, shape_hw[1], shape_hw[0], fps, is_live, None)

    return make


@pytest.fixture(scope="session")
def make_tracks() -> Callable[..., Tracks]:
    """Makes Tracks from ids and boxes (k, 4), or from ids and bottom centres (k, 2) of boxes 40 px x 80 px."""

    def make(
        ids: list[int] | np.ndarray,
        places: object,
        class_id: int | list[int] = 0,
        predicted: bool | list[bool] = False,
    ) -> Tracks:
        ids = np.asarray(ids, np.int64)
        places = np.asarray(places, np.float64).reshape(len(ids), -1 if len(ids) else 4)
        if places.shape[1] == 2:
            places = np.concatenate([places - np.array([20, 80]), places + np.array([20, 0])], axis=1)
        n = len(ids)
        return Tracks(
            places.astype(np.float32).reshape(n, 4),
            np.ones(n, np.float32),
            np.broadcast_to(np.asarray(class_id, np.int64), n).copy(),
            ids,
            np.where(np.broadcast_to(predicted, n), -1, np.arange(n)),
        )

    return make


@pytest.fixture(scope="session", params=MOT17)
def sequence(request: pytest.FixtureRequest) -> str:
    """Each sequence of MOT17 in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def mot17(data_dir: Path) -> Callable[..., Footage]:
    """Gives the pedestrians of a sequence's ground truth, as a perfect tracker would.

    Options: `drop`, the part of the boxes left out at random (seeded); `break_ids`, whether each run of sightings
    between two holes gets an id of its own; `every`, to take only each n-th frame. What ground truth itself leaves out
    is a hole for `break_ids` only where something is dropped, so that truth stays one object.
    """
    rows_of = {}

    def load(name: str, *, drop: float = 0.0, break_ids: bool = False, every: int = 1, seed: int = 0) -> Footage:
        folder = data_dir / "mot17" / name
        if name not in rows_of:
            rows_of[name] = read_mot(folder / "gt" / "gt.txt"), read_seqinfo(folder / "seqinfo.ini")
        rows, info = rows_of[name]
        counts = (rows.confidence > 0) & (rows.class_id == PEDESTRIAN)
        counts &= (rows.frame - 1) % every == 0
        keep = counts & (np.random.default_rng(seed).random(len(counts)) >= drop)
        frame, ids = rows.frame[keep], rows.track_id[keep]
        if break_ids:
            ids = _ids_by_run(frame, ids, rows.frame[counts & ~keep], rows.track_id[counts & ~keep])
        xyxy = np.concatenate([rows.ltwh[keep, :2], rows.ltwh[keep, :2] + rows.ltwh[keep, 2:]], axis=1)
        order = np.argsort(frame, kind="stable")
        bounds = np.searchsorted(frame[order], np.arange(1, info.n_frames + 2))
        picture = blank((info.height_px, info.width_px))
        frames = []
        for index in range(0, info.n_frames, every):
            at = order[bounds[index] : bounds[index + 1]]
            n = len(at)
            tracks = Tracks(
                xyxy[at].astype(np.float32), np.ones(n, np.float32), np.zeros(n, np.int64), ids[at], np.arange(n)
            )
            pts_s = index / info.fps
            frames.append((Frame(name, index, picture, pts_s, round(pts_s * 1e9), CaptureClock.FILE), tracks))
        stream = StreamInfo(name, info.width_px, info.height_px, info.fps / every, False, len(frames))
        return Footage(stream, tuple(frames))

    return load


def _ids_by_run(frame: np.ndarray, ids: np.ndarray, lost_frame: np.ndarray, lost_ids: np.ndarray) -> np.ndarray:
    """A new id wherever a box was lost since the sighting before: as a tracker that never finds anything again."""
    events = np.concatenate(
        [np.stack([ids, frame, np.zeros_like(ids)]), np.stack([lost_ids, lost_frame, np.ones_like(lost_ids)])], axis=1
    )
    order = np.lexsort((events[1], events[0]))
    who, _, lost = events[:, order]
    run = np.cumsum(lost)
    fresh = np.ones(len(who), bool)
    fresh[1:] = (who[1:] != who[:-1]) | (run[1:] != run[:-1])
    number = np.empty(len(who), np.int64)
    number[order] = np.cumsum(fresh)
    return number[: len(ids)]


@dataclass
class WatchedZones:
    """Zones with the objects that they watch, told frame by frame where each id stands."""

    zones: Zones
    objects: ObjectTable
    make_frame: Callable[..., Frame]
    make_tracks: Callable[..., Tracks]
    shape_hw: tuple[int, int]
    events: list[Event] = field(default_factory=list)
    n_frames: int = 0

    def at(self, time_s: float, places: Mapping[int, tuple[float, float]], class_id: int = 0) -> list[Event]:
        """The next frame: bottom centres by id (px). What happened at it."""
        tracks = self.make_tracks(list(places), list(places.values()), class_id) if places else Tracks.empty()
        return self.see(self.make_frame(self.n_frames, time_s, self.shape_hw), tracks, time_s)

    def see(self, frame: Frame, tracks: Tracks, time_s: float) -> list[Event]:
        """The next frame, as a tracker tells it."""
        self.n_frames += 1
        told = list(self.zones.update(self.objects.see(frame, tracks, time_s)))
        self.events += told
        return told

    def finish(self) -> list[Event]:
        """The footage has ended. All events of it."""
        self.events += self.zones.finish()
        return self.events


@pytest.fixture(scope="session")
def watch_zones(make_frame: Callable[..., Frame], make_tracks: Callable[..., Tracks]) -> Callable[..., WatchedZones]:
    """Makes zones that are watched, in pixels."""

    def make(
        *zones: ZoneConfig, shape_hw: tuple[int, int] = (720, 1280), source_id: str = "cam", **settings: object
    ) -> WatchedZones:
        rules = SourceRules(zones=zones, **{"units": "px", **settings})
        objects = ObjectTable(rules)
        watched = Zones(rules, CLASS_NAMES, objects, EventMaker(source_id, CLASS_NAMES, objects))
        watched.place(shape_hw)
        return WatchedZones(watched, objects, make_frame, make_tracks, shape_hw)

    return make
