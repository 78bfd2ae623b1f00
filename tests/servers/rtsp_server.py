"""An RTSP server for tests: a live test picture as H.264 on /live, with or without a password.

Run it with the system's Python, which has GStreamer's bindings (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi and
the plugin sets base, good, bad and ugly). It prints `ready PORT` once it listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import sys

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    sys.exit(f"missing: {error}")

ROLE = "viewer"


def encoder() -> str:
    """An H.264 encoder that this machine has, with a key frame every 10 frames."""
    choices = {
        "x264enc": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10",
        "openh264enc": "openh264enc gop-size=10",
    }
    for name, launch in choices.items():
        if Gst.ElementFactory.find(name):
            return launch
    sys.exit(f"missing: one of the GStreamer elements {', '.join(choices)}")


def make_factory(args: argparse.Namespace) -> GstRtspServer.RTSPMediaFactory:
    """The live picture."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={args.width},height={args.height},"
        f"framerate={args.fps}/1 ! {encoder()} ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"
    )
    factory.set_shared(True)
    factory.set_protocols(GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP)
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
