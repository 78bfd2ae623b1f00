"""A web page on which people watch and steer the run while it goes on."""

from __future__ import annotations

import importlib.util
import math
import secrets
import socket
import sys
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.control import RunControl
from pipeline.core.errors import MissingExtraError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import register_secret
from sinks.dashboard.access import Access, Guard, is_loopback
from sinks.dashboard.board import Board
from sinks.dashboard.views import Views
from sinks.draw import DrawConfig

if TYPE_CHECKING:
    from sinks.dashboard.server import WebServer

_COSTS_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DashboardConfig:
    """Where the dashboard is, and who may see it."""

    url: str = Field(default="8080", description="port, as after web:; 0 = any that is free")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 = all of this machine's"
    )
    token: str | None = Field(
        default=None,
        repr=False,
        min_length=16,
        pattern=r"^[A-Za-z0-9._~-]+$",
        description="what everyone must know who looks; absent = none on this machine's own address, else a new one",
    )
    most_cpu: float = Field(
        default=0.5, gt=0, le=1, description="share of one core for drawing and encoding; pictures come less often then"
    )
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class DashboardSink:
    """Serves the page and its interface from the run's beginning to its end.

    Nothing is drawn or encoded while nobody watches. It takes every result, for counts and events may not be lost, but
    only notes it; pictures are made in another thread, and those that come too late are left out there.

    Args:
        config: where it is.
        class_names: names by class_id.

    Raises:
        MissingExtraError: FastAPI, uvicorn or websockets is not installed.
    """

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: DashboardConfig, *, class_names: tuple[str, ...]) -> None:
        for package in ("fastapi", "uvicorn", "websockets"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(package, "web", "the output web")
        self._config = config
        self._board = Board(class_names)
        self._views = Views(self._board, config.draw, class_names, config.most_cpu)
        self._server: WebServer | None = None
        self._control: RunControl | None = None
        self._costs_asked_s = -math.inf
        self.url = ""
        """Where the page is; empty until `steer`."""

    def steer(self, control: RunControl) -> None:
        """Begin to serve, before the run does: sources that cannot be opened are seen too. Raises SinkError."""
        from sinks.dashboard.app import event_answer, make_app
        from sinks.dashboard.live import LiveFeed
        from sinks.dashboard.picture_feed import PictureFeed
        from sinks.dashboard.server import WebServer, bind

        config = self._config
        listener = bind(config.host, int(config.url))
        port = listener.getsockname()[1]
        loopback = is_loopback(config.host)
        token = config.token or (None if loopback else secrets.token_urlsafe(24))
        if token is not None:
            register_secret(token)
        self._control = control
        live = LiveFeed(control, event_answer, self._keep)
        app = make_app(control, self._board, self._views, live, PictureFeed(self._views))
        guard = Guard(app, Access(loopback, token, f"tracklight-{port}"))
        self._board.on_event = live.tell
        self._server = WebServer(guard, listener, live.begin)
        self._views.start()
        self._server.start()
        self.url = f"http://{_shown_host(config.host)}:{port}/"
        made = token is not None and config.token is None
        # Not through the log, which hides the token and may be kept.
        sys.stderr.write(f"tracklight: dashboard at {self.url}{f'?token={token}' if made else ''}\n")

    def open(self, info: StreamInfo) -> None:
        """Nothing to do: a source is shown from its beginning."""

    def write(self, result: FrameResult) -> None:
        """Show a result."""
        self._ask_costs()
        self._board.take(result)

    def see(self, frame: Frame) -> None:
        """Show a frame that was just read with what is known by now. From the source's thread."""
        self._board.see(frame)

    def end_source(self, closing: Closing) -> None:
        """Show what the end of a source has ended."""
        self._board.end_source(closing)

    def close(self) -> None:
        """Close every connection, within 2 s. Idempotent."""
        self._views.close()
        if self._server is not None:
            self._server.stop()
        self._server = None

    def _ask_costs(self) -> None:
        """Now and then, for the charts: also while nobody watches."""
        now_s = time.monotonic()
        if self._control is None or now_s - self._costs_asked_s < _COSTS_EVERY_S:
            return
        self._costs_asked_s = now_s
        costs = {one.source_id: LatencyCost.shown(one.latency_costs) for one in self._control.sources()}
        self._board.ap50_lost = {name: cost.ap50_lost or 0.0 for name, cost in costs.items() if cost is not None}

    def _keep(self, source_ids: Collection[str]) -> None:
        """Forget other sources than these."""
        self._board.keep(source_ids)
        self._views.keep(source_ids)


def _shown_host(host: str) -> str:
    """What people type to reach it."""
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host
