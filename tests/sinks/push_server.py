"""An RTSP server for tests that takes one push; a process of its own, because PyAV connects with the GIL held.

Argument: accept, silent (never answers), refuse (404), deaf (reads no media), or drop (closes at the first media).
It prints its port, and when its input ends, what came in as JSON.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from typing import BinaryIO

SETUP_ANSWER = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n"


class PushServer:
    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.methods: list[str] = []
        self.sdp = ""
        self.rtp_times: list[int] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        # A small window fills soon, so that a deaf server is noticed soon.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def run(self) -> None:
        peer, _ = self.listener.accept()
        with peer, peer.makefile("rwb") as stream:
            if self.behaviour == "silent":
                threading.Event().wait()
            try:
                self.serve(stream)
            except ConnectionError:
                return

    def serve(self, stream: BinaryIO) -> None:
        while first := stream.read(1):
            if first != b"$":
                self.request(stream, first)
            elif self.behaviour == "deaf":
                threading.Event().wait()
            elif self.behaviour == "drop":
                return
            else:
                self.packet(stream)

    def packet(self, stream: BinaryIO) -> None:
        channel, *size = stream.read(3)
        packet = stream.read(int.from_bytes(bytes(size)))
        if channel == 0:
            self.rtp_times.append(int.from_bytes(packet[4:8]))

    def request(self, stream: BinaryIO, first: bytes) -> None:
        head = (first + b"".join(iter(stream.readline, b"\r\n"))).decode()
        method = head.split()[0]
        self.methods.append(method)
        length = re.search(r"Content-Length: (\d+)", head, re.IGNORECASE)
        body = stream.read(int(length[1])) if length else b""
        if method == "ANNOUNCE":
            self.sdp = body.decode()
        number = re.search(r"CSeq: (\d+)", head)
        status = "404 Not Found" if self.behaviour == "refuse" and method == "ANNOUNCE" else "200 OK"
        extra = SETUP_ANSWER if method == "SETUP" else ""
        answer = f"RTSP/1.0 {status}\r\nCSeq: {number[1] if number else 0}\r\nSession: 1\r\n{extra}\r\n"
        stream.write(answer.encode())
        stream.flush()


if __name__ == "__main__":
    server = PushServer(sys.argv[1])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    print(server.listener.getsockname()[1], flush=True)
    sys.stdin.read()
    thread.join(timeout=2 if server.behaviour == "accept" else 0)
    print(json.dumps({"methods": server.methods, "sdp": server.sdp, "rtp_times": server.rtp_times}), flush=True)
