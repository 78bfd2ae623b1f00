"""Structured logs: what collectors read, and what they must never read."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import logs
from pipeline.cli.main import main
from pipeline.core.url import register_secret


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = before


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(verbose=False, form="json")
    logger = logging.getLogger("sources.network")
    logger.info("not shown")
    logger.warning("two\nlines %s", "é")
    logger.error("of a camera", extra={"source": "rtsp://me:hunter22@cam/1"})
    thread = threading.Thread(target=lambda: logger.warning("lost"), name="source:cam2")
    thread.start()
    thread.join()
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        logger.exception("failed")
    logs.say("stopping")
    found = lines(capsys.readouterr().err)
    assert [(one["level"], one["message"]) for one in found] == [
        ("warning", "two\nlines é"),
        ("error", "of a camera"),
        ("warning", "lost"),
        ("error", "failed"),
        ("info", "stopping"),
    ]
    assert datetime.fromisoformat(found[0]["time"]).utcoffset() is not None
    assert [one.get("source") for one in found] == [None, "rtsp://***@cam/1", "cam2", None, None]
    assert found[0]["logger"] == "sources.network"
    assert "ZeroDivisionError" in found[3]["exception"]


@pytest.mark.parametrize("form", logs.FORMATS)
def test_secrets_are_masked(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    register_secret("c4n4ry-logged")
    logs.set_up(verbose=True, form=form)
    logger = logging.getLogger("x")
    logger.warning("at %s", "mqtt://me:c4n4ry-too@host/a")
    try:
        raise ValueError("c4n4ry-logged in rtsp://u:c4n4ry-three@h/")
    except ValueError:
        logger.exception("it failed with c4n4ry-logged", extra={"source": "c4n4ry-logged"})
    said = capsys.readouterr().err
    assert "c4n4ry" not in said
    assert said.count("***") >= 4


def test_text_is_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(verbose=False)
    logging.getLogger("x").warning("plain")
    logs.say("stopping")
    assert capsys.readouterr().err == "plain\ntracklight: stopping\n"


def test_everything_that_a_run_says_is_json(
    tmp_path: Path, small_clip: Path, small_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["--log-format", "json", "--weights", str(small_weights), "--img-size", "64", "--backend", "eager"]
    assert main(["run", *common, "--source", str(small_clip), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert main(["run", *common, "--source", str(tmp_path / "missing.mp4"), "-o", "null"]) != 0
    captured = capsys.readouterr()
    found = lines(captured.err)
    assert captured.out == ""
    assert "missing.mp4" in found[-1]["message"]
    assert found[-1]["level"] == "error"
