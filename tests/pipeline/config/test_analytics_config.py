"""Rules and alerts in a configuration: what is refused before anything is read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.config.analytics import analyst_factory, analytics_config, check_alerts, rules_for
from pipeline.config.build import load_run_config
from pipeline.config.outputs import check_outputs
from pipeline.core.errors import ConfigError
from pipeline.core.frame import StreamInfo

LINE = {"name": "door", "points": [[0.1, 0.5], [0.9, 0.5]]}
ZONE = {"name": "room", "polygon": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]]}


def rules(**more: object) -> dict[str, object]:
    return {"sources": {"cam": {"lines": [LINE], "zones": [ZONE], **more}}}


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ({"sorces": {}}, r"analytics\.sorces: unknown key; did you mean 'sources'"),
        ({"sources": {"cam": {"line": []}}}, r"analytics\.sources\.cam\.line: unknown key; did you mean 'lines'"),
        (
            {"sources": {"cam": {"lines": [LINE | {"clases": ["person"]}]}}},
            r"analytics\.sources\.cam\.lines\.0\.clases: unknown key; did you mean 'classes'",
        ),
        (
            {"sources": {"cam": {"zones": [ZONE | {"motion": {"maxspeed": 3}}]}}},
            r"zones\.0\.motion\.maxspeed: unknown key; did you mean 'max_speed'",
        ),
        (
            {"sources": {"cam": {"zones": [ZONE | {"polygon": [[0, 0], [1, 1]]}]}}},
            r"analytics\.sources\.cam\.zones\.0\.polygon: .*at least 3",
        ),
        ({"sources": {"cam": {"lines": [{"name": "door"}]}}}, r"lines\.0\.points: is needed, and absent"),
        (
            {"sources": {"cam": {"units": "percent"}}},
            r"analytics\.sources\.cam\.units: .*'fraction' or 'px'.*'percent'",
        ),
    ],
)
def test_one_clear_line(section: dict[str, object], wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted) as caught:
        analytics_config(section)
    assert "\n" not in str(caught.value)


def test_rules_of_a_source_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match=r"analytics\.sources\.cam: wanted a source of this run \(cam1, gate\).*did you mean 'cam1'"
    ):
        analyst_factory(rules(), ["cam1", "gate"], ("person",))


def test_a_class_that_the_detector_does_not_know() -> None:
    section = {"sources": {"*": {"lines": [LINE | {"classes": ["persn"]}]}}}
    with pytest.raises(ConfigError, match=r"door.*'persn'.*did you mean 'person'"):
        analyst_factory(section, ["cam"], ("person", "car"))


def test_the_exact_name_wins_over_patterns() -> None:
    config = analytics_config({"sources": {"*": {"anchor": "center"}, "cam1": {"anchor": "top_center"}, "cam*": {}}})
    found = [rules_for(config, name) for name in ("cam1", "cam2")]
    assert [rule.anchor for rule in found if rule] == ["top_center", "center"]
    assert rules_for(analytics_config({"sources": {"cam*": {}}}), "gate") is None


def test_only_sources_with_rules_get_an_analyst() -> None:
    factory = analyst_factory({"sources": {"cam*": {}}}, ["cam1", "gate"], ("person",))
    assert factory is not None
    assert factory(StreamInfo("cam1", 64, 48, None, False, None)) is not None
    assert factory(StreamInfo("gate", 64, 48, None, False, None)) is None
    assert analyst_factory({}, ["cam1"], ("person",)) is None


@pytest.mark.parametrize(
    ("alert", "wanted"),
    [
        (
            {"name": "a", "webhook": "https://h/x", "rules": ["dor"]},
            r"alerts, a: .*\(door, room\), found 'dor'.*'door'",
        ),
        ({"name": "a", "webhook": "https://h/x", "classes": ["prson"]}, r"alerts, a: .*'prson'; did you mean 'person'"),
        ({"name": "a"}, r"wanted a webhook or a command"),
        ({"name": "a", "webhook": "https://h/x", "command": ["x"]}, r"wanted a webhook or a command, one of them"),
        ({"name": "a", "webhook": "host/x"}, r"alerts\.0\.webhook: wanted an address such as https://host/path"),
        ({"name": "a", "command": ["say", "{rul}"]}, r"alerts\.0\.command: .*in braces, not rul"),
        ({"name": "a", "command": ["say"], "picture": True}, r"headers and picture belong to a webhook"),
        ({"name": "a", "command": ["say"], "kinds": ["crosing"]}, r"alerts\.0\.kinds\.0: .*crosing"),
        ({"name": "a", "comand": ["say"]}, r"alerts\.0\.comand: unknown key; did you mean 'command'"),
    ],
)
def test_alerts_that_could_never_come(alert: dict[str, object], wanted: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=wanted):
        check_alerts(load_run_config(None, {"alerts": [alert], "analytics": rules()}, []), ("person", "car"))


def test_alerts_need_rules_and_names_of_their_own() -> None:
    alert = {"name": "a", "command": ["true"]}
    with pytest.raises(ConfigError, match=r"alerts: wanted rules to tell of \(analytics\.sources\), found none"):
        check_alerts(load_run_config(None, {"alerts": [alert]}, []), ("person",))
    with pytest.raises(ConfigError, match="'a' stands twice"):
        load_run_config(None, {"alerts": [alert, alert], "analytics": rules()}, [])
    check_alerts(load_run_config(None, {"alerts": [alert | {"rules": ["d*"]}], "analytics": rules()}, []), ("person",))


def test_a_store_without_rules_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = str(tmp_path / "events.db")
    with caplog.at_level(logging.WARNING):
        check_outputs(load_run_config(None, {"outputs": [store], "analytics": rules()}, []), ["cam"])
        assert caplog.text == ""
        check_outputs(load_run_config(None, {"outputs": [store]}, []), ["cam"])
    assert "events.db: without rules (--rules) it holds an account of the run, and no events" in caplog.text
