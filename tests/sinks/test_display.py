from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

import sinks.display
import sinks.window_check
from pipeline.core.errors import SinkError, StopRequest
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.display import DisplayConfig, DisplaySink
from sinks.window_check import check_window

Make = Callable[..., FrameResult]
Info = Callable[..., StreamInfo]
ROOT = Path(__file__).resolve().parents[2]

# -- without a screen -------------------------------------------------------------------------------------------------


class FakeWindows:
    """Stands for OpenCV's windows: which are open, what they show, and the next key."""

    def __init__(self) -> None:
        self.shown: dict[str, np.ndarray] = {}
        self.sizes: list[tuple[int, int]] = []
        self.key = -1
        self.visible = 1.0


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> FakeWindows:
    fake = FakeWindows()
    monkeypatch.setattr(sinks.display, "check_window", lambda: None)
    monkeypatch.setattr(cv2, "namedWindow", lambda title, flags: fake.shown.setdefault(title, np.zeros(0)))
    monkeypatch.setattr(cv2, "resizeWindow", lambda title, width, height: fake.sizes.append((width, height)))
    monkeypatch.setattr(cv2, "imshow", fake.shown.__setitem__)
    monkeypatch.setattr(cv2, "pollKey", lambda: fake.key)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, which: fake.visible)
    monkeypatch.setattr(cv2, "destroyAllWindows", fake.shown.clear)
    return fake


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x100000 | ord("q")])
def test_a_key_asks_for_the_end_once(windows: FakeWindows, make_result: Make, make_info: Info, key: int) -> None:
    sink = DisplaySink(DisplayConfig(), class_names=("person",))
    sink.open(make_info())
    sink.write(make_result(0))
    windows.key = key
    with pytest.raises(StopRequest):
        sink.write(make_result(1))
    sink.write(make_result(2))
    assert windows.shown == {}
    sink.close()


def test_other_keys_do_nothing(windows: FakeWindows, make_result: Make, make_info: Info) -> None:
    sink = DisplaySink(DisplayConfig(), class_names=("person",))
    sink.open(make_info())
    windows.key = ord("x")
    sink.write(make_result(0))
    sink.close()


def test_closing_the_window_asks_for_the_end(windows: FakeWindows, make_result: Make, make_info: Info) -> None:
    sink = DisplaySink(DisplayConfig(), class_names=("person",))
    sink.open(make_info())
    sink.write(make_result(0))
    windows.visible = 0.0
    with pytest.raises(StopRequest):
        sink.poll()
    sink.close()


@pytest.mark.parametrize(
    ("hw", "window"), [((48, 64), (64, 48)), ((1080, 1920), (1280, 720)), ((2000, 1000), (360, 720))]
)
def test_a_large_picture_opens_in_a_window_that_fits(
    windows: FakeWindows, make_result: Make, make_info: Info, hw: tuple[int, int], window: tuple[int, int]
) -> None:
    sink = DisplaySink(DisplayConfig(), class_names=("person",))
    sink.open(make_info())
    sink.write(make_result(0, image=np.zeros((*hw, 3), np.uint8)))
    assert windows.sizes == [window]
    sink.close()


def test_sources_share_one_window(windows: FakeWindows, make_result: Make, make_info: Info) -> None:
    sink = DisplaySink(DisplayConfig(width_px=400, height_px=200), class_names=("person",))
    for name in "ab":
        sink.open(make_info(name))
    for name in "ab":
        sink.write(make_result(0, source_id=name))
    assert [picture.shape for picture in windows.shown.values()] == [(200, 400, 3)]
    sink.close()
    assert windows.shown == {}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="DISPLAY is X11's")
@pytest.mark.parametrize(("display", "said"), [(None, "DISPLAY is not set"), (":250", "it fails: ")])
def test_no_display_is_one_line_and_the_process_lives(
    monkeypatch: pytest.MonkeyPatch, display: str | None, said: str
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    with pytest.raises(SinkError, match=said) as caught:
        check_window()
    assert "\n" not in str(caught.value)
    assert "-o out.mp4" in str(caught.value)


def test_the_headless_build_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sinks.window_check.cv2, "getBuildInformation", lambda: "  GUI:                           NONE\n"
    )
    with pytest.raises(SinkError, match="install opencv-python in its place"):
        check_window()


