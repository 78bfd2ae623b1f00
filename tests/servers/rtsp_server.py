"""An RTSP server for tests: a live picture or a looped clip as H.264 on /live, with or without a password.

The live picture is stamped (see stamped_picture.py): a reader can tell how old it is. SIGUSR1 changes its size in the
middle of the stream.

Run it with the system's Python, which has GStreamer's bindings (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi and
the plugin sets base, good, bad and ugly). It prints `ready PORT` once it listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import stamped_picture

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    sys.exit(f"missing: {error}")

ROLE = "viewer"


def encoder(args: argparse.Namespace) -> str:
    """An H.264 encoder that this machine has."""
    b_frames = f"tune=0 bframes={args.b_frames} b-adapt=false" if args.b_frames else "tune=zerolatency"
    choices = {
        "x264enc": f"x264enc {b_frames} speed-preset=ultrafast key-int-max={args.gop}",
        "openh264enc": f"openh264enc gop-size={args.gop}",
    }
    for name, launch in choices.items():
        if Gst.ElementFactory.find(name):
            return launch
    sys.exit(f"missing: one of the GStreamer elements {', '.join(choices)}")


class Camera:
    """Feeds the stamped picture into one appsrc, at the frame rate, from the main loop."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._size = (args.width, args.height)
        self._sources: list[Gst.Element] = []
        GLib.timeout_add(round(1000 / args.fps), self._tick)

    def attach(self, _factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        """A stream begins: feed it."""
        source = media.get_element().get_child_by_name("picture")
        self._sources.append(source)
        media.connect("unprepared", lambda _media: self._sources.remove(source))

    def change_size(self) -> bool:
        """From now on pictures have the other size."""
        other = (self._args.other_width, self._args.other_height)
        self._size = other if self._size != other else (self._args.width, self._args.height)
        return GLib.SOURCE_CONTINUE

    def _tick(self) -> bool:
        width, height = self._size
        caps = Gst.Caps.from_string(
            f"video/x-raw,format=GRAY8,width={width},height={height},framerate={self._args.fps}/1"
        )
        for source in self._sources:
            buffer = Gst.Buffer.new_wrapped(stamped_picture.draw(width, height, self._args.number))
            source.emit("push-sample", Gst.Sample.new(buffer, caps, None, None))
        return GLib.SOURCE_CONTINUE


def make_factory(args: argparse.Namespace) -> GstRtspServer.RTSPMediaFactory:
    """The stream."""
    factory = GstRtspServer.RTSPMediaFactory()
    if args.clip:
        caps = f"video/x-h264,stream-format=byte-stream,framerate={args.fps}/1"
        begin = f'multifilesrc loop=true location="{args.clip}" caps="{caps}"'
    else:
        begin = f"appsrc name=picture is-live=true do-timestamp=true format=time ! videoconvert ! {encoder(args)}"
    pay = "rtph264pay pt=96 mtu=1200"
    loss = f"! identity drop-probability={args.loss} name=pay0" if args.loss else "name=pay0"
    factory.set_launch(f"( {begin} ! h264parse config-interval=-1 ! {pay} {loss} )")
    factory.set_latency(0)
    if not args.clip:
        camera = Camera(args)
        factory.connect("media-configure", camera.attach)
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGUSR1, camera.change_size)
    factory.set_shared(True)
    over = {"tcp": GstRtsp.RTSPLowerTrans.TCP, "udp": GstRtsp.RTSPLowerTrans.UDP}
    factory.set_protocols(over.get(args.only, over["tcp"] | over["udp"]))
    if args.user:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_role(ROLE)
        for what in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role(ROLE, what, True)
        factory.set_permissions(permissions)
    return factory


def make_auth(user: str, password: str, digest: bool) -> GstRtspServer.RTSPAuth:
    """Who may watch."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    if digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="0", help="0 = any free one")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--digest", action="store_true")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--other-width", type=int, default=480, help="after SIGUSR1")
    parser.add_argument("--other-height", type=int, default=270)
    parser.add_argument("--gop", type=int, default=10, help="frames from key frame to key frame")
    parser.add_argument("--b-frames", type=int, default=0)
    parser.add_argument("--loss", type=float, default=0.0, help="share of RTP packets that are lost")
    parser.add_argument("--number", type=int, default=0, help="a number from 0 to 255 that the picture shows")
    parser.add_argument("--only", choices=["tcp", "udp"], help="refuse the other transport")
    parser.add_argument("--clip", help="serve this H.264 file (Annex B, no B-frames) for ever instead")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    server.get_mount_points().add_factory("/live", make_factory(args))
    if args.user:
        server.set_auth(make_auth(args.user, args.password, args.digest))
    if server.attach(None) == 0:
        sys.exit("bind failed")
    print("ready", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
