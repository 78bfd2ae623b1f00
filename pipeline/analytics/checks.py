"""Refuses rules that cannot mean what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from pipeline.analytics.config import MotionConfig, Point, SourceRules, Units
from pipeline.analytics.ground_plane import check_ground_plane
from pipeline.analytics.motion import check_motion
from pipeline.analytics.object_events import ObjectEvents
from pipeline.core.class_names import class_ids
from pipeline.core.errors import ConfigError

FLAT = 1e-9
"""A triangle with less area than this share of its extent's square has none."""


def check_rules(rules: SourceRules, where: str) -> None:
    """Refuse names that stand twice, shapes that cross themselves or lie outside, and planes that cannot be solved.

    Points in pixels are compared with the picture once its size is known, see `Placement`.

    Raises:
        ConfigError: one line that names the rule.
    """
    _check_names([*(line.name for line in rules.lines), *(zone.name for zone in rules.zones)], where)
    for line in rules.lines:
        at = f"{where}: line {line.name!r}"
        _check_inside(line.points, rules.units, at)
        if line.points[0] == line.points[1]:
            raise ConfigError(f"{at}: wanted two different ends, found {_point(line.points[0])} twice")
    for zone in rules.zones:
        at = f"{where}: zone {zone.name!r}"
        _check_inside(zone.polygon, rules.units, at)
        _check_polygon(zone.polygon, at)
        if zone.motion is not None:
            _check_inside(zone.motion.direction or (), rules.units, f"{at}, motion.direction")
            _check_needs(zone.motion, at)
            check_motion(zone, rules.ground_plane, at)
    if rules.ground_plane is not None:
        _check_inside(rules.ground_plane.image, rules.units, f"{where}.ground_plane.image")
        check_ground_plane(rules.ground_plane, f"{where}.ground_plane", rules.units)


def check_classes(rules: SourceRules, class_names: tuple[str, ...], where: str) -> None:
    """Refuse classes that the detector does not know.

    Raises:
        ConfigError: one line that names the rule and the nearest class.
    """
    wanted = [(f"line {line.name!r}", line.classes) for line in rules.lines]
    wanted += [(f"zone {zone.name!r}", zone.classes) for zone in rules.zones]
    if rules.heatmap is not None:
        wanted.append(("heatmap", rules.heatmap.classes))
    for rule, classes in wanted:
        try:
            class_ids(classes, class_names)
        except ConfigError as error:
            raise ConfigError(f"{where}: {rule}: {error}") from None


def _check_names(names: Sequence[str], where: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ConfigError(f"{where}: wanted each name once among lines and zones, found {name!r} twice; rename one")
        if name == ObjectEvents.rule:
            raise ConfigError(f"{where}: wanted another name than {name!r}, which is what unique objects' events have")


def _check_inside(points: Sequence[Point], units: Units, at: str) -> None:
    for point in points:
        if units == "fraction" and not all(0 <= value <= 1 for value in point):
            raise ConfigError(
                f"{at}: wanted fractions of the picture from 0 to 1, found {_point(point)}; "
                "correct it, or say units: px if these are pixels"
            )
        if units == "px" and min(point) < 0:
            raise ConfigError(f"{at}: wanted pixels inside the picture, found {_point(point)}; the least is 0")


def _check_polygon(corners: Sequence[Point], at: str) -> None:
    n = len(corners)
    for i, j in combinations(range(n), 2):
        if corners[i] == corners[j]:
            raise ConfigError(
                f"{at}: wanted each corner once, found corners {i + 1} and {j + 1} both at {_point(corners[i])}; "
                "leave one out"
            )
    if all(_turn(corners[0], corners[1], corner) == 0 for corner in corners[2:]):
        raise ConfigError(f"{at}: wanted corners around an area, found all {n} on one line")
    for i, j in combinations(range(n), 2):
        a, b, c, d = corners[i], corners[(i + 1) % n], corners[j], corners[(j + 1) % n]
        if j == i + 1:
            met = _runs_back(a, b, d)
        elif (j + 1) % n == i:
            met = _runs_back(c, a, b)
        else:
            met = _meet(a, b, c, d)
        if met:
            raise ConfigError(
                f"{at}: wanted edges that don't cross, found that those from corner {i + 1} to {(i + 1) % n + 1} and "
                f"from {j + 1} to {(j + 1) % n + 1} do; put the corners in order"
            )


def _turn(a: Point, b: Point, c: Point) -> int:
    """Which way the path a, b, c turns: 1, -1, or 0 where it goes straight."""
    (ux, uy), (vx, vy) = (b[0] - a[0], b[1] - a[1]), (c[0] - a[0], c[1] - a[1])
    cross = ux * vy - uy * vx
    if abs(cross) <= FLAT * math.hypot(ux, uy) * math.hypot(vx, vy):
        return 0
    return 1 if cross > 0 else -1


def _runs_back(a: Point, b: Point, c: Point) -> bool:
    """Whether the edge from b to c lies on the edge from a to b."""
    return _turn(a, b, c) == 0 and (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0


def _meet(a: Point, b: Point, c: Point, d: Point) -> bool:
    """Whether the edges a-b and c-d have a point in common."""
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    corners = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(turn == 0 and _between(*three) for turn, three in zip(turns, corners, strict=True))


def _between(a: Point, b: Point, c: Point) -> bool:
    """Whether c, on the line through a and b, lies between them."""
    return all(min(p, q) <= r <= max(p, q) for p, q, r in zip(a, b, c, strict=True))


def _check_needs(motion: MotionConfig, at: str) -> None:
    """Settings that mean nothing without another."""
    asked = (motion.max_speed, motion.direction, motion.stopped_s, motion.sudden_stop_from)
    if all(value is None for value in asked):
        raise ConfigError(
            f"{at}: motion: wanted max_speed, direction, stopped_s or sudden_stop_from, found none of them; "
            "set one, or leave motion out"
        )
    if motion.min_speed is not None and motion.direction is None:
        raise ConfigError(f"{at}: motion.min_speed: wanted motion.direction with it, found none")
    if motion.stopped_speed is not None and motion.stopped_s is None and motion.sudden_stop_from is None:
        raise ConfigError(
            f"{at}: motion.stopped_speed: wanted motion.stopped_s or motion.sudden_stop_from with it, found neither"
        )


def _point(point: Point) -> str:
    return f"({point[0]:g}, {point[1]:g})"
