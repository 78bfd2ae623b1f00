"""Coded pictures apart from any file: encoded once, written wherever they are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from pipeline.core.arrays import ImageArray
from sinks.encoder import EncoderSettings, VideoEncoder
from sinks.media_time import TICKS_PER_S

Headers = Literal["file", "stream"]
"""Where decoders find the stream's parameters: at the head of a file (mp4, mkv), or before every key frame."""
_MUXER = {"file": "matroska", "stream": "h264"}
_FILE_FORMATS = {
    # The header comes first: even a film of less than a second is one, whatever ends the process.
    ".mp4": ("mp4", {"movflags": "hybrid_fragmented+empty_moov", "flush_packets": "1"}),
    ".mkv": ("matroska", {"cluster_time_limit": "500", "flush_packets": "1"}),
}


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One picture as the encoder gave it.

    Attributes:
        data: H.264 or HEVC with start codes (Annex B).
        ticks: its time in 1/90000 s; it is shown in the order in which it is decoded.
        duration_ticks: how long it is shown, as far as is known.
        is_key: whether decoding can begin here.
    """

    data: bytes
    ticks: int
    duration_ticks: int
    is_key: bool


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        """Takes the bytes."""
        return len(data)


class PacketEncoder:
    """Encodes pictures of one size. Without delay: every picture gives one packet at once.

    Args:
        settings: how to encode; `low_latency` is always on.
        shape_hw: height and width of all pictures, both even.
        fps: about how many frames a second come.
        headers: where the stream's parameters go.

    Raises:
        av.FFmpegError: the encoder refuses.
    """

    def __init__(self, settings: EncoderSettings, shape_hw: tuple[int, int], fps: float, headers: Headers) -> None:
        # PyAV has encoders for files only; this one's file is the pattern for the headers of the real ones.
        self._container = av.open(_Nowhere(), "w", format=_MUXER[headers])
        self._encoder = VideoEncoder(self._container, replace(settings, low_latency=True), shape_hw, fps)
        self._container.start_encoding()

    @property
    def template(self) -> VideoStream:
        """What a file needs to know of the stream."""
        return self._container.streams.video[0]

    def encode(self, image: ImageArray, ticks: int, duration_ticks: int, *, key: bool = False) -> list[CodedPicture]:
        """Encode a picture.

        Args:
            image: uint8 (h, w, 3) BGR.
            ticks: its time in 1/90000 s, later than that of the picture before.
            duration_ticks: how long it is shown, as far as is known.
            key: it must be a key frame.

        Raises:
            av.FFmpegError: the encoder failed.
        """
        packets = self._encoder.encode(self._encoder.convert(image), ticks, duration_ticks, key=key)
        return [CodedPicture(bytes(p), p.pts or 0, duration_ticks, p.is_keyframe) for p in packets]


class PacketFile:
    """A video file that is written from coded pictures; its first picture, a key frame, is at 0.

    Whatever ends the process, the file plays up to its last whole second: fragments while it is written, an ordinary
    seekable file once it is closed.

    Args:
        path: the file (.mp4 or .mkv); it must not exist.
        template: the stream that the pictures come from.

    Raises:
        av.FFmpegError: from every method: the file cannot be written.
    """

    def __init__(self, path: Path, template: VideoStream) -> None:
        self.path = path
        container_format, options = _FILE_FORMATS[path.suffix]
        self._container: OutputContainer = av.open(str(path), "w", container_format, options=options)
        self._stream = self._container.add_stream_from_template(template)
        self._first_ticks: int | None = None

    def add(self, pictures: Iterable[CodedPicture]) -> None:
        """Append pictures."""
        for picture in pictures:
            if self._first_ticks is None:
                self._first_ticks = picture.ticks
            packet = av.Packet(picture.data)
            packet.pts = packet.dts = picture.ticks - self._first_ticks
            packet.duration = picture.duration_ticks
            packet.time_base = Fraction(1, TICKS_PER_S)
            packet.is_keyframe = picture.is_key
            packet.stream = self._stream
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file."""
        self._container.close()