# -- on a screen ------------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class Screen:
    display: str
    framebuffer: Path

    def picture(self) -> np.ndarray:
        """What the screen shows, BGR. Xvfb keeps it in a file in the format of xwd."""
        data = self.framebuffer.read_bytes()
        header, n_colors = int.from_bytes(data[:4]), int.from_bytes(data[76:80])
        pixels = np.frombuffer(data, np.uint8, WIDTH * HEIGHT * 4, header + 12 * n_colors)
        return pixels.reshape(HEIGHT, WIDTH, 4)[:, :, :3]


@pytest.fixture
def screen(tmp_path: Path) -> Iterator[Screen]:
    if shutil.which("Xvfb") is None:
        pytest.skip("a virtual screen needs Xvfb (Debian: apt-get install xvfb)")
    read, write = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    arguments = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-nolisten", "tcp", "-fbdir", str(tmp_path)]
    with subprocess.Popen(arguments, pass_fds=[write], stderr=subprocess.DEVNULL) as process:
        os.close(write)
        with os.fdopen(read) as answer:
            number = answer.readline().strip()
        yield Screen(f":{number}", tmp_path / "Xvfb_screen0")
        process.terminate()


SHOW = """
import sys
import numpy as np
from pipeline.core.detections import Detections
from pipeline.core.errors import StopRequest
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.display import DisplayConfig, DisplaySink

sink = DisplaySink(DisplayConfig(), class_names=())
sink.open(StreamInfo("cam", 300, 200, 25.0, True, None))
image = np.full((200, 300, 3), (20, 120, 240), np.uint8)
for i in range(100000):
    frame = Frame("cam", i, image, i / 25, 0, CaptureClock.FILE)
    try:
        sink.write(FrameResult(frame, Detections.empty(), Tracks.empty(), Timeline()))
    except StopRequest:
        print("stopped", flush=True)
        break
    if i == 20:
        print("shown", flush=True)
sink.close()
sink.close()
"""
CLOSE_WINDOW = """
import ctypes, sys
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = x.XDefaultRootWindow.restype = x.XInternAtom.restype = ctypes.c_void_p
display = ctypes.c_void_p(x.XOpenDisplay(None))
atom = lambda name: x.XInternAtom(display, name, 0)
root, parent, children, n = ctypes.c_ulong(), ctypes.c_ulong(), ctypes.POINTER(ctypes.c_ulong)(), ctypes.c_uint()
top = ctypes.c_ulong(x.XDefaultRootWindow(display))
x.XQueryTree(display, top, *(ctypes.byref(a) for a in (root, parent, children, n)))
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("sent", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("kind", ctypes.c_ulong),
                ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("padding", ctypes.c_long * 24)]
for i in range(n.value):
    data = (ctypes.c_long * 5)(atom(b"WM_DELETE_WINDOW"))
    message = Message(33, 0, 1, display, children[i], atom(b"WM_PROTOCOLS"), 32, data)
    x.XSendEvent(display, ctypes.c_ulong(children[i]), 0, ctypes.c_long(0), ctypes.byref(message))
x.XSync(display, 0)
"""


def test_a_real_window_shows_the_picture_and_its_end_ends_the_run(screen: Screen) -> None:
    environment = {**os.environ, "DISPLAY": screen.display}
    arguments = [sys.executable, "-c", SHOW]
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "shown\n"
        picture = screen.picture()
        subprocess.run([sys.executable, "-c", CLOSE_WINDOW], env=environment, check=True)
        assert process.stdout.readline() == "stopped\n"
        assert process.wait(timeout=20) == 0
    assert (np.abs(picture[20:180, 20:280].astype(int) - (20, 120, 240)).max(axis=2) <= 2).mean() > 0.95
