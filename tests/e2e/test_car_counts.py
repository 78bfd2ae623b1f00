"""Cars on a real clip, counted by hand and by the rules.

By hand: contact sheets of every fourth frame of car-detection.mp4 (overhead view of a car park's exit, 377 frames,
12.5 frames/s) were looked at. Four cars pass, each once through the whole picture, never one behind another:

| car | in view, frames | goes |
|---|---|---|
| white, hatchback | 55 to 108 | up |
| silver | 180 to 228 | down |
| red | 188 to 237 | up |
| white, sports car | 315 to 346 | down |

So a line across the road is crossed twice either way, and where up is the right way, the silver and the white sports
car go wrong.

Both models were trained on pictures from eye height; seen from above, a car is a `cell phone` to YOLOX-nano and often
a `bus` to the default model. So no class is asked for, and an object keeps its id when its class changes. The line lies
where both models see all of a car.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import GroundPlaneConfig
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.api import stream
from pipeline.core.event import Event

PICTURE_PX = [[0, 0], [768, 0], [768, 432], [0, 432]]
RULES = {
    "anchor": "center",
    "lines": [{"name": "road", "points": [[0, 0.4], [1, 0.4]], "label_in": "down", "label_out": "up"}],
}


@dataclass(frozen=True)
class Told:
    """What the rules said of the clip."""

    events: list[Event]
    crossings: list[int]
    objects: int


def told(
    data_dir: Path, weights: Path | None, detector: dict[str, Any], tracker: dict[str, Any], rules: Any = RULES
) -> Told:
    settings = {"detector": detector, "tracker": tracker, "analytics": {"sources": {"*": rules}}}
    events, scene = [], None
    for result in stream(data_dir / "clips" / "car-detection.mp4", weights=weights, settings=settings):
        events += result.events
        scene = result.scene
    assert scene is not None
    return Told(events, scene.crossings.sum(axis=0).tolist(), sum(scene.n_objects.values()))


def when(events: list[Event], kind: str) -> list[tuple[int, str]]:
    """Frames at which events of a kind begin, and which way crossings go."""
    return [(e.frame, str(e.values.get("label", ""))) for e in events if e.kind == kind and e.phase != "end"]


def late(found: list[tuple[int, str]]) -> list[int]:
    """How many frames after the moment that a person sees each crossing is told."""
    assert [way for _, way in found] == [way for _, way in CROSSINGS]
    return [frame - by_hand for (frame, _), (by_hand, _) in zip(found, CROSSINGS, strict=True)]


CROSSINGS = [(83, "up"), (203, "down"), (215, "up"), (330, "down")]
"""Frames at which, in the pictures, the middle of a car is on the line. It is told once the car is 15 px beyond it,
which takes 2 or 3 frames at these speeds, and some more where the box is not the car's."""


@pytest.mark.reference
@pytest.mark.slow
def test_yolox_nano_counts_the_cars_as_people_do(data_dir: Path) -> None:
    """Exact: four cars, and two crossings either way."""
    weights = data_dir / "weights" / "yolox_nano.pth"
    result = told(data_dir, weights, {"agnostic_nms": True}, {"per_class": False})
    print(result.crossings, result.objects, when(result.events, "crossing"))
    assert result.objects == 4
    assert result.crossings == [2, 2]
    assert all(0 <= frames <= 3 for frames in late(when(result.events, "crossing")))


@pytest.mark.reference
@pytest.mark.slow
def test_the_default_model_counts_crossings_but_too_many_cars(data_dir: Path) -> None:
    """With lower scores, as it is unsure from above: crossings are exact, but 7 objects are told for 4 cars.

    It loses a car that is cut by the picture's edge for longer than a gap that is stitched. With its usual scores it
    sees two of the cars, for half a second each.
    """
    lower = {"per_class": False, "high_score": 0.2, "new_track_score": 0.3}
    vehicles = {"agnostic_nms": True, "classes": ["car", "truck", "bus"]}
    result = told(data_dir, None, vehicles, lower)
    print(result.crossings, result.objects, when(result.events, "crossing"))
    assert result.crossings == [2, 2]
    assert all(0 <= frames <= 6 for frames in late(when(result.events, "crossing")))
    assert 4 <= result.objects <= 7
    assert set(Counter(event.class_name for event in result.events)) <= {"car", "truck", "bus"}


CORNERS = [[0, 432], [768, 432], [768, 0], [0, 0]]
ON_THE_GROUND = [[-3.92, 0], [3.92, 0], [5.8, 7.4], [-5.8, 7.4]]
"""From the sports car, 4.97 m by 1.93 m: in the pictures it is 137 px wide at the top and 164 px at y = 366, and 314 px
long."""

BUMPER = {324: (240, 167), 328: (245, 245), 332: (235, 366)}
"""Where its front bumper is, by frame, read off the pictures (px). Speeds in between: 15 and 19 km/h on that ground."""


@pytest.mark.reference
@pytest.mark.slow
def test_speeds_are_those_of_the_bumper_and_two_cars_go_the_wrong_way(data_dir: Path) -> None:
    """Told at frame 332 for the 0.6 s before: 17 km/h by hand, within 10 % by the rules.

    Up is the right way, so the silver and the white sports car go wrong. The silver one leaves the picture from frame
    212 on: its box then ends at the picture's edge, give or take a few pixels, and stands still. That is no stop.
    """
    rules = {
        "units": "px",
        "speed_window_s": 0.6,
        "ground_plane": {"image": CORNERS, "world_m": ON_THE_GROUND},
        "zones": [
            {
                "name": "park",
                "polygon": PICTURE_PX,
                "motion": {
                    "max_speed": 10,
                    "direction": [[384, 400], [384, 40]],
                    "stopped_s": 0.2,
                    "sudden_stop_from": 8,
                },
            }
        ],
    }
    weights = data_dir / "weights" / "yolox_nano.pth"
    result = told(data_dir, weights, {"agnostic_nms": True}, {"per_class": False}, rules)
    config = GroundPlaneConfig(image=CORNERS, world_m=ON_THE_GROUND)
    places = GroundPlane(config, np.array(CORNERS, float)).to_world(np.array(list(BUMPER.values()), float))
    by_hand = float(np.linalg.norm(places[-1] - places[0])) / (8 / 12.5) * 3.6
    assert by_hand == pytest.approx(17, abs=0.5)
    speeding = [event for event in result.events if event.kind == "speeding"]
    fastest = max(float(event.values["peak"]) for event in speeding if event.frame > 320)
    print(by_hand, fastest, when(result.events, "stopped"), when(result.events, "sudden_stop"))
    assert fastest == pytest.approx(by_hand, rel=0.1)
    assert when(result.events, "stopped") == []
    assert when(result.events, "sudden_stop") == []
    wrong = [frame for frame, _ in when(result.events, "wrong_way")]
    assert len(wrong) == 2
    assert 197 <= wrong[0] <= 228
    assert 325 <= wrong[1] <= 346
