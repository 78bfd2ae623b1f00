"""Frames of one video stream of an open container, in display order, as upright BGR pictures."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from pipeline.core.arrays import ImageArray
from pipeline.core.cores import usable_cores
from pipeline.core.errors import SourceError
from sources.flow import Flow
from sources.libav import explain
from sources.media_time import MediaTime
from sources.orientation import UPRIGHT, from_frame

log = logging.getLogger(__name__)

MAX_BAD_READS = 64
"""Failed packet reads in a row after which a file is taken to be unreadable from there on."""
MAX_FRAMES_TO_KEY = 300
"""After damage a live stream is shown again after so many frames without a key frame: some streams have none."""
DEVICE_POLL_S = 0.002
"""How often a device that does not block is asked for the next frame."""
FALLBACK_PERIOD_S = 1 / 25
"""Time between frames assumed for missing time stamps where the container names no frame rate."""
LIVE_THREADS = 1
"""FFmpeg looks for lost slices in one thread only: with more, half a picture passes for a whole one. Frames in parallel
would come late. One thread decodes 1080p H.264 at well above 100 frames/s."""
MAX_FILE_THREADS = 8
"""Each holds some pictures; decoding with so many is faster than everything that comes after it."""
_NOT_VIDEO = frozenset({"tty"})
"""Demuxers that accept nearly any bytes: FFmpeg plays a text file as terminal art."""


@dataclass(frozen=True)
class Picture:
    """One decoded frame before it has a number: image uint8 (h, w, 3) BGR, and its media time in seconds."""

    image: ImageArray
    pts_s: float


def pick_video_stream(container: InputContainer, shown: str) -> VideoStream:
    """The stream that FFmpeg holds for the main video, cover pictures left aside.

    Raises:
        SourceError: there is no video, or no decoder for it.
    """
    videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not videos or container.format.name in _NOT_VIDEO:
        kinds = sorted({s.type for s in container.streams}) if container.format.name not in _NOT_VIDEO else ["text"]
        found = ", ".join(kinds) or "no streams"
        raise SourceError(f"{shown}: wanted a video stream, found {found}; give a file or address with video")
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in videos else videos[0]
    if stream.codec_context is None:
        raise SourceError(f"{shown}: this build of FFmpeg has no decoder for its video codec; convert it to H.264")
    return stream


class VideoDecoder:
    """Reads packets and decodes them, one picture at a time. Owns the container and closes it.

    Nothing is buffered here beyond the pictures that one packet gives. Damaged packets and frames are left out and
    counted in `corrupt`.

    Args:
        container: open for reading.
        shown: what messages call the source, without credentials.
        interrupted: once set, `next` returns None.
        live: True: decoded in one thread (no delay, and lost slices are noticed), and after damage nothing is shown
            until a clean key frame. False: whole frames are decoded in parallel (faster, later).
        skip_bad_reads: True: packets that cannot be read are left out and counted. False: a failed read is an error.
        threads: decoder threads, 0 = LIVE_THREADS, or one per core that may be used, at most MAX_FILE_THREADS.
        stall_s: a live stream that gave no whole picture for so long, and far fewer packets than before, is broken.

    Raises:
        SourceError: there is no video stream that can be decoded. The container is closed.
    """

    def __init__(
        self,
        container: InputContainer,
        *,
        shown: str,
        interrupted: threading.Event,
        live: bool,
        skip_bad_reads: bool = False,
        threads: int = 0,
        stall_s: float | None = None,
    ) -> None:
        self._container = container
        self._shown = shown
        self._interrupted = interrupted
        self._live = live
        self._skip_bad_reads = skip_bad_reads
        try:
            self._stream = pick_video_stream(container, shown)
        except SourceError:
            container.close()
            raise
        for other in container.streams:
            if other is not self._stream:
                other.discard = Discard.all
        by_itself = LIVE_THREADS if live else min(usable_cores(), MAX_FILE_THREADS)
        self._stream.codec_context.thread_count = threads or by_itself
        mode: Literal["SLICE", "AUTO"] = "SLICE" if live else "AUTO"
        self._stream.codec_context.thread_type = mode
        period_s = 1 / self.declared_fps if self.declared_fps else FALLBACK_PERIOD_S
        time_base = self._stream.time_base or Fraction(1, 90000)
        # What a live stream gave while it was being opened is gone, so its time starts with the first frame left.
        self._time = MediaTime(None if live else self._stream.start_time, time_base, period_s)
        self._reformatter = VideoReformatter()
        self._packets: Iterator[Packet[VideoStream]] | None = container.demux(self._stream)
        self._pending: deque[av.VideoFrame] = deque()
        self._frames_to_key = 0
        self._orientation = UPRIGHT
        self._holds_frame = False
        self._flow = None if stall_s is None else Flow(stall_s)
        self.corrupt = 0
        self.decoded = 0
        self.last_pts_s: float | None = None

    @property
    def declared_fps(self) -> float | None:
        """Frames per second that the container announces, or None."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    @property
    def duration_s(self) -> float | None:
        """Length that the container announces, or None."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            return self._container.duration / av.time_base
        return None

    @property
    def n_frames(self) -> int | None:
        """Number of frames that the container announces or that follows from its duration, or None."""
        if self._stream.frames > 0:
            return self._stream.frames
        if self.duration_s and self.declared_fps:
            return max(1, round(self.duration_s * self.declared_fps))
        return None

    @property
    def pts_repaired(self) -> int:
        """Frames whose media time was missing or did not grow."""
        return self._time.repaired

    def next(self, wait_s: float = 0.0) -> Picture | None:
        """The next picture; None at the end of the stream or once interrupted.

        Args:
            wait_s: how long to ask again while a device that does not block has nothing yet (s).

        Raises:
            av.error.FFmpegError: reading failed, and bad reads are not to be skipped.
            StalledError: what comes is too little to be the stream.
        """
        self._free_frame()
        while not self._interrupted.is_set():
            while self._pending:
                frame = self._pending.popleft()
                if self._is_clean(frame):
                    if self._flow is not None:
                        self._flow.picture(time.monotonic())
                    return self._picture(frame)
            packet = self._next_packet(wait_s)
            if packet is None:
                return None
            self._decode(packet)
        return None

    def close(self) -> None:
        """Free the container and the decoder. Idempotent."""
        if self._packets is None:
            return
        self._packets = None
        self._pending.clear()
        self._free_frame()
        # Waits for the decoder's threads without the interpreter lock. Freeing the decoder later holds that lock, and
        # a thread that wants it to log a line would never end.
        self._stream.codec_context.flush_buffers()
        self._container.close()

    def _free_frame(self) -> None:
        """The frame whose orientation was looked up holds itself (PyAV's side data), and the decoder's pictures.

        It is young, so this takes no time; left to Python, each new connection would cost megabytes.
        """
        if self._holds_frame:
            self._holds_frame = False
            gc.collect(1)

    def _next_packet(self, wait_s: float) -> Packet[VideoStream] | None:
        begun_s = time.monotonic()
        bad_reads = 0
        if self._flow is not None:
            self._flow.check()
        while self._packets is not None and not self._interrupted.is_set():
            try:
                packet = next(self._packets, None)
                if self._flow is not None:
                    self._flow.packet(time.monotonic() - begun_s)
                return packet
            except av.error.BlockingIOError:
                if time.monotonic() - begun_s >= wait_s:
                    raise
                self._interrupted.wait(DEVICE_POLL_S)
            except av.error.FFmpegError as error:
                if not self._skip_bad_reads:
                    raise
                bad_reads += 1
                self.corrupt += 1
                if bad_reads >= MAX_BAD_READS:
                    log.warning("%s: unreadable after frame %d: %s", self._shown, self.decoded - 1, explain(error))
                    return None
            # PyAV's generator has ended with its error; the container itself reads on.
            self._packets = self._container.demux(self._stream)
        return None

    def _decode(self, packet: Packet[VideoStream]) -> None:
        if packet.is_corrupt:
            self._damaged()
            return
        try:
            self._pending.extend(packet.decode())
        except (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.UndefinedError):
            self._damaged()

    def _damaged(self) -> None:
        self.corrupt += 1
        self._frames_to_key = MAX_FRAMES_TO_KEY if self._live else 0

    def _is_clean(self, frame: av.VideoFrame) -> bool:
        if frame.is_corrupt:
            self._damaged()
            return False
        if self._frames_to_key and not frame.key_frame:
            self._frames_to_key -= 1
            self.corrupt += 1
            return False
        self._frames_to_key = 0
        return True

    def _picture(self, frame: av.VideoFrame) -> Picture:
        self.decoded += 1
        self.last_pts_s = self._time.seconds(frame.pts if frame.pts is not None else frame.dts)
        bgr = self._reformatter.reformat(frame, format="bgr24").to_ndarray()
        # Looking it up for every frame costs 5 % of the decoding; a camera does not turn its stream on the way.
        if self.decoded == 1 or (frame.key_frame and not self._live):
            self._orientation = from_frame(frame)
            self._holds_frame = self._live
        return Picture(self._orientation.apply(np.ascontiguousarray(bgr)), self.last_pts_s)
