"""Annotated video pushed to an RTSP server (ANNOUNCE and RECORD over TCP)."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

import av
from av.container import OutputContainer
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.url import Url, redact
from sinks.draw import Annotator, DrawConfig
from sinks.encoder import EncoderSettings, Preset, VideoEncoder
from sinks.media_time import TICKS_PER_S, MediaTime
from sinks.picture_size import PictureSize
from sinks.tcp_relay import TcpRelay

logger = logging.getLogger(__name__)

_DEFAULT_PORT = 554
_ASSUMED_FPS = 25.0
_STEADY_S = 2.0
"""A connection that holds this long is well; one that ends sooner is one more failure in a row."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RtspConfig:
    """Which server gets the video, and how it is encoded."""

    url: str = Field(repr=False, description="where to push to, rtsp://user:password@host:port/path")
    crf: int = Field(default=23, ge=0, le=51, description="constant quality; lower is better and larger")
    bitrate_kbps: int | None = Field(default=None, ge=10, description="mean bit rate (kbit/s) instead of crf")
    preset: Preset = Field(default="auto", description="speed of encoding against size; auto = fast and small enough")
    threads: int = Field(default=0, ge=0, le=64, description="encoder threads; 0 = by the cores there are")
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="longest wait for the server (s)")
    max_attempts: int = Field(default=0, ge=0, description="failures in a row before giving up; 0 = never")
    wait_for_first: bool = Field(
        default=False,
        description="try again also before the server ever took the stream; false = it must be there at the start",
    )
    first_delay_s: float = Field(default=0.5, gt=0, description="wait before the second attempt (s); then doubled")
    max_delay_s: float = Field(default=5.0, gt=0, description="longest wait between attempts (s)")
    jitter: float = Field(default=0.2, ge=0, le=1, description="each wait is shortened by up to this part")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class RtspSink:
    """Pushes one source's frames as H.264 without delay in the encoder, timed like the source's.

    A server that closes the connection or takes nothing for `timeout_s` is lost: pictures are dropped and counted
    until an attempt succeeds, and the new connection begins with a key frame. A server that is not there at the start
    is an error, as is one that refuses the stream.

    Args:
        config: the server and the encoder's settings.
        class_names: names by class_id.
        now_s: a monotonic clock.
        rng: source of the jitter.

    Raises:
        UsageError: the URL is no rtsp:// URL with a host.
    """

    needs_image = True
    needs_main_thread = False
    is_live = True
    shared = False
    compensated = "pictures"

    def __init__(
        self,
        config: RtspConfig,
        *,
        class_names: tuple[str, ...],
        now_s: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._name = str(Url(config.url))
        parts = urlsplit(config.url)
        if parts.scheme.lower() != "rtsp" or not parts.hostname:
            raise UsageError(f"output {self._name}: wanted rtsp://host:port/path, found another form")
        self._annotator = Annotator(config.draw, class_names)
        self._now_s = now_s
        self._rng = rng or random.Random()
        self._info: StreamInfo | None = None
        self._push: _Push | None = None
        self._begun_s = 0.0
        self._retry_s = 0.0
        self._failures = 0
        self._was_live = False
        self._given_up: SinkError | None = None
        self._n_dropped = 0
        self._n_reconnects = 0

    @property
    def counters(self) -> Mapping[str, int]:
        """Pictures that were not sent because there was no connection, and new connections."""
        return {"dropped_away": self._n_dropped, "reconnects": self._n_reconnects}

    def open(self, info: StreamInfo) -> None:
        """Remember the source; the server is called with the first frame, whose size the stream has."""
        self._info = info

    def write(self, result: FrameResult) -> None:
        """Draw, encode and send one frame, or drop it. Raises SinkError where no further attempt is made."""
        if self._info is None:
            raise SinkError(f"{self._name}: wanted open() before write(), found the sink not open")
        if self._given_up is not None:
            raise self._given_up
        if self._push is None and self._now_s() < self._retry_s:
            self._n_dropped += 1
            return
        try:
            self._send(self._info, result)
        except SinkError as error:
            self._n_dropped += 1
            self._failed(error)

    def close(self) -> None:
        """Take leave of the server. Idempotent."""
        if self._push is not None:
            self._push.close()
        self._info = self._push = None

    def _send(self, info: StreamInfo, result: FrameResult) -> None:
        if self._push is None:
            self._push = _Push(self._config, self._name, info, result.frame.shape_hw)
            self._begun_s = self._now_s()
            self._n_reconnects += self._was_live
        self._push.send(result, self._annotator)
        self._was_live = True
        if self._failures and self._now_s() - self._begun_s >= _STEADY_S:
            logger.warning("%s: is back after %d failed attempts", self._name, self._failures)
            self._failures = 0

    def _failed(self, error: SinkError) -> None:
        """Plan the next attempt; raises where there is none."""
        config = self._config
        self._push = None
        self._failures += 1
        refused = isinstance(error.__cause__, av.HTTPError)
        if not self._was_live and refused:
            self._given_up = error
        elif not self._was_live and not config.wait_for_first:
            self._given_up = SinkError(f"{error}; to wait until it is there: --set sink.rtsp.wait_for_first=true")
        elif config.max_attempts and self._failures >= config.max_attempts:
            self._given_up = error
        if self._given_up is not None:
            raise self._given_up from error
        if self._failures == 1:
            logger.warning("%s; pictures are dropped until it is back", error)
        delay_s = min(config.first_delay_s * 2 ** min(self._failures - 1, 30), config.max_delay_s)
        self._retry_s = self._now_s() + delay_s * (1 - config.jitter * self._rng.random())


class _Push:
    """One connection to the server. Raises SinkError from the constructor and from `send`."""

    def __init__(self, config: RtspConfig, name: str, info: StreamInfo, shape_hw: tuple[int, int]) -> None:
        self._name = name
        self._times = MediaTime(info)
        self._size = PictureSize(shape_hw, name)
        self._container: OutputContainer | None = None
        fps = info.declared_fps or _ASSUMED_FPS
        self._duration_ticks = round(TICKS_PER_S / fps)
        parts = urlsplit(config.url)
        try:
            self._relay = TcpRelay(parts.hostname or "", parts.port or _DEFAULT_PORT, config.timeout_s)
        except OSError as error:
            raise SinkError(f"{name}: wanted to reach the RTSP server, found: {error.strerror or error}") from error
        credentials, at, _ = parts.netloc.rpartition("@")
        through_relay = parts._replace(netloc=f"{credentials}{at}127.0.0.1:{self._relay.port}")
        settings = EncoderSettings(
            preset=config.preset,
            crf=config.crf,
            bitrate_kbps=config.bitrate_kbps,
            threads=config.threads,
            low_latency=True,
        )
        try:
            self._container = av.open(urlunsplit(through_relay), "w", format="rtsp", options={"rtsp_transport": "tcp"})
            self._encoder = VideoEncoder(self._container, settings, (self._size.height_px, self._size.width_px), fps)
            self._container.start_encoding()
        except av.FFmpegError as error:
            raise self._failure(error) from error

    def send(self, result: FrameResult, annotator: Annotator) -> None:
        if self._container is None or self._relay.broken():
            raise self._failure(None)
        picture = self._encoder.convert(self._size.fit(annotator.draw(result)))
        try:
            ticks = self._times.ticks(result.frame)
            self._container.mux(self._encoder.encode(picture, ticks, self._duration_ticks))
        except av.FFmpegError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            # A server that is gone cannot be taken leave of.
            with contextlib.suppress(av.FFmpegError):
                container.close()
        self._relay.close()

    def _failure(self, error: av.FFmpegError | None) -> SinkError:
        """End the connection. Returns what to raise."""
        self.close()
        said = error.strerror if error else None
        # A refusal is the server's own word; otherwise the relay knows better why the connection ended.
        reason = said if isinstance(error, av.HTTPError) else self._relay.broken() or said
        reason = redact(reason or "the connection is closed")
        return SinkError(f"{self._name}: wanted to push video, found: {reason}; check the address and the server's log")
