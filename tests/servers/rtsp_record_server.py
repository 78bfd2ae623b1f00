"""An RTSP server for tests that takes a push on /live and hands it out again on /live/play.

Run it with the system's Python, as rtsp_server.py. It prints `ready PORT` once it listens on 127.0.0.1, then `picture`
for every picture that came in, with `key` behind it where it is a key frame.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    sys.exit(f"missing: {error}")

CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


class Relay:
    """What comes in goes out."""

    def __init__(self, quiet: bool) -> None:
        self.out: Any = None
        self._quiet = quiet

    def record_configured(self, factory: Any, media: Any) -> None:
        sink = media.get_element().get_by_name("in")
        sink.set_property("emit-signals", True)
        sink.connect("new-sample", self.sample)

    def play_configured(self, factory: Any, media: Any) -> None:
        self.out = media.get_element().get_by_name("out")

    def sample(self, sink: Any) -> Any:
        buffer = sink.emit("pull-sample").get_buffer()
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        if not self._quiet:
            print("picture", "key" if is_key else "", flush=True)
        if self.out is not None:
            copy = buffer.copy_deep()
            copy.pts = copy.dts = Gst.CLOCK_TIME_NONE
            self.out.emit("push-buffer", copy)
        return Gst.FlowReturn.OK


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="0", help="0 = any free one")
    parser.add_argument("--quiet", action="store_true", help="do not tell of pictures")
    args = parser.parse_args()
    Gst.init(None)
    server, relay = GstRtspServer.RTSPServer(), Relay(args.quiet)
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    # Who asks for pictures waits for the first one; who brings them must not wait behind.
    pool = GstRtspServer.RTSPThreadPool()
    pool.set_max_threads(-1)
    server.set_thread_pool(pool)
    record = GstRtspServer.RTSPMediaFactory()
    record.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    parse = f"h264parse config-interval=-1 ! {CAPS}"
    record.set_launch(f"( rtph264depay name=depay0 ! {parse} ! appsink name=in sync=false )")
    record.set_latency(0)
    record.connect("media-configure", relay.record_configured)
    play = GstRtspServer.RTSPMediaFactory()
    play.set_shared(True)
    play.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
    play.set_launch(
        f"( appsrc name=out is-live=true do-timestamp=true format=time caps={CAPS} ! h264parse ! rtph264pay name=pay0 )"
    )
    play.connect("media-configure", relay.play_configured)
    points = server.get_mount_points()
    points.add_factory("/live", record)
    points.add_factory("/live/play", play)
    if server.attach(None) == 0:
        sys.exit("bind failed")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
