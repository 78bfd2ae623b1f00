"""No password of an address or of the environment is in anything that a run writes, says or serves."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "servers"))

from rtsp_process import MissingServerError, RtspServer  # noqa: E402

pytestmark = pytest.mark.timeout(120)
CANARY = "c4nary-hunter2-%40x"
"""With an escaped sign, which libraries like to unescape before they show it."""
FORMS = (CANARY, CANARY.replace("%40", "@"), "hunter2")


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    server = RtspServer("--user", "viewer", "--password", FORMS[1])
    try:
        server.start()
    except MissingServerError as error:
        pytest.skip(f"the RTSP test server needs GStreamer's RTSP server: {error}")
    yield server
    server.kill()


def leaks(text: str) -> list[str]:
    return [form for form in FORMS if form in text]


def run_for(
    folder: Path, weights: Path, arguments: list[str], during: Callable[[str], None] = lambda text: None
) -> tuple[str, int]:
    """Run the program for some frames; gives all that it said, and its exit code."""
    environment = {**os.environ, "CAMERA_PASSWORD": CANARY, "PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_pipeline.py"), "run", "-v", "--weights", str(weights), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            during(line)
        return "".join(said), process.wait(60)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def written(folder: Path) -> dict[str, str]:
    return {str(p): p.read_bytes().decode("latin-1") for p in folder.rglob("*") if p.is_file() and p.suffix != ".pt"}


def test_a_run_that_works_and_breaks_keeps_the_password(
    camera: RtspServer, small_weights: Path, tmp_path: Path
) -> None:
    """All outputs at once; the server is killed and another password asked for on the way."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url, zone = camera.url("viewer:${CAMERA_PASSWORD}@"), "{name: hall, polygon: [[0, 0], [1, 0], [1, 1]]}"
    (tmp_path / "run.yaml").write_text(
        f"cameras:\n  door: {{source: '{url}', rules: {{zones: [{zone}]}}}}\n"
        "source: {reconnect: {max_attempts: 3, first_delay_s: 0.2, max_delay_s: 0.2}}\n"
    )
    served: list[str] = []
    timers: list[threading.Timer] = []

    def visit() -> None:
        for page in ("metrics", "healthz", "readyz"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
                served.append(answer.read().decode())
        camera.kill()

    def during(line: str) -> None:
        if not timers:
            timers.append(threading.Timer(8, visit))
            timers[0].start()

    outputs = [a for name in ("out.mp4", "out.jsonl", "out.csv", "events.db", f"metrics:{port}") for a in ("-o", name)]
    said, _ = run_for(tmp_path, small_weights, ["--config", "run.yaml", *outputs, "--report", "report.json"], during)
    timers[0].join()
    assert "door" in "".join(served)
    assert "rtsp://" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sources"]["door"]["emitted"] > 3
    assert report["sources"]["door"]["error"]
    for name, text in {"output": said, **{str(i): text for i, text in enumerate(served)}, **written(tmp_path)}.items():
        assert not leaks(text), name


@pytest.mark.parametrize("case", ["wrong password", "no such path", "refused", "bad host"])
def test_a_run_that_cannot_begin_keeps_the_password(
    camera: RtspServer, small_weights: Path, tmp_path: Path, case: str
) -> None:
    address = {
        "wrong password": camera.url(f"other:{CANARY}@"),
        "no such path": camera.url(f"viewer:{CANARY}@", path="/none"),
        "refused": f"rtsp://viewer:{CANARY}@127.0.0.1:9/live",
        "bad host": f"rtsp://viewer:{CANARY}@no-such-host.invalid/live",
    }[case]
    said, code = run_for(tmp_path, small_weights, ["--source", address, "-o", "out.jsonl", "--report", "report.json"])
    assert code == 1
    for name, text in {"output": said, **written(tmp_path)}.items():
        assert not leaks(text), name
