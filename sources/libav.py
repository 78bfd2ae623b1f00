"""FFmpeg through PyAV: its log, its errors in one line, and opening an input."""

from __future__ import annotations

import errno
import logging
import threading
from dataclasses import dataclass

import av
import av.error
import av.logging
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from pipeline.core.url import redact

_setup_lock = threading.Lock()


def setup_logging() -> None:
    """Route FFmpeg's log lines so that errors can quote them and nothing reaches stderr by itself.

    PyAV drops FFmpeg's log by default, and with it the only text that says why an input failed. Its lines go to the
    logger `libav`; that logger stays silent below CRITICAL unless somebody set its level or PyAV's before.
    """
    with _setup_lock:
        if av.logging.get_level() is not None:
            return
        av.logging.set_level(av.logging.ERROR)
        # Otherwise the second source that fails for the same reason as the first has no text to quote.
        av.logging.set_skip_repeated(False)
        logger = logging.getLogger("libav")
        if logger.level in (logging.NOTSET, logging.WARNING):  # WARNING is what PyAV itself sets on import
            logger.setLevel(logging.CRITICAL)


class OpenFailure(Exception):
    """FFmpeg could not open an input.

    Attributes:
        error: PyAV's error; its text may hold the credentials of a URL.
        log: what FFmpeg logged meanwhile in this thread.
    """

    def __init__(self, error: Exception, log: tuple[str, ...]) -> None:
        super().__init__(explain(error, log))
        self.error = error
        self.log = log


def explain(error: BaseException, log: tuple[str, ...] = ()) -> str:
    """FFmpeg's reason in a few words, the last log line in brackets, without credentials and line breaks."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    last = log[-1] if log else ""
    text = f"{reason} ({last})" if last and last.lower() not in reason.lower() else reason
    return redact(" ".join(text.split()))


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How to open an input.

    Attributes:
        format: name of the demuxer, or None to detect it.
        options: FFmpeg options of the demuxer and protocol.
        open_timeout_s: limit of each of FFmpeg's two opening phases (connect, look at the streams), or None.
        read_timeout_s: limit of reading one packet, or None.
        hwaccel: hardware decoder, or None for software.
    """

    format: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    open_timeout_s: float | None = None
    read_timeout_s: float | None = None
    hwaccel: HWAccel | None = None


def open_input(target: str, options: OpenOptions) -> InputContainer:
    """Open a container for reading.

    Args:
        target: what FFmpeg opens, with its credentials.
        options: how.

    Raises:
        OpenFailure: FFmpeg refused.
    """
    setup_logging()
    with av.logging.Capture() as lines:
        try:
            return av.open(
                target,
                mode="r",
                format=options.format,
                options=dict(options.options),
                timeout=(options.open_timeout_s, options.read_timeout_s),
                hwaccel=options.hwaccel,
                metadata_errors="replace",
            )
        except (av.error.FFmpegError, OSError, RuntimeError, ValueError, NotImplementedError) as error:
            log = tuple(text.strip() for _, _, text in lines if text.strip())
            # Not chained: PyAV's text holds the whole URL, and a traceback would show it.
            raise OpenFailure(error, log) from None


def is_timeout(error: BaseException) -> bool:
    """Whether FFmpeg gave up waiting: its own time-out, or PyAV's interrupt ("Immediate exit requested")."""
    return isinstance(error, TimeoutError | av.error.ExitError) or getattr(error, "errno", None) == errno.ETIMEDOUT
