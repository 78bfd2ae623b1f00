"""Refuses rules that cannot mean what they say."""

from __future__ import annotations

from pipeline.analytics.config import SourceRules
from pipeline.core.class_names import class_ids


def check_rules(rules: SourceRules, where: str) -> None:
    """Refuse names that stand twice, shapes that cross themselves or lie outside, and planes that cannot be solved.

    Raises:
        ConfigError: one line that names the rule.
    """


def check_classes(rules: SourceRules, class_names: tuple[str, ...], where: str) -> None:
    """Refuse classes that the detector does not know.

    Raises:
        ConfigError: one line that names the rule and the nearest class.
    """
    for line in rules.lines:
        class_ids(line.classes, class_names)
    for zone in rules.zones:
        class_ids(zone.classes, class_names)
