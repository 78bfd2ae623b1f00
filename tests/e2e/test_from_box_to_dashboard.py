"""The ten lines of docs/cameras.md, as they stand there, against a camera that asks for a password."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "servers"))

from rtsp_process import MissingServerError, RtspServer  # noqa: E402

pytestmark = pytest.mark.timeout(120)
DOC = (ROOT / "docs" / "cameras.md").read_text()
PASSWORD = "#1/of?the@house"
"""With all that the doc says how to write in a URL."""


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    server = RtspServer("--user", "viewer", "--password", PASSWORD, "--fps", "50")
    try:
        server.start()
    except MissingServerError as error:
        pytest.skip(f"the RTSP test server needs GStreamer's RTSP server: {error}")
    yield server
    server.kill()


def step(number: int) -> str:
    """One of the ten lines."""
    found = re.search(rf"^{number}\. (.+)$", DOC, re.MULTILINE)
    assert found
    return found.group(1)


def commands(number: int) -> list[str]:
    return re.findall(r"`(\w.*?)`", step(number))


def escaped(password: str) -> str:
    """As line 5 says: pairs of a sign and how it is written."""
    for sign, written in re.findall(r"`(\S)` as `(%\w\w)`", step(5)):
        password = password.replace(sign, written)
    return password


def at(text: str, camera: RtspServer) -> str:
    """With the camera's address for those of the doc."""
    changed = re.sub(r"192\.168\.1\.\d+/stream1", f"127.0.0.1:{camera.port}/live", text)
    assert changed != text
    return changed


def until(condition: Callable[[], object], process: subprocess.Popen[str], said: list[str]) -> None:
    give_up, pause = time.monotonic() + 30, threading.Event()
    while not condition():
        assert process.poll() is None, "".join(said)
        assert time.monotonic() < give_up, "".join(said)
        pause.wait(0.05)


def test_from_box_to_dashboard(camera: RtspServer, small_weights: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CAMERA_PASSWORD": escaped(PASSWORD),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    shell = {"cwd": tmp_path, "env": environment, "text": True, "stderr": subprocess.PIPE}
    network = f" --weights {small_weights} --backend eager"  # which loads at once
    # 6: does it work?
    (check,) = [text for text in commands(6) if text.startswith("tracklight")]
    tried = subprocess.run(at(check, camera) + network, shell=True, check=False, timeout=60, **shell)
    assert tried.returncode == 0, tried.stderr
    # 7, 8, 9: the file of the doc, and the dashboard at the address that is printed.
    block = re.search(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert block
    (tmp_path / "cameras.yaml").write_text(at(block.group(1), camera))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (run,) = commands(8)
    process = subprocess.Popen(f"exec {run}:{port}{network} --quiet", shell=True, **shell)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    try:
        until(lambda: "dashboard at http" in "".join(said), process, said)
        (address,) = re.findall(r"dashboard at (\S+)", "".join(said))

        def emitted() -> dict[str, int]:
            found = httpx.get(f"{address}api/v1/sources").json()
            return {one["id"]: one["emitted"] for one in found}

        assert "<html" in httpx.get(address).text
        until(lambda: len(emitted()) == 2 and min(emitted().values()) > 0, process, said)
        assert emitted().keys() == {"door", "yard"}
        assert httpx.get(f"{address}api/v1/sources/door/snapshot.jpg").content[:2] == b"\xff\xd8"
        # 10: another camera, while it runs.
        with (tmp_path / "cameras.yaml").open("a") as file:
            file.write(f"  garden: {{source: '{camera.url('viewer:${CAMERA_PASSWORD}@')}'}}\n")
        process.send_signal(signal.SIGHUP)
        until(lambda: emitted().get("garden", 0) > 0, process, said)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130, "".join(said)
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
    assert PASSWORD not in "".join(said)
    assert escaped(PASSWORD) not in "".join(said)
