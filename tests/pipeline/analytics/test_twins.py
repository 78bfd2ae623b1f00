"""The compiled and the NumPy build tell the same, bit for bit, whatever comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import (
    GroundPlaneConfig,
    HeatmapConfig,
    LineConfig,
    MotionConfig,
    SourceRules,
    StitchConfig,
    ZoneConfig,
)
from pipeline.analytics.kernels import is_built, load_kernels
from pipeline.core.errors import UsageError
from pipeline.core.event import Event
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.scene import Scene
from pipeline.core.tracks import Tracks

pytestmark = pytest.mark.skipif(not is_built(), reason="the analytics' extensions are not built (pip install -e .)")

NAMES = ("person", "car", "bicycle")
PLANE = GroundPlaneConfig(
    image=((0.1, 0.95), (0.9, 0.95), (0.7, 0.35), (0.3, 0.35)), world_m=((0, 0), (12, 0), (12, 30), (0, 30))
)
MOTION = MotionConfig(
    max_speed=10.0, direction=((0.2, 0.6), (0.8, 0.6)), stopped_s=0.5, sudden_stop_from=8.0, sudden_stop_s=0.5
)


def rules_of(seed: int, n_lines: int, n_zones: int, **settings: Any) -> SourceRules:
    """Random lines and stars, some of them for one class or with bands and times of their own."""
    rng = np.random.default_rng(seed)

    def classes() -> tuple[str, ...]:
        return (str(rng.choice(NAMES)),) if rng.random() < 0.3 else ()

    lines = [
        LineConfig(
            name=f"line {i}",
            points=tuple(map(tuple, rng.uniform(0, 1, (2, 2)).round(2).tolist())),
            classes=classes(),
            band_px=rng.choice([None, 0.0, 3.0]),
        )
        for i in range(n_lines)
    ]
    zones = []
    for i in range(n_zones):
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        reach = rng.uniform(0.05, 0.3, len(turns))[:, None]
        corners = np.clip(rng.uniform(0.2, 0.8, 2) + reach * np.stack([np.cos(turns), np.sin(turns)], axis=1), 0, 1)
        zones.append(
            ZoneConfig(
                name=f"zone {i}",
                polygon=tuple(map(tuple, corners.tolist())),
                classes=classes(),
                band_px=rng.choice([None, 0.0, 5.0]),
                grace_s=float(rng.choice([0.1, 0.5])),
                min_visit_s=float(rng.choice([0.0, 0.2])),
                loiter_s=rng.choice([None, 0.4]),
                crowd=[None, 1, 3][rng.integers(3)],
                crowd_s=0.1,
                empty_s=rng.choice([None, 0.3]),
                motion=MOTION if rng.random() < 0.5 else None,
            )
        )
    return SourceRules(lines=tuple(lines), zones=tuple(zones), **settings)


class Wanderers:
    """Tracks that wander, stand, vanish, and come back under their own id or another.

    Args:
        seed: of the random numbers.
        n: how many there are.
        grid_px: boxes lie on a grid this wide, so that points lie on lines and outlines; 0 for none.
    """

    def __init__(self, seed: int, n: int, grid_px: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.grid_px = grid_px
        self.ids = np.arange(1, n + 1)
        self.class_id = self.rng.integers(0, 4, n)
        self.at = self.rng.uniform(0, [640, 360], (n, 2))
        self.size = self.rng.uniform(10, 80, (n, 2))
        self.velocity = self.rng.normal(0, 6, (n, 2))
        self.here = np.ones(n, bool)

    def step(self, hw: tuple[int, int]) -> Tracks:
        """The next frame, in a picture of this size."""
        rng, n = self.rng, len(self.ids)
        turns = rng.random(n) < 0.05
        self.velocity[turns] = rng.normal(0, 6, (int(turns.sum()), 2)) * rng.integers(0, 2, (int(turns.sum()), 1))
        self.at += self.velocity
        far = ((self.at < -50) | (self.at > [690, 410])).any(axis=1)
        self.at[far] = rng.uniform(0, [640, 360], (int(far.sum()), 2))
        back = ~self.here & (rng.random(n) < 0.2)
        renamed = back & (rng.random(n) < 0.6)
        self.ids[renamed] = self.ids.max(initial=0) + 1 + np.arange(int(renamed.sum()))
        self.here = (self.here & (rng.random(n) > 0.04)) | back
        rows = rng.permutation(np.flatnonzero(self.here))
        xyxy = np.concatenate([self.at - self.size / 2, self.at + self.size / 2], axis=1)[rows]
        if self.grid_px:
            xyxy = np.round(xyxy / self.grid_px) * self.grid_px
        xyxy *= np.tile([hw[1] / 640, hw[0] / 360], 2)
        class_id = np.where(rng.random(len(rows)) < 0.2, rng.integers(0, 4, len(rows)), self.class_id[rows])
        return Tracks(
            xyxy.astype(np.float32),
            np.ones(len(rows), np.float32),
            class_id,
            self.ids[rows],
            np.where(rng.random(len(rows)) < 0.1, -1, np.arange(len(rows))),
        )


def told(scene: Scene) -> tuple[Any, ...]:
    """A scene in plain values."""
    heat = b"" if scene.heatmap is None else scene.heatmap.tobytes()
    arrays = scene.crossings, scene.occupancy, scene.visits, scene.alarms
    return *(array.tolist() for array in arrays), dict(scene.n_objects), dict(scene.notes), heat


def check_alike(rules: SourceRules, info: StreamInfo, frames: Iterable[tuple[Frame, Tracks]]) -> list[Event]:
    """Feed frames to both builds: all that they say is equal. The events."""
    a, b = (RuleAnalyst(rules, info, NAMES, load_kernels(name)) for name in ("cython", "numpy"))
    every: list[Event] = []
    for frame, tracks in frames:
        (events, scene), (others, other) = a.update(frame, tracks), b.update(frame, tracks)
        assert events == others
        assert told(scene) == told(other)
        every += events
    ends, other_ends = a.finish(), b.finish()
    assert ends.events == other_ends.events
    assert ends.summary == other_ends.summary
    if ends.heatmap is not None and other_ends.heatmap is not None:
        assert ends.heatmap.presence_s.tobytes() == other_ends.heatmap.presence_s.tobytes()
        assert ends.heatmap.flow_px_s.tobytes() == other_ends.heatmap.flow_px_s.tobytes()
    return [*every, *ends.events]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16),
    n_lines=st.sampled_from([0, 1, 7]),
    n_zones=st.sampled_from([0, 1, 7]),
    n=st.sampled_from([0, 1, 12, 70]),
    grid_px=st.sampled_from([0, 1, 20]),
    clock=st.sampled_from(["even", "slow", "jitter", "gaps", "stands"]),
    sizes=st.booleans(),
    anchor=st.sampled_from(["bottom_center", "center", "top_center"]),
    plane=st.booleans(),
    heat=st.sampled_from([None, HeatmapConfig(columns=16), HeatmapConfig(columns=9, classes=("car",))]),
    stitch=st.booleans(),
)
def test_random_footage(
    seed: int,
    n_lines: int,
    n_zones: int,
    n: int,
    grid_px: int,
    clock: str,
    sizes: bool,
    anchor: Any,
    plane: bool,
    heat: Any,
    stitch: bool,
    make_frame: Callable[..., Frame],
    make_info: Callable[..., StreamInfo],
) -> None:
    rules = rules_of(
        seed,
        n_lines,
        n_zones,
        anchor=anchor,
        ground_plane=PLANE if plane else None,
        heatmap=heat,
        stitch=StitchConfig(enabled=stitch),
        forget_s=0.8,
        speed_window_s=0.5,
    )
    rng, film = np.random.default_rng(seed), Wanderers(seed, n, grid_px)
    frames, now_s = [], 0.0
    for index in range(60):
        hw = (180, 320) if sizes and 20 <= index < 40 else (360, 640)
        now_s += {
            "even": 1 / 30,
            "slow": 0.21,
            "jitter": rng.uniform(0, 0.1),
            "gaps": rng.choice([1 / 30, 0.4, 3.0], p=[0.9, 0.07, 0.03]),
            "stands": rng.choice([0.0, 1 / 15]),
        }[clock]
        frames.append((make_frame(index, now_s, hw), film.step(hw)))
    check_alike(rules, make_info((360, 640)), frames)


def test_everything_happens_in_random_footage(make_frame: Callable[..., Frame], make_info: Callable[..., Any]) -> None:
    """The comparison above would be worth nothing if nothing happened."""
    film = Wanderers(1, 70, 0)
    frames = [(make_frame(index, index / 30, (360, 640)), film.step((360, 640))) for index in range(300)]
    rules = rules_of(1, 7, 12, ground_plane=PLANE, heatmap=HeatmapConfig(), forget_s=0.8, speed_window_s=0.3)
    kinds = {str(event.kind) for event in check_alike(rules, make_info((360, 640)), frames)}
    assert kinds >= {
        *("object", "crossing", "visit", "loitering", "crowding", "empty", "speeding", "wrong_way", "stopped"),
        "sudden_stop",
    }


@pytest.mark.parametrize("holes", [False, True])
def test_mot17(mot17: Callable[..., Any], sequence: str, holes: bool) -> None:
    footage = mot17(sequence, drop=0.1 if holes else 0.0, break_ids=holes)
    rules = rules_of(3, 20, 20, ground_plane=PLANE, heatmap=HeatmapConfig(columns=64))
    assert len(check_alike(rules, footage.info, footage)) > 300


def test_classes_below_zero_are_refused_by_both(
    make_frame: Callable[..., Frame], make_info: Callable[..., Any], make_tracks: Callable[..., Tracks]
) -> None:
    for name in ("cython", "numpy"):
        analyst = RuleAnalyst(SourceRules(), make_info(), NAMES, load_kernels(name))
        with pytest.raises(UsageError, match="wanted 0 or more, found -1"):
            analyst.update(make_frame(0, 0.0), make_tracks([1, 2], [[10, 90], [50, 90]], [-1, 0]))


def test_an_unknown_build_is_refused() -> None:
    with pytest.raises(UsageError, match="wanted one of cython, numpy, found 'rust'"):
        load_kernels("rust")
