"""A dashboard of a run that is made up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from pipeline.core.control import SourceState, SourceStatus
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.result import FrameResult

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

from sinks.dashboard.sink import DashboardConfig, DashboardSink

TOKEN = "a-token-of-enough-length"


def status(source_id: str, state: SourceState = SourceState.LIVE, error: str | None = None) -> SourceStatus:
    return SourceStatus(
        source_id, state, True, 64, 48, 12, 10, {"newer": 2}, 24.96, 11.04, 31.9, 0.0421, {"reconnects": 1}, error
    )


class MadeUpRun:
    """A RunControl that remembers what it was asked."""

    def __init__(self) -> None:
        self.there: dict[str, SourceStatus] = {"door": status("door"), "yard": status("yard")}
        self.asked: list[tuple[str, str]] = []

    def sources(self) -> tuple[SourceStatus, ...]:
        return tuple(self.there.values())

    def report(self) -> Mapping[str, Any]:
        return {"status": "completed", "errors": ["rtsp://admin:hunter22@cam/1: refused"], "wall_s": 1.5}

    def measures(self, bounds_s: Sequence[float]) -> Any:
        raise AssertionError("the dashboard asks for no measures")

    def add(self, address: str) -> str:
        self.asked.append(("add", address))
        if address.startswith("nowhere"):
            raise UsageError(f"source {address}: wanted a file,\nfound nothing")
        if address.startswith("rtsp:"):
            raise SourceError(f"{address}: refused")
        self.there[address] = status(address)
        return address

    def remove(self, source_id: str) -> None:
        self.asked.append(("remove", source_id))
        del self.there[source_id]

    def restart(self, source_id: str) -> None:
        self.asked.append(("restart", source_id))


class Served:
    """A dashboard that is being served.

    `url` is that of the page; `get` and `client` know the token if there is one.
    """

    def __init__(self, make_result: Callable[..., FrameResult], settings: Mapping[str, Any]) -> None:
        self.run = MadeUpRun()
        self.sink = DashboardSink(DashboardConfig(url="0", **settings), class_names=("person", "car"))
        self._make_result = make_result
        self._index = 0
        self.sink.steer(self.run)
        self.port = int(self.sink.url.rstrip("/").rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}/"
        token = settings.get("token")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=5, trust_env=False)

    def write(self, source_id: str = "door", *, level: int = 90, height: int = 48, **what: Any) -> None:
        """A result, just captured."""
        what.setdefault("image", np.full((height, height * 4 // 3, 3), level, np.uint8))
        self._index += 1
        self.sink.write(
            self._make_result(self._index, source_id=source_id, captured_ns=time.monotonic_ns() - 9_000_000, **what)
        )

    def close(self) -> None:
        self.client.close()
        self.sink.close()


@pytest.fixture(scope="module")
def served(make_result: Callable[..., FrameResult]) -> Iterator[Served]:
    """One dashboard for all tests of a file that do not change it."""
    served = Served(make_result, {})
    # Its event loop starts a thread for such a request and keeps it; no test is to be blamed for that.
    served.client.post("/api/v1/sources/door/restart")
    yield served
    served.close()


@pytest.fixture(scope="module")
def locked(make_result: Callable[..., FrameResult]) -> Iterator[Served]:
    """One that others than this machine can reach, with a token."""
    served = Served(make_result, {"host": "0.0.0.0", "token": TOKEN})
    yield served
    served.close()


@pytest.fixture
def serve(make_result: Callable[..., FrameResult]) -> Iterator[Callable[..., Served]]:
    """Serves a dashboard with some settings, until the test ends; then no thread of it is left."""
    before = set(threading.enumerate())
    made: list[Served] = []

    def begin(**settings: Any) -> Served:
        made.append(Served(make_result, settings))
        return made[-1]

    yield begin
    for served in made:
        served.close()
    assert set(threading.enumerate()) <= before
