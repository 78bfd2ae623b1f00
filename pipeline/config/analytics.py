"""Rules from a configuration: checked against the sources and classes of the run before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pipeline.config.registry import nearest
from pipeline.config.schema import RunConfig, Section
from pipeline.config.validate import validated
from pipeline.core.errors import ConfigError
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Analyst
from pipeline.runtime.track_stage import AnalystFactory

if TYPE_CHECKING:
    from pipeline.analytics.config import AnalyticsConfig, SourceRules


def analytics_config(section: Section) -> AnalyticsConfig:
    """The rules, each checked for itself.

    Raises:
        ConfigError: a key, value or shape that cannot work.
    """
    from pipeline.analytics.checks import check_rules
    from pipeline.analytics.config import AnalyticsConfig

    config: AnalyticsConfig = validated(AnalyticsConfig, section, "analytics")
    for name, rules in config.sources.items():
        check_rules(rules, f"analytics.sources.{name}")
    return config


def analyst_factory(section: Section, source_ids: Sequence[str], class_names: tuple[str, ...]) -> AnalystFactory | None:
    """Makes one analyst per source that has rules; None where no source has any.

    Raises:
        ConfigError: rules for a source that is not in the run, or a class that the detector does not know.
    """
    config = analytics_config(section)
    if not config.sources:
        return None
    from pipeline.analytics.analyst import RuleAnalyst
    from pipeline.analytics.checks import check_classes

    check_sources(section, source_ids)
    for pattern, rules in config.sources.items():
        check_classes(rules, class_names, f"analytics.sources.{pattern}")

    def make(info: StreamInfo) -> Analyst | None:
        rules = rules_for(config, info.source_id)
        return None if rules is None else RuleAnalyst(rules, info, class_names)

    return make


def check_sources(section: Section, source_ids: Sequence[str]) -> None:
    """Refuse rules for sources that are not in the run.

    Raises:
        ConfigError: one line that names the nearest source.
    """
    for pattern in analytics_config(section).sources:
        if not any(fnmatchcase(source_id, pattern) for source_id in source_ids):
            there = ", ".join(source_ids)
            raise ConfigError(
                f"analytics.sources.{pattern}: wanted a source of this run ({there}), found none of that name"
                f"{nearest(pattern, source_ids)}"
            )


def check_alerts(config: RunConfig, class_names: tuple[str, ...]) -> None:
    """Refuse alerts that could never come: a misspelt name must not be silence on the day it matters.

    Raises:
        ConfigError: no rules at all, or a rule or class that is not there; tells the nearest.
    """
    from pipeline.config.outputs import alerts_config

    alerts = alerts_config(config).alerts
    sources = analytics_config(config.analytics).sources
    if alerts and not sources:
        raise ConfigError("alerts: wanted rules to tell of (analytics.sources), found none")
    names = [name for rules in sources.values() for name in rule_names(rules)]
    for alert in alerts:
        for pattern in alert.rules:
            if not any(fnmatchcase(name, pattern) for name in names):
                there = ", ".join(names) or "none"
                raise ConfigError(
                    f"alerts, {alert.name}: wanted a line or zone of the run ({there}), found {pattern!r}"
                    f"{nearest(pattern, names)}"
                )
        for name in alert.classes:
            if name not in class_names:
                raise ConfigError(
                    f"alerts, {alert.name}: wanted a class of the detector, found {name!r}{nearest(name, class_names)}"
                )


def rule_names(rules: SourceRules) -> list[str]:
    """Names of the lines and zones of a source."""
    return [*(line.name for line in rules.lines), *(zone.name for zone in rules.zones)]


def rules_for(config: AnalyticsConfig, source_id: str) -> SourceRules | None:
    """The rules of a source: those under its exact name, else under the first pattern that fits it."""
    if source_id in config.sources:
        return config.sources[source_id]
    return next((rules for name, rules in config.sources.items() if fnmatchcase(source_id, name)), None)
