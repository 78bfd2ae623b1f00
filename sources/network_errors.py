"""What went wrong with a network stream, in one line, and whether trying again may help."""

from __future__ import annotations

import errno
from urllib.parse import urlsplit

import av.error

from pipeline.core.errors import SourceError
from pipeline.core.url import Url
from sources.libav import OpenFailure, explain, is_timeout


class NoSuchStreamError(SourceError):
    """The server answers but has no such stream: hopeless at first, worth waiting for once it has been live."""


class AccessDeniedError(SourceError):
    """The server refuses the credentials: hopeless at first; a camera that starts again may say so for a while."""


class TransportRefusedError(SourceError):
    """An RTSP server does not speak the transport that it was asked for (461)."""


class ServerBusyError(SourceError):
    """The server cannot serve the stream just now (5xx): many do so while they take down a session that has ended."""


_DENIED: dict[type[Exception], str] = {
    av.error.HTTPUnauthorizedError: "wrong or missing credentials (401); check the user name and password in the URL",
    av.error.HTTPForbiddenError: "access is forbidden (403); check what this user may see",
}
_REFUSED: dict[type[Exception], str] = {
    av.error.HTTPBadRequestError: "the server does not accept the request (400); check the path of the URL",
    av.error.HTTPOtherClientError: "the server does not accept the request (4xx); check the path of the URL",
    av.error.ProtocolNotFoundError: "this build of FFmpeg does not have this protocol, or a playlist leads to one that "
    "is not allowed; use another address",
    av.error.DecoderNotFoundError: "this build of FFmpeg has no decoder for its codec; set the camera to H.264",
    av.error.PatchWelcomeError: "FFmpeg does not support this kind of stream; set the camera to H.264",
}


def opening_failed(url: Url, failure: OpenFailure, timed_out: bool, timeout_s: float) -> SourceError:
    """The error for a stream that FFmpeg could not open.

    Args:
        url: what was to be opened.
        failure: what FFmpeg said.
        timed_out: whether opening took as long as it may.
        timeout_s: how long it may take (s).
    """
    error = failure.error
    for kind, text in _DENIED.items():
        if isinstance(error, kind):
            return AccessDeniedError(f"{url}: {text}")
    for kind, text in _REFUSED.items():
        if isinstance(error, kind):
            return SourceError(f"{url}: {text}")
    if getattr(error, "errno", None) == errno.EPROTONOSUPPORT:
        return TransportRefusedError(f"{url}: the server refuses this transport (461); set transport to tcp or udp")
    return _unreachable(url, failure, timed_out, timeout_s)


def _unreachable(url: Url, failure: OpenFailure, timed_out: bool, timeout_s: float) -> SourceError:
    """The error for a stream that is not there, or not now."""
    error = failure.error
    if isinstance(error, av.error.HTTPNotFoundError):
        return NoSuchStreamError(f"{url}: the server has no such stream (404); check the path of the URL")
    if isinstance(error, av.error.HTTPServerError):
        return ServerBusyError(f"{url}: cannot be opened: {failure}", retryable=True)
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"{url}: connection refused: nothing listens at {_where(url)}", retryable=True)
    log = " ".join(failure.log)
    if "resolve hostname" in log:
        return _unknown_host(url, log)
    if timed_out or is_timeout(error):
        return SourceError(f"{url}: no answer from {_where(url)} within {timeout_s:g} s", retryable=True)
    if isinstance(error, av.error.InvalidDataError) and url.scheme in ("http", "https"):
        return NoSuchStreamError(f"{url}: wanted a video stream, found something that FFmpeg cannot read: {failure}")
    return SourceError(f"{url}: cannot be opened: {failure}", retryable=True)


def reading_failed(shown: str, error: BaseException, n_frames: int, timed_out: bool, timeout_s: float) -> SourceError:
    """The error for a stream that broke after `n_frames` frames; always worth another try."""
    where = f"after frame {n_frames - 1}" if n_frames else "before its first frame"
    if timed_out or is_timeout(error):
        return SourceError(f"{shown}: nothing came for {timeout_s:g} s {where}", retryable=True)
    return SourceError(f"{shown}: the stream broke {where}: {explain(error)}", retryable=True)


def _unknown_host(url: Url, log: str) -> SourceError:
    host = urlsplit(url.reveal()).hostname or ""
    if "temporary" in log.lower():
        return SourceError(f"{url}: the name {host!r} cannot be looked up just now (no network?)", retryable=True)
    return NoSuchStreamError(f"{url}: there is no host {host!r}; check the name in the URL")


def _where(url: Url) -> str:
    parts = urlsplit(url.reveal())
    return f"{parts.hostname or 'this machine'}:{parts.port}" if parts.port else str(parts.hostname)
