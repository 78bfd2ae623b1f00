"""A small network and a small clip, for what measures; and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch

from detector.checkpoint import save_checkpoint
from detector.models import build_model
from pipeline.benchmark.clip import make_clip


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOX-nano of two classes for 64 px."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, build_model("yolox-nano", num_classes=2), ("cat", "dog"), input_hw=(64, 64))
    return path


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of 128x96."""
    return make_clip(tmp_path_factory.mktemp("clip") / "small.mp4", 40, (96, 128))


class PostgresServer:
    """A server with a data folder of its own on a free port of the loopback interface.

    Args:
        binaries: folder of initdb and pg_ctl.
        folder: empty, owned by the user that runs the server.
        prefix: what a command begins with to run as that user.
    """

    def __init__(self, binaries: Path, folder: Path, prefix: list[str]) -> None:
        self._binaries = binaries
        self._folder = folder
        self._prefix = prefix
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._databases: set[int] = set()
        self._run("initdb", "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off -c shared_buffers=16MB"
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-D", str(self._folder / "data"), "-l", log, "-w", "-o", options)

    def stop(self) -> None:
        """End it as a crash would: no connection is told."""
        self._run("pg_ctl", "stop", "-D", str(self._folder / "data"), "-m", "immediate", "-w")

    def empty_database(self, number: int) -> str:
        """The URL of a database without a store; the same one for the same number, since making one is slow."""
        import psycopg

        name = f"store{number}"
        if number not in self._databases:
            with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            self._databases.add(number)
        with psycopg.connect(self._url(name), autocommit=True) as connection:
            connection.execute("SET client_min_messages TO warning")
            connection.execute("DROP SCHEMA IF EXISTS tracklight CASCADE")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://tester:canary-password@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._prefix, str(self._binaries / program), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running server, started once; a test that stops it starts it again."""
    pytest.importorskip("psycopg", reason="the PostgreSQL driver is not installed (extra postgres)")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if os.name == "posix" else []
    if not folders:
        pytest.skip("no PostgreSQL server on this machine (Debian: postgresql)")
    prefix: list[str] = []
    folder = Path(tempfile.mkdtemp(prefix="tl-pg-"))
    try:
        if os.geteuid() == 0:
            # The server refuses to run as root.
            try:
                shutil.chown(folder, "postgres")
            except LookupError:
                pytest.skip("running as root, and there is no user postgres to run the server as")
            prefix = ["runuser", "-u", "postgres", "--"]
        server = PostgresServer(folders[-1], folder, prefix)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new_database(postgres_server: PostgresServer) -> Callable[[], str]:
    """Gives the URL of a database without a store, at each call within a test another one."""
    numbers = count()
    return lambda: postgres_server.empty_database(next(numbers))
