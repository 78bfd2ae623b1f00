"""BGR pictures with times to packets of a compressed video stream."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from pipeline.core.arrays import ImageArray
from pipeline.core.cores import usable_cores
from sinks.media_time import TICKS_PER_S
from sinks.yuv420 import Yuv420Converter

Codec = Literal["h264", "hevc"]
Preset = Literal["auto", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]
KEYFRAME_S = 1.0
"""Keyframes are at most this far apart: the step in which a player can seek, and what a killed run loses."""
_ENCODERS = {"h264": "libx264", "hevc": "libx265"}
_AUTO_PRESET = {"h264": "superfast", "hevc": "veryfast"}
_AUTO_LOOKAHEAD = "mbtree=1:rc-lookahead=10"
"""What superfast leaves out and what most of the size depends on: bits go where later pictures copy from."""
_MAX_AUTO_THREADS = 8
_BT709 = 1
"""Code of BT.709 for primaries and transfer (ITU-T H.273)."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How a stream is encoded.

    Attributes:
        codec: video codec.
        preset: speed against size; `auto`: for h264 two thirds of the time of veryfast for files 4 to 9 % larger
            (decision 0017), for hevc veryfast.
        crf: constant quality, lower is better; used where `bitrate_kbps` is None.
        bitrate_kbps: mean bit rate.
        threads: encoder threads, 0 = one per core that may be used, at most 8: they cost nothing (decision 0017), and
            with one alone encoding holds up a fast detector.
        low_latency: every frame leaves the encoder at once, at the cost of size.
    """

    codec: Codec = "h264"
    preset: Preset = "auto"
    crf: int = 23
    bitrate_kbps: int | None = None
    threads: int = 0
    low_latency: bool = False


class VideoEncoder:
    """The one video stream of a container. 4:2:0 colour, BT.709, limited range.

    Args:
        container: open for writing.
        settings: how to encode.
        shape_hw: height and width of all pictures, both even.
        fps: about how many frames a second come, for the encoder's rate control only.

    Raises:
        av.FFmpegError: the encoder refuses.
    """

    def __init__(
        self, container: OutputContainer, settings: EncoderSettings, shape_hw: tuple[int, int], fps: float
    ) -> None:
        # With B-frames, mp4 gives a variable frame rate a duration that ends before its last frame.
        options = {"bf": "0", **_preset_options(settings)}
        if settings.bitrate_kbps is None:
            options["crf"] = str(settings.crf)
        if settings.low_latency:
            options["tune"] = "zerolatency"
        if settings.codec == "hevc":
            options["x265-params"] = "log-level=error"
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream(_ENCODERS[settings.codec], rate=rate, options=options)
        self._stream = cast(VideoStream, stream)
        context = self._stream.codec_context
        context.height, context.width = shape_hw
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, TICKS_PER_S)
        # Keyframes are placed by time below; this only keeps the encoder from placing many more by count.
        context.gop_size = 600
        context.flags |= Flags.frame_duration
        context.thread_count = settings.threads or min(usable_cores(), _MAX_AUTO_THREADS)
        context.colorspace = Colorspace.ITU709
        context.color_range = ColorRange.MPEG
        context.color_primaries = context.color_trc = _BT709
        if settings.bitrate_kbps is not None:
            context.bit_rate = settings.bitrate_kbps * 1000
        if settings.codec == "hevc":
            # Apple's players know HEVC in mp4 by this tag only.
            context.codec_tag = "hvc1"
        context.open()
        self._converter = Yuv420Converter(shape_hw)
        self._keyframe_ticks: int | None = None

    def convert(self, image: ImageArray) -> av.VideoFrame:
        """A picture, uint8 (h, w, 3) BGR, in the form that `encode` takes; a copy of half its bytes."""
        return self._converter.convert(image)

    def encode(
        self, picture: av.VideoFrame, ticks: int, duration_ticks: int, *, key: bool = False
    ) -> list[av.Packet[VideoStream]]:
        """Packets that are ready once this picture is known.

        Args:
            picture: what `convert` gave.
            ticks: its time in 1/90000 s, later than that of the picture before.
            duration_ticks: how long it is shown; matters for the last picture only.
            key: it must be a key frame.

        Raises:
            av.FFmpegError: the encoder failed.
        """
        picture.pts, picture.time_base = ticks, Fraction(1, TICKS_PER_S)
        picture.duration = duration_ticks
        if key or self._keyframe_ticks is None or ticks - self._keyframe_ticks >= KEYFRAME_S * TICKS_PER_S:
            picture.pict_type = PictureType.I
            self._keyframe_ticks = ticks
        return self._stream.encode(picture)

    def flush(self) -> list[av.Packet[VideoStream]]:
        """The packets that are still in the encoder. Nothing can be encoded afterwards."""
        return self._stream.encode()


def _preset_options(settings: EncoderSettings) -> dict[str, str]:
    if settings.preset != "auto":
        return {"preset": settings.preset}
    options = {"preset": _AUTO_PRESET[settings.codec]}
    if settings.codec == "h264" and not settings.low_latency:
        options["x264-params"] = _AUTO_LOOKAHEAD
    return options
