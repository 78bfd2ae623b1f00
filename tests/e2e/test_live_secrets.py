"""No secret of an address or of the environment is in anything that a run writes, says, sends or serves."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "servers"))

from rtsp_process import MissingServerError, RtspServer  # noqa: E402

pytestmark = pytest.mark.timeout(120)
MARK = "c4nary"
"""In every secret, and nowhere else."""
PASSWORD = f"{MARK}-camera-%40x"
"""With an escaped sign, which libraries like to unescape before they show it."""
SECRETS = {
    "CAMERA_PASSWORD": PASSWORD,
    "MQTT_PASSWORD": f"{MARK}-broker",
    "HOOK_PATH": f"{MARK}-path",
    "HOOK_KEY": f"{MARK}-key",
    "NEVER_USED": f"{MARK}-other",
}
MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    server = RtspServer("--user", "viewer", "--password", PASSWORD.replace("%40", "@"))
    try:
        server.start()
    except MissingServerError as error:
        pytest.skip(f"the RTSP test server needs GStreamer's RTSP server: {error}")
    yield server
    server.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = 40) -> Any:
    waited = threading.Event()
    for _ in range(round(seconds * 50)):
        if found := condition():
            return found
        waited.wait(0.02)
    raise AssertionError(f"did not come about in {seconds} s")


class Program:
    """The program in a process of its own, and all that it said."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "run_pipeline.py"), "run", "-v", "--backend", "eager", *arguments],
            cwd=folder,
            env={**os.environ, **SECRETS, "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        self.said.extend(self._process.stdout)

    def text(self) -> str:
        return "".join(self.said)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> int:
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()
            self._reader.join()
            assert self._process.stdout is not None
            self._process.stdout.close()


@contextmanager
def web_hook() -> Iterator[tuple[int, list[str]]]:
    """Refuses the first message for now, and takes all others: the port, and the bodies that came."""
    bodies: list[str] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path.endswith(SECRETS["HOOK_PATH"])
            assert self.headers["Authorization"] == SECRETS["HOOK_KEY"]
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200 if len(bodies) > 1 else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port, bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def broker(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A broker: its port, and every message that came, by topic."""
    from paho.mqtt import client as paho

    if MOSQUITTO is None:
        pytest.skip("mosquitto is not installed (Debian: mosquitto)")
    port, messages = free_port(), {}
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\npersistence false\nallow_anonymous true\nuser root\n")
    process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stderr=subprocess.DEVNULL)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.on_connect = lambda one, *_: one.subscribe("#")
    client.on_message = lambda _client, _data, message: messages.update({message.topic: message.payload.decode()})
    try:
        with socket.socket() as probe:
            until(lambda: probe.connect_ex(("127.0.0.1", port)) == 0)
        client.connect("127.0.0.1", port)
        client.loop_start()
        yield port, messages
    finally:
        client.disconnect()
        client.loop_stop()
        process.kill()
        process.wait()


def written(folder: Path) -> dict[str, str]:
    return {str(path): path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()}


def assert_no_secret(texts: dict[str, str]) -> None:
    """In any case, escaped or not."""
    for name, text in texts.items():
        place = text.lower().find(MARK)
        assert place < 0, f"{name}: {text[max(place - 60, 0) : place + 40]!r}"


def visited(port: int, token: str) -> dict[str, str]:
    """Everything that the dashboard serves."""
    from websockets.sync.client import connect

    base, api, head = f"http://127.0.0.1:{port}", "/api/v1", {"Authorization": f"Bearer {token}"}
    added = {"address": f"rtsp://someone:{MARK}-added-%40x@127.0.0.1:9/live"}
    with httpx.Client(base_url=base, headers=head, timeout=10) as client:
        texts = {"without the token": httpx.get(base).text, "page": client.get("/").text}
        until(lambda: client.get(f"{api}/events").json())
        assets = re.findall(r'(?:src|href)="([^"#]+\.(?:js|css|svg))"', texts["page"])
        assert assets
        answer = client.post(f"{api}/sources", json=added)
        texts["added"] = answer.text
        other = answer.json()["id"]
        until(lambda: "refused" in client.get(f"{api}/sources").text)
        texts["taken twice"] = client.post(f"{api}/sources", json={"address": f"rtsp://u:{MARK}@[bad/live"}).text
        pages = [f"{api}/{path}" for path in ("openapi.json", "sources", "report", "events", "history/door")]
        for page in (*assets, *pages, f"{api}/sources/door/tracks", f"{api}/sources/door/snapshot.jpg"):
            answer = client.get(page)
            assert answer.status_code == 200, page
            texts[page] = answer.content.decode("latin-1")
        texts["restart"] = client.post(f"{api}/sources/{other}/restart").text
        texts["removed"] = client.delete(f"{api}/sources/{other}").text
    with connect(f"ws://127.0.0.1:{port}{api}/live", additional_headers=head) as socket_:
        texts["live"] = str(socket_.recv(10))
    return texts


def test_everything_that_a_run_tells_keeps_every_secret(
    camera: RtspServer, small_weights: Path, tmp_path: Path
) -> None:
    """All outputs at once, over all ways in which a secret is given; the camera is gone on the way, for good."""
    folder, web, metrics, token = tmp_path / "run", free_port(), free_port(), f"{MARK}-token-of-the-web"
    folder.mkdir()
    with web_hook() as (hook, bodies), broker(tmp_path) as (mqtt, messages):
        (folder / "run.yaml").write_text(
            "cameras:\n"
            f"  door: {{source: '{camera.url('viewer:${CAMERA_PASSWORD}@')}',\n"
            "         rules: {zones: [{name: hall, polygon: [[0, 0], [1, 0], [1, 1], [0, 1]]}]}}\n"
            "alerts:\n"
            f"  - {{name: bell, kinds: [visit], webhook: 'http://127.0.0.1:{hook}/${{HOOK_PATH}}',\n"
            "     headers: {Authorization: '${HOOK_KEY}'}}\n"
            "source: {reconnect: {max_attempts: 2, first_delay_s: 0.1, max_delay_s: 0.1}}\n"
            "sink: {rtsp: {wait_for_first: true}, recorder: {min_free_gb: 0, clips: {kinds: [visit]}}}\n"
        )
        outputs = [
            *("out.mp4", "out.jsonl", "out.csv", "events.db", "record:kept", "live.m3u8"),
            *(f"web:{web}", f"metrics:{metrics}", f"mqtt://cam:${{MQTT_PASSWORD}}@127.0.0.1:{mqtt}/house"),
            f"rtsp://pusher:{MARK}-push@127.0.0.1:9/live",
        ]
        program = Program(
            folder,
            *("--config", "run.yaml", "--weights", str(small_weights), "--log-format", "json"),
            *("--report", "report.json", "--set", f"sink.web.token={token}"),
            *(word for output in outputs for word in ("-o", output)),
        )
        try:
            until(lambda: "dashboard at" in program.text())
            until(lambda: len(bodies) > 1)
            served = visited(web, token)
            until(lambda: {"house/status", "house/door/state", "house/door/events"} <= messages.keys())
            served |= {
                page: httpx.get(f"http://127.0.0.1:{metrics}/{page}").text for page in ("metrics", "healthz", "readyz")
            }
        finally:
            camera.kill()
            code = program.end()
    assert code == 1
    report = json.loads((folder / "report.json").read_text())
    assert report["sources"]["door"]["emitted"] > 3
    assert "refused" in report["sources"]["door"]["error"]
    assert "Traceback" in program.text()
    assert "rtsp://***@127.0.0.1:9" in program.text()
    assert (folder / "kept" / "clips").is_dir()
    assert "tracklight_frames_emitted_total" in served["metrics"]
    (folder / "run.yaml").unlink()
    assert_no_secret({"said": program.text(), "web hook": "".join(bodies), **served, **messages, **written(folder)})


def test_a_run_that_cannot_begin_and_one_that_crashes_keep_the_password(
    camera: RtspServer, small_weights: Path, tmp_path: Path
) -> None:
    """Four sources that fail, each in its way, beside one that works; then the process is aborted, with a dump."""
    addresses = {
        "401": camera.url(f"other:{PASSWORD}@"),
        "404": camera.url("viewer:${CAMERA_PASSWORD}@", path="/none"),
        "connection refused": f"rtsp://viewer:{PASSWORD}@127.0.0.1:9/live",
        "no-such-host": f"rtsp://viewer:{PASSWORD}@no-such-host.invalid/live",
    }
    sources = [*addresses.values(), camera.url("viewer:${CAMERA_PASSWORD}@")]
    program = Program(
        tmp_path,
        *("--weights", str(small_weights), "-o", "out.jsonl"),
        *(word for source in sources for word in ("--source", source)),
    )
    try:
        until(lambda: (tmp_path / "out.jsonl").exists() and (tmp_path / "out.jsonl").stat().st_size > 1000)
        until(lambda: all(wanted in program.text() for wanted in addresses))
    finally:
        program.send(signal.SIGABRT)
        code = program.end()
    # The dump looks at threads that go on, which now and then kills the process before its own end does.
    assert code in (-signal.SIGABRT, -signal.SIGSEGV)
    assert "Fatal Python error: Aborted" in program.text()
    assert_no_secret({"said": program.text(), **written(tmp_path)})


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", f"postgresql://me:{PASSWORD}@127.0.0.1:9/events"],
        ["-o", f"mqtt://me:{PASSWORD}@/prefix"],
        ["-o", f"ftp://me:{PASSWORD}@127.0.0.1/x"],
        ["--set", "sink.web.token=${NOT_SET}", "-o", f"rtsp://me:{PASSWORD}@127.0.0.1:x/live"],
        ["--set", f"sink.web.token=[{MARK}]"],
        ["--set", f"sink.web.token={MARK}"],
        ["--set", f"sink.rtsp_serve.password=[{MARK}]"],
        ["--set", f"alerts=[{{name: bell, webhook: 'http:/{MARK}'}}]"],
        ["--set", f"alerts=[{{name: bell, webhook: 'http://host/x', headers: {{A-ü: {MARK}}}}}]"],
        ["--source", f"rtsp://me:{PASSWORD}@[::1/live", "-o", "null"],
    ],
    ids=["store", "broker", "scheme", "push", "token", "short", "password", "hook", "head", "source"],
)
def test_a_mistake_in_the_settings_keeps_the_password(
    arguments: list[str], clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "-v", "--source", str(clip), *arguments]) in (1, 2)
    said = "".join(capfd.readouterr())
    assert "tracklight: " in said
    assert_no_secret({"said": said})
