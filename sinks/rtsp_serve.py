"""Annotated video that viewers fetch from us: an RTSP server with a stream for each source."""

from __future__ import annotations

import ipaddress
import logging
from collections import Counter
from collections.abc import Mapping

import av
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.url import register_secret
from sinks.draw import Annotator, DrawConfig
from sinks.encoder import EncoderSettings, Preset
from sinks.media_time import TICKS_PER_S, MediaTime
from sinks.packets import PacketEncoder
from sinks.picture_size import PictureSize
from sinks.serve_link import ServeLink
from sinks.source_thread import SourceThread

logger = logging.getLogger(__name__)

_ASSUMED_FPS = 25.0
_WAITING = 2


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RtspServeConfig:
    """Where the server listens, who may watch, and how the video is encoded."""

    url: str = Field(description="where to serve: rtsp-serve:PORT or rtsp-serve:PORT/path; port 0 = any free one")
    address: str = Field(default="127.0.0.1", description="network address to listen on; 0.0.0.0 = all")
    user: str = Field(default="", description="who may watch; needed where others can reach the address")
    password: str = Field(default="", repr=False, description="of the user, such as ${RTSP_PASSWORD}")
    crf: int = Field(default=23, ge=0, le=51, description="constant quality; lower is better and larger")
    bitrate_kbps: int | None = Field(default=None, ge=10, description="mean bit rate (kbit/s) instead of crf")
    preset: Preset = Field(default="auto", description="speed of encoding against size; auto = fast and small enough")
    threads: int = Field(default=0, ge=0, le=64, description="encoder threads; 0 = by the cores there are")
    draw: DrawConfig = Field(default_factory=DrawConfig, description="what is drawn")


class RtspServeSink:
    """Serves every source at rtsp://address:port/<source_id>, or below a path: port/path/<source_id>.

    Pictures are drawn and encoded only while somebody watches, each source in a thread of its own. A viewer who comes
    gets a key frame at once; one who is slow holds up nobody. If the server's process dies, it is started anew.

    Args:
        config: the server and the encoder's settings.
        class_names: names by class_id.

    Raises:
        UsageError: others could watch, and no password is set; or one of user and password is missing.
    """

    needs_image = True
    needs_main_thread = False
    is_live = True
    shared = True
    compensated = "pictures"

    def __init__(self, config: RtspServeConfig, *, class_names: tuple[str, ...]) -> None:
        register_secret(config.password)
        port, _, self._path = config.url.removeprefix("rtsp-serve:").partition("/")
        if not port.isdecimal():
            raise UsageError(f"output {config.url}: wanted rtsp-serve:PORT, found no port")
        self._port = int(port)
        if bool(config.user) != bool(config.password):
            raise UsageError("sink.rtsp_serve: wanted user and password, found only one of them")
        if not config.user and not _is_loopback(config.address):
            raise UsageError(
                f"sink.rtsp_serve.address: wanted a user and password where others can reach {config.address}, found "
                "none; set sink.rtsp_serve.user and .password (${ENV}), or listen on 127.0.0.1"
            )
        self._config = config
        self._class_names = class_names
        self._link: ServeLink | None = None
        self._streams: dict[str, _Stream] = {}
        self._closed = False

    @property
    def counters(self) -> Mapping[str, int]:
        """Pictures sent and not, by reason; and how often the server had to be started anew."""
        counts = Counter({"sent": 0, "unwatched": 0, "too_slow": 0, "server_away": 0})
        for stream in list(self._streams.values()):
            counts.update(stream.counters)
        return {**counts, "restarts": self._link.n_restarts if self._link is not None else 0}

    @property
    def urls(self) -> Mapping[str, str]:
        """Where each source is served."""
        port = self._link.port if self._link is not None else self._port
        return {name: f"rtsp://{self._config.address}:{port}{stream.path}" for name, stream in self._streams.items()}

    @property
    def server_pid(self) -> int:
        """The server's process, 0 while there is none."""
        return self._link.pid if self._link is not None else 0

    def open(self, info: StreamInfo) -> None:
        """Start the server with the first source. Raises SinkError."""
        config = self._config
        if self._link is None:
            self._link = ServeLink(config.address, self._port, config.user, config.password)
        if info.source_id in self._streams:
            self._streams[info.source_id].begin_anew(info)
            return
        path = f"/{self._path}/{info.source_id}" if self._path else f"/{info.source_id}"
        self._streams[info.source_id] = _Stream(config, info, self._class_names, self._link, path)
        logger.info("serving %s", self.urls[info.source_id])

    def write(self, result: FrameResult) -> None:
        """Hand the picture to its source's thread. Raises SinkError if the sink is not open."""
        stream = self._streams.get(result.frame.source_id)
        if stream is None or self._closed:
            raise SinkError(f"rtsp-serve: wanted open() before write(), found it not open for {result.frame.source_id}")
        stream.thread.put(result)

    def close(self) -> None:
        """End the server. Idempotent."""
        self._closed = True
        try:
            for stream in self._streams.values():
                stream.thread.close()
        finally:
            if self._link is not None:
                self._link.close()


class _Stream:
    """One source: its thread and its encoder."""

    def __init__(
        self, config: RtspServeConfig, info: StreamInfo, class_names: tuple[str, ...], link: ServeLink, path: str
    ) -> None:
        self.path = path
        self._link = link
        self._number = link.add(path)
        self._annotator = Annotator(config.draw, class_names)
        self._settings = EncoderSettings(
            preset=config.preset, crf=config.crf, bitrate_kbps=config.bitrate_kbps, threads=config.threads
        )
        self._counts = Counter[str]()
        self._stream: tuple[PacketEncoder, PictureSize] | None = None
        self.begin_anew(info)
        self.thread = SourceThread(f"serve:{info.source_id}", self._serve, lambda: None, capacity=_WAITING, drops=True)

    @property
    def counters(self) -> Mapping[str, int]:
        """Pictures by what became of them."""
        return {**self._counts, "too_slow": self.thread.n_dropped}

    def begin_anew(self, info: StreamInfo) -> None:
        """The source was opened, for the first time or again."""
        self._fps = info.declared_fps or _ASSUMED_FPS
        self._times = MediaTime(info)

    def _serve(self, result: FrameResult) -> None:
        if not self._link.is_watched(self._number):
            self._counts["unwatched"] += 1
            return
        if self._stream is None:
            size = PictureSize(result.frame.shape_hw, f"rtsp-serve {self.path}")
            encoder = PacketEncoder(self._settings, (size.height_px, size.width_px), self._fps, "stream")
            self._stream = encoder, size
        encoder, size = self._stream
        image = size.fit(self._annotator.draw(result))
        key = self._link.takes_key(self._number)
        ticks = self._times.ticks(result.frame)
        try:
            pictures = encoder.encode(image, ticks, round(TICKS_PER_S / self._fps), key=key)
        except av.FFmpegError as error:
            raise SinkError(f"rtsp-serve {self.path}: wanted to encode, found: {error.strerror}") from error
        for picture in pictures:
            pts_ns = picture.ticks * 1_000_000_000 // TICKS_PER_S
            sent = self._link.send(self._number, pts_ns, picture.data)
            self._counts["sent" if sent else "server_away"] += 1


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
