"""Whether a window can be opened, found out without risk: Qt ends the whole process where it finds no display."""

from __future__ import annotations

import os
import subprocess
import sys

import cv2

from pipeline.core.errors import SinkError

_TIMEOUT_S = 20.0
_OPEN_AND_CLOSE = "import cv2; cv2.namedWindow('t', cv2.WINDOW_NORMAL); cv2.destroyAllWindows()"


def check_window() -> None:
    """Try to open a window in another process.

    Raises:
        SinkError: it cannot be done; says why and what to do.
    """
    reason = _reason()
    if reason is not None:
        raise SinkError(f"display: wanted to open a window, found {reason}")


def _reason() -> str | None:
    if _opencv_gui() == "NONE":
        return "opencv-python-headless, which has none; install opencv-python in its place"
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        # OpenCV's Qt speaks X11 only; a Wayland session serves it through Xwayland, which sets DISPLAY.
        return "no display (DISPLAY is not set); run it in a desktop session, or write a file with -o out.mp4"
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _OPEN_AND_CLOSE], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer of the display {os.environ.get('DISPLAY', '')} in {_TIMEOUT_S:.0f} s; write -o out.mp4"
    if trial.returncode == 0:
        return None
    said = next((line.strip() for line in trial.stderr.splitlines() if line.strip()), f"code {trial.returncode}")
    return f"that it fails: {said}; run it in a desktop session, or write a file with -o out.mp4"


def _opencv_gui() -> str:
    """The window toolkit that OpenCV was built with, such as `QT5`; `NONE` in the headless build."""
    for line in cv2.getBuildInformation().splitlines():
        name, _, value = line.strip().partition(":")
        if name == "GUI":
            return value.strip() or "NONE"
    return "NONE"
