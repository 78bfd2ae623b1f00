"""A connection that is over leaves nothing behind, also before Python looks for cycles."""

from __future__ import annotations

import gc
from collections.abc import Callable

import av

from pipeline.core.clock import MonotonicClock
from pipeline.core.url import Url
from sources.network import NetworkConfig, NetworkSource


def pictures_held() -> list[av.VideoFrame]:
    """By type: isinstance would ask each object for its class, and some of PyTorch's warn when they are asked."""
    return [thing for thing in gc.get_objects() if issubclass(type(thing), av.VideoFrame)]


def test_a_closed_connection_holds_no_picture(rtsp_server: Callable) -> None:
    """Each picture that is held keeps the decoder's pool: megabytes for every time that a camera comes back."""
    server = rtsp_server()
    gc.collect()
    # Other tests of this process may hold pictures of their own; kept here, so that their ids are not used again.
    others = pictures_held()
    known = {id(picture) for picture in others}
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
        held = [picture for picture in pictures_held() if id(picture) not in known]
    finally:
        gc.enable()
    assert held == []
