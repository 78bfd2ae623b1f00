"""Clips and servers for the tests of sources. Every frame of a clip carries its number as black and white blocks."""

from __future__ import annotations

import http.server
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import cv2
import numpy as np
import pytest

BLOCK_PX = 12
BITS = 10

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "servers"))

import stamped_picture  # noqa: E402
from fault_proxy import FaultProxy  # noqa: E402
from rtsp_process import MissingServerError, RtspServer  # noqa: E402


def draw(number: int, width: int, height: int) -> np.ndarray:
    """BGR picture, brighter to the right, with a red corner at the lower left and its number at the upper left."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = np.linspace(60, 200, width, dtype=np.uint8)[None, :, None]
    image[-BLOCK_PX * 2 :, : BLOCK_PX * 2] = (0, 0, 255)
    for bit in range(BITS):
        value = 255 if number >> bit & 1 else 0
        image[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = value
    return image


def number_of(image: np.ndarray) -> int:
    """The number that `draw` put in, from a picture that may have been through an encoder."""
    blocks = image[:BLOCK_PX, : BITS * BLOCK_PX].mean(axis=2).reshape(BLOCK_PX, BITS, BLOCK_PX)
    centre = blocks[3:-3, :, 3:-3].mean(axis=(0, 2))
    return int(sum(1 << bit for bit in range(BITS) if centre[bit] > 128))


def write_clip(
    path: Path,
    *,
    n: int = 30,
    size: tuple[int, int] = (160, 120),
    fps: int = 30,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int | None = None,
    hflip: bool = False,
    pts: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    format: str | None = None,
    aspect: Fraction | None = None,
    audio: bool = False,
) -> Path:
    """A clip of `n` numbered frames; `size` is what is shown, `rotation` how the container turns it (degrees, ccw)."""
    turn = {None: None, 0: None, 90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, -90: cv2.ROTATE_90_COUNTERCLOCKWISE}
    with av.open(str(path), "w", format=format, options=container or {}) as out:
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = size if rotation in (None, 0, 180) else size[::-1]
        stream.pix_fmt = pix_fmt
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None or hflip:
            stream.set_display_rotation(rotation or 0, hflip=hflip)
        sound = out.add_stream("aac", rate=8000, layout="mono") if audio else None
        for i in range(n):
            image = draw(i, *size)
            if hflip:
                image = cv2.flip(image, 1)
            how = turn[rotation]
            stored = image if how is None else cv2.rotate(image, how)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), format="bgr24")
            frame.pts = i if pts is None else pts[i]
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            silence.sample_rate = 8000
            silence.pts = 0
            out.mux(sound.encode(silence))
            out.mux(sound.encode())
    return path


@pytest.fixture(scope="session")
def number() -> Callable[[np.ndarray], int]:
    """Reads the number of a drawn frame."""
    return number_of


@pytest.fixture(scope="session")
def drawn() -> Callable[[int, int, int], np.ndarray]:
    """Draws a numbered frame: number, width, height."""
    return draw


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip into the test's folder: name, then the arguments of `write_clip`."""
    return lambda name="clip.mp4", **how: write_clip(tmp_path / name, **how)


# -- RTSP -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def rtsp_server() -> Iterator[Callable[..., RtspServer]]:
    """Starts RTSP servers (arguments: those of tests/servers/rtsp_server.py) and kills them at the end."""
    servers: list[RtspServer] = []

    def start(*arguments: str) -> RtspServer:
        server = RtspServer(*arguments)
        servers.append(server)
        try:
            server.start()
        except MissingServerError as error:
            pytest.skip(f"the RTSP test server needs GStreamer's RTSP server: {error}")
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def stamped() -> ModuleType:
    """Reads how old a picture of the RTSP server is."""
    return stamped_picture


@pytest.fixture
def fault_proxy() -> Iterator[Callable[..., FaultProxy]]:
    """Puts proxies before ports (arguments: those of FaultProxy)."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(FaultProxy(*args, **kwargs))


# -- HTTP -------------------------------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    """/status/N, /hang, /mjpeg (endless), /mjpeg/N (closes after N frames), /page, and files with byte ranges."""

    server: HttpServer

    def do_GET(self) -> None:
        try:
            self._answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.split("?")[0]
        if match := re.fullmatch(r"/status/(\d+)", path):
            self.send_response(int(match[1]))
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/hang":
            self.server.closing.wait()
        elif match := re.fullmatch(r"/mjpeg(?:/(\d+))?", path):
            self._mjpeg(int(match[1]) if match[1] else None)
        elif path == "/page":
            self._send(b"<html><body>not a video</body></html>", "text/html")
        else:
            self._file(self.server.folder / path.lstrip("/"))

    def _mjpeg(self, n: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        i = 0
        while n is None or i < n:
            jpeg = cv2.imencode(".jpg", draw(i % 1024, 160, 120))[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            i += 1
            if self.server.closing.wait(0.01):
                return

    def _file(self, path: Path) -> None:
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._send(data, "application/octet-stream", 200, {"Accept-Ranges": "bytes"})
            return
        begin = int(wanted[1])
        end = int(wanted[2]) if wanted[2] else len(data) - 1
        part = data[begin : end + 1]
        content_range = f"bytes {begin}-{begin + len(part) - 1}/{len(data)}"
        self._send(part, "application/octet-stream", 206, {"Accept-Ranges": "bytes", "Content-Range": content_range})

    def _send(self, data: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class HttpServer(http.server.ThreadingHTTPServer):
    """Serves `folder` and the odd paths of `_Handler` on a free port."""

    daemon_threads = False

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.closing = threading.Event()

    def url(self, path: str, credentials: str = "") -> str:
        return f"http://{credentials}127.0.0.1:{self.server_port}/{path}"


@contextmanager
def serving(folder: Path) -> Iterator[HttpServer]:
    server = HttpServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="http-test-server")
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[HttpServer]:
    """An HTTP server on the test's folder."""
    with serving(tmp_path) as server:
        yield server
