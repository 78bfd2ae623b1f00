"""The stand-in clock that lets another thread end a blocked FFmpeg call."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import av
import av.error
import pytest

from sources.av_interrupt import interruptible


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_an_interrupt_ends_an_open_long_before_its_time_out(silent_port: int) -> None:
    interrupted = threading.Event()
    timer = threading.Timer(0.2, interrupted.set)
    timer.start()
    begun_s = time.monotonic()
    with interruptible(interrupted), pytest.raises(av.error.FFmpegError):
        av.open(f"tcp://127.0.0.1:{silent_port}", timeout=(60, 60))
    timer.join()
    # If this takes 60 s, this version of PyAV reads the time in another way: see sources/av_interrupt.py.
    assert time.monotonic() - begun_s < 5


def test_other_threads_and_later_calls_keep_the_real_time(silent_port: int) -> None:
    interrupted = threading.Event()
    interrupted.set()
    with interruptible(interrupted), pytest.raises(av.error.FFmpegError):
        av.open(f"tcp://127.0.0.1:{silent_port}", timeout=(60, 60))
    begun_s = time.monotonic()
    with interruptible(threading.Event()), pytest.raises(av.error.FFmpegError):
        av.open(f"tcp://127.0.0.1:{silent_port}", timeout=(0.5, 0.5))
    assert 0.4 < time.monotonic() - begun_s < 5
