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

import pytest

from pipeline.api import stream
from pipeline.core.event import Event

UP = [[0.5, 0.9], [0.5, 0.1]]
PICTURE = [[0, 0], [1, 0], [1, 1], [0, 1]]
RULES = {
    "anchor": "center",
    "speed_window_s": 0.6,
    "lines": [{"name": "road", "points": [[0, 0.4], [1, 0.4]], "label_in": "down", "label_out": "up"}],
    "zones": [{"name": "park", "polygon": PICTURE, "motion": {"direction": UP}}],
}


@dataclass(frozen=True)
class Told:
    """What the rules said of the clip."""

    events: list[Event]
    crossings: list[int]
    objects: int


def told(data_dir: Path, weights: Path | None, detector: dict[str, Any], tracker: dict[str, Any]) -> Told:
    settings = {"detector": detector, "tracker": tracker, "analytics": {"sources": {"*": RULES}}}
    events, scene = [], None
    for result in stream(data_dir / "clips" / "car-detection.mp4", weights=weights, settings=settings):
        events += result.events
        scene = result.scene
    assert scene is not None
    return Told(events, scene.crossings[0].tolist(), sum(scene.n_objects.values()))


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
    """Exact: four cars, two crossings either way, and the two cars that drive against the direction."""
    weights = data_dir / "weights" / "yolox_nano.pth"
    result = told(data_dir, weights, {"agnostic_nms": True}, {"per_class": False})
    print(result.crossings, result.objects, when(result.events, "crossing"), when(result.events, "wrong_way"))
    assert result.objects == 4
    assert result.crossings == [2, 2]
    assert all(0 <= frames <= 3 for frames in late(when(result.events, "crossing")))
    wrong = when(result.events, "wrong_way")
    assert len(wrong) == 2
    assert 197 <= wrong[0][0] <= 228
    assert 325 <= wrong[1][0] <= 346


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
    print(result.crossings, result.objects, when(result.events, "crossing"), when(result.events, "wrong_way"))
    assert result.crossings == [2, 2]
    assert all(0 <= frames <= 6 for frames in late(when(result.events, "crossing")))
    assert 4 <= result.objects <= 7
    assert len(when(result.events, "wrong_way")) == 2
    assert set(Counter(event.class_name for event in result.events)) <= {"car", "truck", "bus"}
