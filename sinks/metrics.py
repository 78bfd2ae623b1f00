"""Figures for Prometheus, and probes for whoever restarts what hangs."""

from __future__ import annotations

import logging
from http import HTTPStatus

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.control import RunControl
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import redact
from sinks.probe_server import Page, ProbeServer, text_page
from sinks.run_health import RunHealth
from sinks.run_metrics import CONTENT_TYPE, RunMetrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MetricsConfig:
    """Where the pages are."""

    url: str = Field(default="9464", description="PORT, as after metrics:; 0 = any that is free")
    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 = all of this machine's")
    hang_s: float = Field(
        default=30.0, gt=0, description="/healthz fails when an output or a stage hangs for so long (s)"
    )


class MetricsSink:
    """Serves /metrics (Prometheus), /healthz and /readyz from before the first frame to the run's end.

    Args:
        config: where.
        class_names: names by class_id.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False  # it counts events: none may be dropped, and a result costs it microseconds
    shared = True

    def __init__(self, config: MetricsConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._metrics = RunMetrics(class_names)
        self._health = RunHealth(config.hang_s)
        self._control: RunControl | None = None
        self._server: ProbeServer | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before."""
        return self._server.port if self._server else 0

    def steer(self, control: RunControl) -> None:
        """The run that is watched. The pages are there from now on. Raises SinkError."""
        self._control = control
        self._metrics.watch(control)
        self._listen()

    def open(self, info: StreamInfo) -> None:
        """Listen, where nobody has steered. Raises SinkError."""
        if self._server is None:
            self._listen()

    def write(self, result: FrameResult) -> None:
        """Count what the frame shows."""
        self._metrics.add(result)

    def end_source(self, closing: Closing) -> None:
        """Count what the source's end has ended."""
        self._metrics.end_source(closing)

    def close(self) -> None:
        """Answer nobody any more. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _listen(self) -> None:
        pages = {"/metrics": self._figures, "/healthz": self._alive, "/readyz": self._ready}
        self._server = ProbeServer(self._config.host, int(self._config.url), pages)
        logger.info("metrics at http://%s:%d/metrics", self._config.host, self.port)

    def _figures(self) -> Page:
        return Page(HTTPStatus.OK, CONTENT_TYPE, self._metrics.text())

    def _alive(self) -> Page:
        trouble = self._health.trouble(self._control)
        return text_page(HTTPStatus.SERVICE_UNAVAILABLE, redact(trouble)) if trouble else text_page(HTTPStatus.OK, "ok")

    def _ready(self) -> Page:
        if self._health.is_ready(self._control):
            return text_page(HTTPStatus.OK, "ready")
        return text_page(HTTPStatus.SERVICE_UNAVAILABLE, "no frame yet")
