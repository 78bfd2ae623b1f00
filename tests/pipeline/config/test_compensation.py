"""`runtime.compensate` and `--compensate`: what is refused, what is warned of, and what reaches the run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main
from pipeline.config import registry
from pipeline.config.build import build_run, load_run_config
from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError
from pipeline.core.frame import Frame

FILE = {"sources": ["street.mp4"]}
PLAYED = {**FILE, "runtime": {"realtime": True}}


class Nothing:
    class_names = ("thing",)

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        return [Detections.empty() for _ in frames]

    def close(self) -> None: ...


class OnlyIds:
    """A tracker that says nothing about motion."""

    def __init__(self, config: object) -> None: ...

    def update(self, *_: object) -> None: ...

    def reset(self) -> None: ...


@pytest.fixture(autouse=True)
def _street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("street.mp4").touch()


def build(flags: dict[str, Any], *settings: str, file: str = "") -> None:
    path = None
    if file:
        Path("c.yaml").write_text(file)
        path = "c.yaml"
    with build_run(load_run_config(path, flags, list(settings)), detector=Nothing()):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("kind", ["emit", "display"])
@pytest.mark.parametrize(
    ("flags", "settings", "told"),
    [
        (PLAYED, ["tracker.kind=none"], "wanted a tracker, found tracker.kind none; boxes are moved by their tracks"),
        (FILE, [], "wanted a camera or stream, found recorded sources only, which have no latency; play them with"),
        (PLAYED, ["source.replay.speed=2"], "wanted source.replay.speed 1, found 2; tracks move in the time of"),
    ],
    ids=["no tracker", "no latency", "another speed"],
)
def test_what_cannot_be_compensated_is_refused(
    kind: str, flags: dict[str, Any], settings: list[str], told: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build(flags, f"runtime.compensate={kind}", *settings)
    assert str(refused.value).startswith(f"runtime.compensate is {kind}: {told}")
    assert "\n" not in str(refused.value)
    build(flags, "runtime.compensate=off", *settings)


def test_a_tracker_without_motion_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = registry.TRACKERS["bytetrack"]
    monkeypatch.setattr(registry.Entry, "stage_class", lambda self: OnlyIds)
    monkeypatch.setattr("pipeline.config.build.build_sources", lambda *_: [])
    assert entry.stage_class() is OnlyIds
    with pytest.raises(ConfigError, match="wanted a tracker that tells where its tracks are going, found bytetrack"):
        build(PLAYED, "runtime.compensate=emit", "runtime.keep_open=true")


@pytest.mark.parametrize(
    ("flags", "file"),
    [
        (PLAYED, "runtime: {compensate: emit}"),
        ({"sources": ["rtsp://127.0.0.1:9/none"]}, "runtime: {compensate: display}"),
        ({}, "cameras: {door: {source: '0'}}\nruntime: {compensate: emit}"),
        ({}, "runtime: {compensate: emit, keep_open: true}"),
        (FILE, "runtime: {compensate: off}"),
    ],
    ids=["played", "stream", "camera", "sources may come", "off"],
)
def test_what_has_latency_can_be(flags: dict[str, Any], file: str) -> None:
    build(flags, file=file)


@pytest.mark.parametrize(
    ("kind", "outputs", "warned"),
    [
        ("off", ["a.csv"], False),
        ("emit", ["a.csv"], True),
        ("emit", ["a.mp4", "live.m3u8"], True),
        ("emit", ["a.mp4", "a.jsonl"], False),
        ("display", ["a.mp4", "a.txt"], True),
        ("display", ["live.m3u8"], False),
    ],
)
def test_a_setting_that_changes_no_output_is_told(
    kind: str, outputs: list[str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build({**PLAYED, "outputs": outputs}, f"runtime.compensate={kind}")
    assert ("no output of this run is compensated" in caplog.text) == warned


def test_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--source", "street.mp4", "-o", "null", "--compensate", "emit", "--quiet"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "wanted a camera or stream, found recorded sources only" in line
    assert main(["check", "--source", "street.mp4", "--set", "runtime.compensate=emit"]) == 2
    assert "wanted a camera or stream, found recorded sources only" in capsys.readouterr().err
    options = ["--realtime", "--tracker", "none", "--compensate", "display", "--quiet"]
    assert main(["run", "--source", "street.mp4", "-o", "null", *options]) == 2
    assert "wanted a tracker, found tracker.kind none" in capsys.readouterr().err
    assert main(["run", "--source", "street.mp4", "--compensate", "never"]) == 2
    assert "invalid choice: 'never' (choose from 'off', 'emit', 'display')" in capsys.readouterr().err
