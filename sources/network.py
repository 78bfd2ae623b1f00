"""Video over the network: RTSP, RTMP, HTTP (files, MJPEG, HLS), UDP, RTP, SRT, TCP."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Annotated

import av.error
from av.container import InputContainer
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Clock
from pipeline.core.url import Url
from sources.av_interrupt import interruptible
from sources.decoder import Picture, VideoDecoder
from sources.flow import StalledError
from sources.hardware import HwDecode, open_with_hardware
from sources.libav import OpenFailure, OpenOptions
from sources.live_time import LiveTime
from sources.network_errors import ServerBusyError, TransportRefusedError, opening_failed, reading_failed
from sources.rtsp_transport import RtspTransport, Transport

_WHITELISTS = {
    "rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls,crypto",
    "rtmp": "rtmp,rtmps,rtmpt,rtmpts,rtmpe,tcp,tls,http,https,crypto",
    "http": "http,https,httpproxy,tcp,tls,crypto,data,hls",
    "udp": "udp",
    "rtp": "rtp,srtp,udp",
    "srt": "srt",
    "tcp": "tcp",
}
"""Protocols that FFmpeg may use, by scheme without a final "s": a playlist must not lead to a file of this machine."""

RTSP_OPEN_TIMEOUT_S, RTSP_READ_TIMEOUT_S = 4.0, 2.0
"""A camera streams all the time, so silence is a break. Reading twice: after lost bytes FFmpeg may wait for the end of
a packet that there never was, twice in a row. With waits of at most 2.5 s a camera is live 5 s after it is back."""
TIMEOUT_S = 10.0
"""Others send their pictures in parcels."""
HLS_READ_TIMEOUT_S = 30.0
"""A live playlist gives nothing for a whole segment (often 6 to 10 s), then several seconds at once."""
BUSY_DELAY_S = 0.2
"""An RTSP server that is busy is asked again after so long, then after twice as long, and so on."""


def _url(value: object) -> object:
    url = Url(value) if isinstance(value, str) else value
    if isinstance(url, Url) and url.scheme.removesuffix("s") not in _WHITELISTS:
        raise ValueError(f"wanted a URL of {', '.join(_WHITELISTS)}, found the scheme {url.scheme!r}")
    return url


@dataclass(
    frozen=True,
    kw_only=True,
    config=ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True),
)
class NetworkConfig:
    """Where the stream is and how to receive it."""

    url: Annotated[Url, BeforeValidator(_url)] = Field(description="address; credentials in it are never shown")
    transport: Transport = Field(
        default="tcp",
        description="RTSP only: tcp is complete, udp loses packets but never waits for them; tcp where udp brings none",
    )
    live: bool | None = Field(
        default=None, description="take it for live (newest frame, nothing waits) or recorded; null = find out"
    )
    open_timeout_s: float | None = Field(
        default=None, gt=0, description="limit of connecting (s); null = 4 s for RTSP, 10 s for others"
    )
    read_timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="a stream that gives nothing for so long has failed (s); null = 2 s for RTSP, 10 s for others; "
        "HLS: at least 30 s",
    )
    hw_decode: HwDecode = Field(default="none", description="hardware decoder: none, auto, or its name")
    threads: int = Field(default=0, ge=0, description="decoder threads; 0 = by the cores there are")


class NetworkSource:
    """Frames of one network stream.

    Live streams (RTSP, RTMP, UDP, RTP, SRT, TCP, MJPEG and open-ended HLS) end only by failing: the end of the data
    is a disconnect. A finished HLS playlist and a plain video file over HTTP are recordings: they end cleanly and no
    frame of theirs may be dropped. Damaged frames are left out and counted as `corrupt`; on a live stream, so is
    what follows them up to the next key frame.

    Args:
        config: the stream.
        source_id: unique name of the source within the run.
        clock: clock of `Frame.captured_ns`.
        transport: what the connections before this one found out; a fresh one by default.
    """

    def __init__(
        self, config: NetworkConfig, *, source_id: str, clock: Clock, transport: RtspTransport | None = None
    ) -> None:
        self._config = config
        self._transport = transport or RtspTransport(config.transport)
        self._source_id = source_id
        self._clock = clock
        self._shown = str(config.url)
        self._interrupted = threading.Event()
        self._decoder: VideoDecoder | None = None
        self._first: Frame | None = None
        self._is_live = True
        self._index = 0
        self._live_time = LiveTime()
        self._counters = {"corrupt": 0, "pts_repaired": 0, "clock_set": 0}

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def counters(self) -> Mapping[str, int]:
        """`corrupt` frames left out, `pts_repaired` media times made up, `clock_set`: a camera's clock set right."""
        return dict(self._counters)

    def open(self) -> StreamInfo:
        """Connect and decode the first frame.

        Takes at most the open and read time-outs (a key frame that is late is waited for) and a name look-up.

        RTSP over UDP that brings nothing is tried over TCP. An RTSP server that is busy (5xx), as many are while they
        take down the session before this one, is asked again within the open time-out.

        Raises:
            SourceError: the stream cannot be had; `retryable` says whether it may be later. Also when interrupted.
            UsageError: the source is open already.
        """
        if self._decoder is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        if self._interrupted.is_set():
            raise SourceError(f"{self._shown}: was interrupted before it was open")
        try:
            info = self._connect_when_free()
        except SourceError as error:
            # Either nothing came (the decoder waited in vain), or the server refused the transport.
            over_udp = self._decoder is not None or isinstance(error, TransportRefusedError)
            if not (over_udp and self._is_rtsp and self._transport.fall_back(self._shown)):
                raise
            self.close()
            info = self._connect_when_free()
        self._transport.is_proven = True
        return info

    def _connect_when_free(self) -> StreamInfo:
        deadline_s, delay_s = time.monotonic() + self._open_timeout_s, BUSY_DELAY_S
        while True:
            try:
                return self._connect()
            except ServerBusyError:
                is_late = time.monotonic() + delay_s > deadline_s
                if not self._is_rtsp or is_late or self._interrupted.wait(delay_s):
                    raise
                delay_s *= 2

    def _connect(self) -> StreamInfo:
        begun_s = time.monotonic()
        try:
            with interruptible(self._interrupted, self._open_timeout_s):
                container = open_with_hardware(
                    self._config.url.reveal(), self._open_options(), self._config.hw_decode, self._shown
                )
        except OpenFailure as failure:
            if self._interrupted.is_set():
                raise SourceError(f"{self._shown}: was interrupted while opening") from failure
            timed_out = time.monotonic() - begun_s >= self._open_timeout_s
            raise opening_failed(self._config.url, failure, timed_out, self._open_timeout_s) from failure
        self._is_live = self._decide_live(container)
        self._decoder = VideoDecoder(
            container,
            shown=self._shown,
            interrupted=self._interrupted,
            live=self._is_live,
            threads=self._config.threads,
            # Over UDP bytes cannot get out of line. Half: the read that finds it out may have begun before.
            stall_s=self._read_timeout_s / 2 if self._is_rtsp and self._transport.current == "tcp" else None,
        )
        self._first = self._next_frame(self._decoder)
        if self._first is None:
            raise SourceError(f"{self._shown}: wanted a first frame, found none", retryable=self._is_live)
        height, width = self._first.shape_hw
        n_frames = None if self._is_live else self._decoder.n_frames
        return StreamInfo(self._source_id, width, height, self._decoder.declared_fps, self._is_live, n_frames)

    def read(self) -> Frame | None:
        """The next frame; None at the clean end of a recording or after `interrupt`.

        Raises:
            SourceError: the stream broke, or a live stream ended; retryable.
        """
        if self._decoder is None:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        if self._interrupted.is_set():
            return None
        if self._first is not None:
            frame, self._first = self._first, None
            return frame
        return self._next_frame(self._decoder)

    def interrupt(self) -> None:
        """Make a blocked `open` or `read` return within a fraction of a second (a name look-up takes its time)."""
        self._interrupted.set()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        decoder, self._decoder, self._first = self._decoder, None, None
        if decoder is not None:
            with interruptible(self._interrupted):
                decoder.close()

    def _next_frame(self, decoder: VideoDecoder) -> Frame | None:
        begun_s = time.monotonic()
        try:
            with interruptible(self._interrupted):
                picture = decoder.next()
        except av.error.FFmpegError as error:
            if self._interrupted.is_set():
                return None
            timed_out = time.monotonic() - begun_s >= self._read_timeout_s
            # Not chained: PyAV's text holds the whole URL, and a traceback would show it.
            raise reading_failed(self._shown, error, self._index, timed_out, self._read_timeout_s) from None
        except StalledError as error:
            raise SourceError(f"{self._shown}: {error}", retryable=True) from None
        finally:
            self._counters["corrupt"] = decoder.corrupt
            self._counters["pts_repaired"] = decoder.pts_repaired
        if picture is None:
            if self._is_live and not self._interrupted.is_set():
                raise SourceError(
                    f"{self._shown}: the stream ended after frame {self._index - 1} (the server closed it)"
                    if self._index
                    else f"{self._shown}: the stream ended before its first frame",
                    retryable=True,
                )
            return None
        return self._frame(picture)

    def _frame(self, picture: Picture) -> Frame:
        now_ns = self._clock.now_ns()
        pts_s, clock = picture.pts_s, CaptureClock.FILE
        if self._is_live:
            pts_s, clock = self._live_time.seconds(pts_s, now_ns), CaptureClock.RECEIVE
            self._counters["clock_set"] = self._live_time.corrected
        frame = Frame(self._source_id, self._index, picture.image, pts_s, now_ns, clock)
        self._index += 1
        return frame

    @property
    def _is_rtsp(self) -> bool:
        return self._config.url.scheme in ("rtsp", "rtsps")

    @property
    def _open_timeout_s(self) -> float:
        by_default = RTSP_OPEN_TIMEOUT_S if self._is_rtsp else TIMEOUT_S
        return self._transport.limit_s(self._config.open_timeout_s or by_default)

    @property
    def _read_timeout_s(self) -> float:
        by_default = RTSP_READ_TIMEOUT_S if self._is_rtsp else TIMEOUT_S
        given = self._transport.limit_s(self._config.read_timeout_s or by_default)
        is_playlist = ".m3u8" in self._config.url.reveal().lower()
        return max(given, HLS_READ_TIMEOUT_S) if is_playlist else given

    def _open_options(self) -> OpenOptions:
        scheme = self._config.url.scheme
        options = {"protocol_whitelist": _WHITELISTS[scheme.removesuffix("s")]}
        if self._is_rtsp:
            # The SDP names the codec, so nothing need be probed: 0.1 s to open instead of more than 1 s.
            options |= {
                "rtsp_transport": self._transport.current,
                "probesize": "32",
                "analyzeduration": "0",
                "fflags": "nobuffer",
            }
        elif scheme not in ("http", "https"):
            options |= {"probesize": "1000000", "analyzeduration": "1000000", "fflags": "nobuffer"}
        return OpenOptions(
            options=tuple(options.items()),
            open_timeout_s=self._open_timeout_s,
            read_timeout_s=self._read_timeout_s,
        )

    def _decide_live(self, container: InputContainer) -> bool:
        if self._config.live is not None:
            return self._config.live
        if self._config.url.scheme not in ("http", "https"):
            return True
        # A playlist has a duration only once it is finished (EXT-X-ENDLIST); a file has a length in bytes at least.
        if "hls" in container.format.name:
            return not container.duration
        return container.format.name == "mpjpeg" or not (container.duration or container.size > 0)
