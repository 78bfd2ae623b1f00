from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from pipeline.analytics.checks import check_classes, check_rules
from pipeline.analytics.config import SourceRules
from pipeline.config.analytics import analytics_config
from pipeline.core.errors import ConfigError

SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
LINE = {"name": "door", "points": [[0.1, 0.5], [0.9, 0.5]]}
HALL = {"name": "hall", "polygon": SQUARE}
PLANE = {"image": [[0.2, 0.9], [0.8, 0.9], [0.6, 0.3], [0.4, 0.3]], "world_m": [[0, 0], [10, 0], [10, 30], [0, 30]]}


def rules(**values: Any) -> SourceRules:
    made: SourceRules = TypeAdapter(SourceRules).validate_python(values)
    return made


def zone(polygon: list[list[float]]) -> dict[str, Any]:
    return {"zones": [{"name": "hall", "polygon": polygon}]}


def motion(**values: Any) -> dict[str, Any]:
    return {"zones": [{**HALL, "motion": values}]}


REFUSED = {
    "line of one point": (
        {"lines": [{"name": "door", "points": [[0.5, 0.5], [0.5, 0.5]]}]},
        "cam: line 'door': wanted two different ends, found (0.5, 0.5) twice",
    ),
    "line outside": (
        {"lines": [{"name": "door", "points": [[0.5, 0.5], [640, 360]]}]},
        "cam: line 'door': wanted fractions of the picture from 0 to 1, found (640, 360); correct it, or say units: px "
        "if these are pixels",
    ),
    "line left of the picture": (
        {"units": "px", "lines": [{"name": "door", "points": [[5, 5], [-1, 9]]}]},
        "cam: line 'door': wanted pixels inside the picture, found (-1, 9); the least is 0",
    ),
    "two lines of one name": (
        {"lines": [LINE, LINE]},
        "cam: wanted each name once among lines and zones, found 'door' twice; rename one",
    ),
    "line and zone of one name": (
        {"lines": [LINE], "zones": [{"name": "door", "polygon": SQUARE}]},
        "cam: wanted each name once among lines and zones, found 'door' twice; rename one",
    ),
    "name that is taken": (
        {"lines": [{**LINE, "name": "objects"}]},
        "cam: wanted another name than 'objects', which is what unique objects' events have",
    ),
    "polygon that crosses itself": (
        zone([[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]),
        "cam: zone 'hall': wanted edges that don't cross, found that those from corner 1 to 2 and from 3 to 4 do; "
        "put the corners in order",
    ),
    "polygon whose last edge crosses": (
        zone([[0.5, 0.1], [0.9, 0.9], [0.1, 0.9], [0.2, 0.5], [0.95, 0.5]]),
        "cam: zone 'hall': wanted edges that don't cross, found that those from corner 1 to 2 and from 4 to 5 do; "
        "put the corners in order",
    ),
    "corner on another edge": (
        zone([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.1], [0.1, 0.9]]),
        "cam: zone 'hall': wanted edges that don't cross, found that those from corner 1 to 2 and from 3 to 4 do; "
        "put the corners in order",
    ),
    "edge that runs back": (
        zone([[0.1, 0.1], [0.9, 0.1], [0.4, 0.1], [0.5, 0.9]]),
        "cam: zone 'hall': wanted edges that don't cross, found that those from corner 1 to 2 and from 2 to 3 do; "
        "put the corners in order",
    ),
    "last edge runs back": (
        zone([[0.5, 0.5], [0.9, 0.5], [0.5, 0.9], [0.7, 0.5]]),
        "cam: zone 'hall': wanted edges that don't cross, found that those from corner 1 to 2 and from 3 to 4 do; "
        "put the corners in order",
    ),
    "polygon on one line": (
        zone([[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]),
        "cam: zone 'hall': wanted corners around an area, found all 3 on one line",
    ),
    "polygon of one corner": (
        zone([[0.1, 0.1], [0.1, 0.1], [0.1, 0.1]]),
        "cam: zone 'hall': wanted each corner once, found corners 1 and 2 both at (0.1, 0.1); leave one out",
    ),
    "polygon closed by its first corner": (
        zone([*SQUARE, SQUARE[0]]),
        "cam: zone 'hall': wanted each corner once, found corners 1 and 5 both at (0.1, 0.1); leave one out",
    ),
    "zone outside": (
        zone([[0.1, 0.1], [1.2, 0.1], [0.5, 0.5]]),
        "cam: zone 'hall': wanted fractions of the picture from 0 to 1, found (1.2, 0.1); correct it, or say units: px "
        "if these are pixels",
    ),
    "motion that asks for nothing": (
        motion(tolerance_deg=30),
        "cam: zone 'hall': motion: wanted max_speed, direction, stopped_s or sudden_stop_from, found none of them; "
        "set one, or leave motion out",
    ),
    "min_speed without direction": (
        motion(max_speed=5, min_speed=1),
        "cam: zone 'hall': motion.min_speed: wanted motion.direction with it, found none",
    ),
    "stopped_speed without a stand": (
        motion(max_speed=5, stopped_speed=1),
        "cam: zone 'hall': motion.stopped_speed: wanted motion.stopped_s or motion.sudden_stop_from with it, "
        "found neither",
    ),
    "direction outside": (
        motion(direction=[[0.1, 0.1], [0.1, 1.1]]),
        "cam: zone 'hall', motion.direction: wanted fractions of the picture from 0 to 1, found (0.1, 1.1); "
        "correct it, or say units: px if these are pixels",
    ),
    "direction without length": (
        motion(direction=[[0.1, 0.1], [0.1, 0.1]]),
        "cam: zone 'hall'.motion.direction: wanted two points, found one twice: (0.1, 0.1)",
    ),
    "three points of the ground on a line": (
        {"ground_plane": {**PLANE, "image": [[0.2, 0.9], [0.5, 0.9], [0.8, 0.9], [0.4, 0.3]]}},
        "cam.ground_plane.image: wanted four points of which no three are on one line, found all but point 4 on a line",
    ),
    "ground on one line": (
        {"ground_plane": {**PLANE, "world_m": [[0, 0], [1, 1], [2, 2], [3, 3]]}},
        "cam.ground_plane.world_m: wanted points spread over the ground, found 4 on one line",
    ),
    "points without a partner": (
        {"ground_plane": {**PLANE, "world_m": [*PLANE["world_m"], [5, 5]]}},
        "cam.ground_plane: wanted as many points in world_m as in image, found 5 and 4",
    ),
    "a point of the ground twice": (
        {"ground_plane": {**PLANE, "image": [[0.2, 0.9], [0.2, 0.9], [0.6, 0.3], [0.4, 0.3]]}},
        "cam.ground_plane.image: wanted four points of which no three are on one line, found all but point 3 on a line",
    ),
    "points that disagree": (
        {
            "units": "px",
            "ground_plane": {
                "image": [[200, 600], [1000, 600], [800, 200], [400, 200], [600, 260]],
                "world_m": [[0, 0], [10, 0], [10, 30], [0, 30], [5, 15]],
            },
        },
        "cam.ground_plane: wanted points that agree within max_error_px 5, found 30.7 px; measure the worst one again: "
        "point 5",
    ),
    "ground outside the picture": (
        {"ground_plane": {**PLANE, "image": [[0.2, 1.9], [0.8, 0.9], [0.6, 0.3], [0.4, 0.3]]}},
        "cam.ground_plane.image: wanted fractions of the picture from 0 to 1, found (0.2, 1.9); correct it, or say "
        "units: px if these are pixels",
    ),
}


@pytest.mark.parametrize(("values", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_meant_is_refused_in_one_line(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_rules(rules(**values), "cam")
    assert str(caught.value) == text


ACCEPTED = {
    "nothing": {},
    "line and zone": {"lines": [LINE], "zones": [HALL]},
    "corners the other way round": zone(SQUARE[::-1]),
    "a corner on a straight edge": zone([[0.1, 0.1], [0.5, 0.1], [0.9, 0.1], [0.5, 0.9]]),
    "a notch": zone([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.2], [0.1, 0.9]]),
    "the whole picture": zone([[0, 0], [1, 0], [1, 1], [0, 1]]),
    "pixels": {"units": "px", "lines": [{"name": "door", "points": [[0, 0], [3840, 2160]]}]},
    "ground": {"ground_plane": PLANE},
    "all of motion": motion(max_speed=5, direction=[[0.1, 0.1], [0.9, 0.1]], min_speed=1, stopped_s=3),
}


@pytest.mark.parametrize("values", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_can_be_meant_is_accepted(values: dict[str, Any]) -> None:
    check_rules(rules(**values), "cam")


UNKNOWN = {
    "line": (
        {"lines": [{**LINE, "classes": ["person", "cra"]}]},
        "cam: line 'door': classes: wanted names that the model or the data have, found 'cra'; did you mean 'car'?",
    ),
    "zone": (
        {"zones": [{**HALL, "classes": ["elephant"]}]},
        "cam: zone 'hall': classes: wanted names that the model or the data have, found 'elephant'; "
        "there are: person, car, bicycle",
    ),
    "heatmap": (
        {"heatmap": {"classes": ["7"]}},
        "cam: heatmap: classes: wanted a number from 0 to 2, found 7",
    ),
}


@pytest.mark.parametrize(("values", "text"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_classes_are_refused(values: dict[str, Any], text: str, class_names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_classes(rules(**values), class_names, "cam")
    assert str(caught.value) == text


def test_known_classes_are_accepted(class_names: tuple[str, ...]) -> None:
    check_classes(rules(lines=[{**LINE, "classes": ["car"]}], zones=[{**HALL, "classes": ["0"]}]), class_names, "cam")


NO_NUMBERS = {
    "point": ({"lines": [{"name": "door", "points": [[float("nan"), 0.5], [0.9, 0.5]]}]}, "lines.0.points.0.0"),
    "corner": (zone([[0.1, 0.1], [0.9, float("inf")], [0.9, 0.9]]), "zones.0.polygon.1.1"),
    "setting": ({"lines": [{**LINE, "band_px": float("nan")}]}, "lines.0.band_px"),
    "band": ({"lines": [{**LINE, "band_px": float("inf")}]}, "lines.0.band_px"),
    "time": (zone([[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]) | {"forget_s": float("inf")}, "forget_s"),
}


@pytest.mark.parametrize(("values", "path"), NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
def test_what_is_no_number_is_refused(values: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError, match=f"analytics.sources.cam.{path}: ") as caught:
        analytics_config({"sources": {"cam": values}})
    assert "\n" not in str(caught.value)


def test_a_run_says_whose_rule_it_is() -> None:
    with pytest.raises(ConfigError, match=r"^analytics\.sources\.cam: line 'door': wanted two different ends"):
        analytics_config({"sources": {"cam": {"lines": [{"name": "door", "points": [[0.5, 0.5], [0.5, 0.5]]}]}}})
