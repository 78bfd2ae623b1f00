"""A connection that is over leaves nothing behind, also before Python looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Callable

import av

from pipeline.core.clock import MonotonicClock
from pipeline.core.url import Url
from sources.network import NetworkConfig, NetworkSource


def test_a_closed_connection_holds_no_picture(rtsp_server: Callable) -> None:
    """Each picture that is held keeps the decoder's pool: megabytes for every time that a camera comes back."""
    server = rtsp_server()
    gc.collect()
    gc.disable()
    try:
        for n_frames in (1, 5):
            config = NetworkConfig(url=Url(server.url()))
            source = NetworkSource(config, source_id="cam", clock=MonotonicClock())
            source.open()
            for _ in range(n_frames):
                source.read()
            source.close()
            del source
        # By type: isinstance would ask each object for its class, and some of PyTorch's warn when they are asked.
        held = [thing for thing in gc.get_objects() if issubclass(type(thing), av.VideoFrame)]
    finally:
        gc.enable()
    assert held == []
