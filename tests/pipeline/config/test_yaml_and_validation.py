from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.config.registry import SINKS, SOURCES, TRACKERS, find
from pipeline.config.validate import validated
from pipeline.config.yaml_file import merge, parse_settings, read_yaml
from pipeline.core.errors import ConfigError
from pipeline.core.url import redact


def _write(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text)
    return path


class TestYaml:
    def test_plain_values(self, tmp_path: Path) -> None:
        assert read_yaml(_write(tmp_path, "a: {b: [1, two]}\nc: null\n")) == {"a": {"b": [1, "two"]}, "c": None}

    def test_an_empty_file_is_an_empty_mapping(self, tmp_path: Path) -> None:
        assert read_yaml(_write(tmp_path, "# nothing\n")) == {}

    @pytest.mark.parametrize(
        ("text", "wanted"),
        [
            ("a: 1\na: 2\n", r"c\.yaml: line 2: the key 'a' stands twice"),
            ("- 1\n", "wanted a mapping"),
            ("a: [1\n", "not valid YAML"),
            ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
            ("a: ${TRACKLIGHT_NO_SUCH_VARIABLE}\n", "TRACKLIGHT_NO_SUCH_VARIABLE is not set"),
        ],
    )
    def test_what_cannot_work_is_one_line_with_the_file(self, tmp_path: Path, text: str, wanted: str) -> None:
        with pytest.raises(ConfigError, match=wanted) as caught:
            read_yaml(_write(tmp_path, text))
        assert "c.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_and_binary_files(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such configuration file"):
            read_yaml(tmp_path / "none.yaml")
        (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\x80")
        with pytest.raises(ConfigError, match="cannot be read as text"):
            read_yaml(tmp_path / "b.yaml")

    def test_secrets_come_from_the_environment_and_are_masked_from_then_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CAM_PASSWORD", "canary-7Kd2")
        values = read_yaml(_write(tmp_path, "sources: ['rtsp://admin:${CAM_PASSWORD}@cam/1']\n"))
        assert values["sources"] == ["rtsp://admin:canary-7Kd2@cam/1"]
        assert redact("login with canary-7Kd2 failed") == "login with *** failed"


class TestSettings:
    def test_nested_and_typed(self) -> None:
        texts = ["tracker.buffer_s=2", "detector.classes=[person, 2]", "a.b.c=text", "a.b.d=true"]
        assert parse_settings(texts) == {
            "tracker": {"buffer_s": 2},
            "detector": {"classes": ["person", 2]},
            "a": {"b": {"c": "text", "d": True}},
        }

    @pytest.mark.parametrize("text", ["tracker.buffer_s", "=1", "a..b=1", "a=[1"])
    def test_wrong_form(self, text: str) -> None:
        with pytest.raises(ConfigError, match="--set"):
            parse_settings([text])

    def test_merge_replaces_leaves_and_keeps_the_rest(self) -> None:
        base = {"a": {"b": 1, "c": 2}, "d": [1]}
        assert merge(base, {"a": {"b": 9}, "d": [2]}) == {"a": {"b": 9, "c": 2}, "d": [2]}
        assert base["a"] == {"b": 1, "c": 2}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class _Inner:
    buffer_s: float = Field(default=1.0, ge=0)


class _Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = "x"
    inner: _Inner = _Inner()


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"nam": 1}, r"^top\.nam: unknown key; did you mean 'name'\?$"),
        ({"inner": {"bufer_s": 1}}, r"^top\.inner\.bufer_s: unknown key; did you mean 'buffer_s'\?$"),
        ({"inner": {"buffer_s": -1}}, r"^top\.inner\.buffer_s: input should be greater than or equal to 0, found -1$"),
        ({"inner": {"buffer_s": "much"}}, r"^top\.inner\.buffer_s: .*valid number.*found 'much'$"),
        ({"inner": {"buffer_s": -1}, "zzz": 1}, r"\(and 1 more\)$"),
    ],
)
def test_a_mistake_is_one_line_with_its_path(values: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        validated(_Outer, values, "top")


def test_good_values_are_typed() -> None:
    assert validated(_Outer, {"inner": {"buffer_s": 2}}, "").inner.buffer_s == 2.0


@pytest.mark.parametrize("table", [SOURCES, SINKS, TRACKERS], ids=["sources", "sinks", "trackers"])
def test_every_registry_line_leads_to_its_classes(table: dict[str, Any]) -> None:
    for entry in table.values():
        assert isinstance(entry.stage_class(), type)
        assert hasattr(entry.config_class(), "__pydantic_fields__")


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"tracker\.kind: wanted one of bytetrack, found 'bytetrak'; did you mean"):
        find(TRACKERS, "bytetrak", "tracker.kind")
