"""The process behind `sinks.serve_link`: GStreamer's RTSP server, fed with coded pictures.

Run by the system's Python, which has GStreamer's bindings; it needs nothing else. Messages come on standard input, each
a header (kind, stream, time in ns, size) and a body:

    config   JSON, the first message: address, port, user and password (both empty: nobody has to say who they are)
    stream   the path of a stream
    picture  one H.264 access unit with start codes

It answers on standard output, a line each: `ready PORT`, `missing WHAT` or `failed WHY` once; then `watch STREAM 1`
when the first viewer of a stream comes, `watch STREAM 0` when the last one has gone, and `key STREAM` when a viewer
waits for a key frame. It ends with its input, so that it outlives nobody.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import threading
from typing import Any, BinaryIO

HEADER = struct.Struct(">BHQI")
CONFIG, STREAM, PICTURE = range(3)
_ROLE = "viewer"
_MOST_LAG_NS = 1_000_000_000
"""A stream whose times lag this much behind the clock has begun anew."""
_LAUNCH = (
    "( appsrc name=source is-live=true format=time max-bytes=8000000 leaky-type=downstream "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse "
    "! rtph264pay name=pay0 pt=96 aggregate-mode=zero-latency )"
)
"""The encoder repeats the stream's parameters itself: with config-interval, GStreamer would put them before every slice
of a key frame, which decoders take for the next picture.
"""
_CLEANUP_S = 2


class Feed:
    """One stream: takes pictures whether anybody watches or not.

    Args:
        number: of the stream, for the answers.
        gst: the GStreamer library.
    """

    def __init__(self, number: int, gst: Any) -> None:
        self._number = number
        self._gst = gst
        self._lock = threading.Lock()
        self._source: Any = None
        self._shift_ns = 0
        self._last_ns = -1

    def begin(self, factory: Any, media: Any) -> None:
        """The first viewer has come."""
        with self._lock:
            self._source = media.get_element().get_by_name("source")
            self._last_ns = -1
        media.connect("unprepared", self._end)
        say("watch", self._number, 1)

    def want_key(self) -> None:
        """One more viewer has come."""
        say("key", self._number)

    def push(self, pts_ns: int, data: bytes) -> None:
        """Pass a picture on."""
        with self._lock:
            if self._source is None:
                return
            clock = self._source.get_clock()
            if clock is None:
                return
            running_ns = clock.get_time() - self._source.get_base_time()
            buffer = self._gst.Buffer.new_wrapped(data)
            buffer.pts = buffer.dts = self._place(pts_ns, running_ns)
            self._source.emit("push-buffer", buffer)

    def _place(self, pts_ns: int, running_ns: int) -> int:
        """The picture's time on the pipeline's clock.

        Times are as far apart as in the source, and never in the future, where a picture would wait to be sent.
        """
        lag_ns = running_ns - (pts_ns + self._shift_ns)
        if self._last_ns < 0 or not 0 <= lag_ns <= _MOST_LAG_NS:
            self._shift_ns = running_ns - pts_ns
        self._last_ns = max(self._last_ns + 1, pts_ns + self._shift_ns)
        return self._last_ns

    def _end(self, media: Any) -> None:
        with self._lock:
            self._source = None
        say("watch", self._number, 0)


class Server:
    """GStreamer's server with a feed by stream."""

    def __init__(self, config: dict[str, Any]) -> None:
        gi = importlib.import_module("gi")
        for name in ("Gst", "GstRtsp", "GstRtspServer"):
            gi.require_version(name, "1.0")
        self._glib, self._gst, self._rtsp, self._server_library = (
            importlib.import_module(f"gi.repository.{name}") for name in ("GLib", "Gst", "GstRtsp", "GstRtspServer")
        )
        self._gst.init(None)
        for element in ("appsrc", "h264parse", "rtph264pay"):
            if self._gst.ElementFactory.find(element) is None:
                raise ImportError(f"the GStreamer element {element}")
        self._needs_password = bool(config["user"])
        self._feeds: dict[str, Feed] = {}
        self._numbers: list[Feed] = []
        library = self._server_library
        self._server = library.RTSPServer()
        self._server.set_address(config["address"])
        self._server.set_service(str(config["port"]))
        # A thread for each viewer: one that is slow holds up nobody.
        pool = library.RTSPThreadPool.new()
        pool.set_max_threads(-1)
        self._server.set_thread_pool(pool)
        self._server.connect("client-connected", self._client_connected)
        if self._needs_password:
            self._server.set_auth(self._auth(config["user"], config["password"]))
        if self._server.attach(None) == 0:
            raise OSError(f"port {config['port']} of {config['address']} is taken or not allowed")
        # Viewers over UDP that vanish are known by their silence only.
        self._glib.timeout_add_seconds(_CLEANUP_S, self._forget_silent)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.get_bound_port())

    def add(self, path: str) -> None:
        """Serve one more stream."""
        library = self._server_library
        feed = Feed(len(self._numbers), self._gst)
        factory = library.RTSPMediaFactory()
        factory.set_launch(_LAUNCH)
        factory.set_shared(True)
        factory.set_protocols(self._rtsp.RTSPLowerTrans.TCP | self._rtsp.RTSPLowerTrans.UDP)
        if self._needs_password:
            permissions = library.RTSPPermissions()
            permissions.add_role(_ROLE)
            for what in ("media.factory.access", "media.factory.construct"):
                permissions.add_permission_for_role(_ROLE, what, True)
            factory.set_permissions(permissions)
        factory.connect("media-configure", feed.begin)
        self._feeds[path] = feed
        self._numbers.append(feed)
        self._server.get_mount_points().add_factory(path, factory)

    def push(self, number: int, pts_ns: int, data: bytes) -> None:
        """Pass a picture of a stream on."""
        self._numbers[number].push(pts_ns, data)

    def run(self) -> None:
        """Serve until the process ends."""
        self._glib.MainLoop().run()

    def _auth(self, user: str, password: str) -> Any:
        library = self._server_library
        auth = library.RTSPAuth()
        token = library.RTSPToken()
        token.set_string("media.factory.role", _ROLE)
        # Basic authentication would send the password as it is.
        auth.set_supported_methods(self._rtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
        return auth

    def _client_connected(self, server: Any, client: Any) -> None:
        client.connect("play-request", self._play_requested)

    def _play_requested(self, client: Any, context: Any) -> None:
        feed = self._feeds.get(context.uri.abspath.rstrip("/"))
        if feed is not None:
            feed.want_key()

    def _forget_silent(self) -> bool:
        self._server.get_session_pool().cleanup()
        return True


def say(*words: object) -> None:
    """Answer a line, at once and in one piece."""
    os.write(sys.stdout.fileno(), (" ".join(map(str, words)) + "\n").encode())


def read_message(stream: BinaryIO) -> tuple[int, int, int, bytes] | None:
    """The next message: kind, stream, time in ns, body; None at the end."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    kind, number, pts_ns, size = HEADER.unpack(head)
    body = stream.read(size)
    return (kind, number, pts_ns, body) if len(body) == size else None


def serve(server: Server) -> None:
    """Take messages until the input ends; then the process ends."""
    while (message := read_message(sys.stdin.buffer)) is not None:
        kind, number, pts_ns, body = message
        if kind == STREAM:
            server.add(body.decode())
        elif kind == PICTURE:
            server.push(number, pts_ns, body)
    # GStreamer's threads have nothing to finish, and none of them may keep the process.
    os._exit(0)


def main() -> None:
    """Answer whether the server works, then serve."""
    first = read_message(sys.stdin.buffer)
    if first is None:
        return
    try:
        server = Server(json.loads(first[3]))
    except (ImportError, ValueError) as error:
        say("missing", error)
        return
    except OSError as error:
        say("failed", error)
        return
    say("ready", server.port)
    threading.Thread(target=serve, args=(server,)).start()
    server.run()


if __name__ == "__main__":
    main()
