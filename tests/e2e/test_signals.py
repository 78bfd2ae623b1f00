"""SIGHUP and SIGTERM as a service manager sends them: to a real process, by its number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP"),
]
PROGRAM = """
import sys, threading
from pathlib import Path

sys.path.insert(0, sys.argv.pop(1))
from pipeline.cli.main import main
from sinks.jsonl import JsonlSink

write = JsonlSink.write

def stick(self, result):
    if Path("stick").exists():
        Path("stuck").touch()
        threading.Event().wait()
    write(self, result)

JsonlSink.write = stick
sys.exit(main())
"""
"""The program, with an output that gets stuck for ever once a file `stick` is there."""
DRAIN_S = 1.0


class Service:
    """The program in a folder of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ROOT), "run", "--backend", "eager", *arguments],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    services: list[Service] = []

    def start(*arguments: str) -> Service:
        services.append(Service(tmp_path, *arguments))
        return services[-1]

    yield start
    for service in services:
        service.close()


def test_a_service_is_told_of_its_file_and_ends_in_time_with_an_output_that_is_stuck(
    serve: Callable[..., Service], long_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    """One process for both signals, since each costs seconds to start."""
    config, rows = tmp_path / "run.yaml", tmp_path / "all.csv"

    def cameras(*names: str) -> str:
        places = "".join(f"  {name}: {{source: '{long_clip}'}}\n" for name in names)
        return f"runtime: {{realtime: true, keep_open: true, drain_s: {DRAIN_S}}}\ncameras:\n{places}"

    config.write_text(cameras("a", "b"))
    service = serve(
        *("--config", "run.yaml", "--weights", str(small_weights), "--report", "report.json", "--quiet"),
        *("-o", "all.csv", "-o", "all.jsonl"),
    )

    def seen(name: str) -> int:
        return rows.read_text().count(f"\n{name},") if rows.exists() else 0

    def until(condition: Callable[[], object]) -> None:
        give_up, pause = time.monotonic() + 30, threading.Event()
        while not condition():
            assert service.process.poll() is None, service.said
            assert time.monotonic() < give_up, service.said
            pause.wait(0.05)

    def told(text: str) -> None:
        config.write_text(text)
        service.process.send_signal(signal.SIGHUP)

    until(lambda: seen("a") and seen("b"))
    told(cameras("a", "c"))
    until(lambda: "configuration read again: added c; removed b" in service.said)
    until(lambda: seen("c"))
    # A mistake is one line, and the run goes on.
    told(cameras("a", "c") + "  d: {source: gone.mp4}\n")
    until(lambda: "configuration not taken over, the run goes on as it was: " in service.said)
    before = seen("a"), seen("c")
    until(lambda: seen("a") > before[0] and seen("c") > before[1])

    (tmp_path / "stick").touch()
    until((tmp_path / "stuck").exists)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(30) == 1
    # Once for what was read to be written, once for the stages to end.
    assert time.monotonic() - began < 2 * DRAIN_S + 2
    service.close()
    assert "sink:all.jsonl" in service.said
    assert "is blocked and did not end when told to" in service.said
    assert "leaving with sink:all.jsonl still blocked" in service.said
    assert "Traceback" not in service.said
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["status"] == "failed"
    for name in "abc":
        account = report["sources"][name]
        assert account["produced"] == account["emitted"] + sum(account["dropped"].values())
    whole = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert {line["source"] for line in whole} == {"a", "b", "c"}
