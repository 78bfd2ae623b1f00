from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import yaml

from pipeline.cli import main
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.zone_editor.snapshot import take_snapshot

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """Rules for the clip: a zone in the middle, a line through it."""
    path = tmp_path / "rules.yaml"
    zone = {"name": "Table", "polygon": [[0.3, 0.3], [0.7, 0.3], [0.7, 0.8], [0.3, 0.8]], "classes": ["person"]}
    line = {"name": "Door", "points": [[0.1, 0.9], [0.9, 0.9]]}
    path.write_text(yaml.safe_dump({"sources": {"yard": {"zones": [zone], "lines": [line]}}}))
    return path


# -- snapshot ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("at_s", "index"), [(None, 0), (0.0, 0), (0.45, 5), (0.5, 5), (0.9, 9)])
def test_the_picture_is_the_one_at_the_time(clip: Path, at_s: float | None, index: int) -> None:
    snapshot = take_snapshot(str(clip), at_s, None, [])
    assert snapshot.frame.index == index
    assert snapshot.info.source_id == "yard"
    assert abs(float(snapshot.frame.image.mean()) - 20 * index) < 6


@pytest.mark.parametrize(
    ("at_s", "text"), [(5.0, "found its end at 0.90 s"), (-1.0, "0 s or more"), (float("nan"), "0 s or more")]
)
def test_a_time_that_is_not_there(clip: Path, at_s: float, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        take_snapshot(str(clip), at_s, None, [])


def test_several_sources_are_no_picture(tmp_path: Path, clip: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(clip.read_bytes())
    with pytest.raises(UsageError, match=r"wanted one source.*found 2 \(a, b\)"):
        take_snapshot(str(tmp_path), None, None, [])


def test_a_folder_of_pictures_gives_its_first(tmp_path: Path) -> None:
    for name, level in (("1.png", 10), ("2.png", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), level, np.uint8))
    assert take_snapshot(str(tmp_path), None, None, []).frame.image.mean() == 10


class LiveSource:
    """A camera whose frames come at these times (s), each as grey as its number."""

    source_id = "cam"

    def __init__(self, times_s: list[float]) -> None:
        self._frames = [
            Frame("cam", n, np.full((4, 4, 3), n, np.uint8), None, round(t * 1e9), CaptureClock.RECEIVE)
            for n, t in enumerate(times_s)
        ]
        self.closed = False

    def open(self) -> StreamInfo:
        return StreamInfo("cam", 4, 4, None, True, None)

    def read(self) -> Frame | None:
        return self._frames.pop(0) if self._frames else None

    def close(self) -> None:
        self.closed = True


def test_of_a_live_source_the_picture_comes_once_the_camera_has_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = LiveSource([5.0, 5.4, 5.9, 6.1, 6.3])
    monkeypatch.setattr("pipeline.zone_editor.snapshot.build_sources", lambda *_: [camera])
    assert take_snapshot("0", None, None, []).frame.index == 3
    assert camera.closed


@pytest.mark.parametrize(
    ("times_s", "at_s", "error", "text"),
    [
        ([0.0, 2.0], 3.0, UsageError, "which is live"),
        ([], None, SourceError, "has ended"),
        ([0.0, 0.5], None, SourceError, "has ended"),
    ],
)
def test_what_a_live_source_cannot_give(
    monkeypatch: pytest.MonkeyPatch, times_s: list[float], at_s: float | None, error: type[Exception], text: str
) -> None:
    camera = LiveSource(times_s)
    monkeypatch.setattr("pipeline.zone_editor.snapshot.build_sources", lambda *_: [camera])
    with pytest.raises(error, match=text):
        take_snapshot("0", at_s, None, [])
    assert camera.closed


# -- show and check ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_show_draws_the_rules(clip: Path, rules: Path, tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"shown.{suffix}"
    arguments = ["zones", "show", "--source", str(clip), "--at", "0.5", "--rules", str(rules), "-o", str(picture)]
    assert main(arguments) == 0
    shown = cv2.imread(str(picture)).astype(int)
    assert shown.shape == (96, 128, 3)
    plain = take_snapshot(str(clip), 0.5, None, []).frame.image.astype(int)
    assert np.abs(shown - plain)[45:70, 45:85].mean() > 4
    assert np.abs(shown - plain)[2:10, 2:30].mean() < 2
    assert main(arguments) == 2
    assert main([*arguments, "--exist-ok"]) == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"--rules": "absent.yaml"}, "no such"),
        ({"-o": "shown.gif"}, ".png or .jpg"),
        ({"--at": "7"}, "found its end"),
        ({"--source": "absent.mp4"}, "found nothing there"),
    ],
)
def test_what_show_cannot_do_is_one_line(
    clip: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], text: str
) -> None:
    options = {"--source": str(clip), "--rules": str(rules), "-o": str(tmp_path / "shown.png"), **change}
    assert main(["zones", "show", *[part for pair in options.items() for part in pair]]) in (1, 2)
    said = capsys.readouterr().err
    assert text in said
    assert said.count("\n") == 1
    assert not (tmp_path / "shown.png").exists()


def test_rules_of_other_sources_are_not_shown(
    clip: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules.write_text(rules.read_text().replace("yard", "street"))
    picture = str(tmp_path / "shown.png")
    assert main(["zones", "show", "--source", str(clip), "--rules", str(rules), "-o", picture]) == 2
    assert "wanted rules for yard, found those of: street" in capsys.readouterr().err


def test_check_lists_what_there_is(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zones", "check", "--rules", str(rules)]) == 0
    assert capsys.readouterr().out.splitlines() == ["yard: lines Door; zones Table", "# fine: rules for 1 source(s)"]


def test_check_names_the_file_and_the_rule(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules.write_text(rules.read_text().replace("Table", "Door"))
    assert main(["zones", "check", "--rules", str(rules)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tracklight: {rules}: ")
    assert "Door" in said
    assert said.count("\n") == 1


# -- edit -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["rules.txt", "rules", "."])
def test_edit_writes_yaml_only(clip: Path, output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zones", "edit", "--source", str(clip), "-o", output, "--no-browser"]) == 2
    assert ".yaml" in capsys.readouterr().err


class Editor:
    """`zones edit` in a process of its own."""

    def __init__(self, clip: Path, output: Path) -> None:
        arguments = ["zones", "edit", "--source", str(clip), "-o", str(output), "--no-browser"]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_pipeline.py"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"},
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://\S+", said)
        assert found, said
        self.url = urlsplit(found.group())

    def post(self, name: str, body: object) -> int:
        connection = HTTPConnection(self.url.hostname or "", self.url.port, timeout=10)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", self.url.path + name, json.dumps(body).encode(), headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def end(self) -> tuple[int, str, str]:
        try:
            out, err = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            # Where it hangs, thread by thread.
            self.process.send_signal(signal.SIGABRT)
            pytest.fail(self.process.communicate()[1])
        return self.process.returncode, out, err


@pytest.mark.parametrize("how", ["done", signal.SIGINT, signal.SIGTERM])
def test_done_and_ctrl_c_end_the_editor(clip: Path, tmp_path: Path, how: str | signal.Signals) -> None:
    path = tmp_path / "rules.yaml"
    editor = Editor(clip, path)
    assert editor.post("save", {"lines": [{"name": "Door", "points": [[0, 0.5], [1, 0.5]]}]}) == 200
    if isinstance(how, str):
        assert editor.post("done", {}) == 200
    else:
        editor.process.send_signal(how)
    code, out, err = editor.end()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"Rules are in {path}"
    assert yaml.safe_load(path.read_text())["sources"]["yard"]["lines"][0]["name"] == "Door"
