"""Live pictures as one endless response, for `<img>`, players and other programs."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sinks.dashboard.picture_feed import SEND_TIMEOUT_S, next_picture
from sinks.dashboard.views import Views, ViewSize

_BOUNDARY = "frame"
_SILENCE_S = 30.0
"""Without a new picture for so long, the response ends: the viewer sees that, and may ask again."""


class MotionJpeg(Response):
    """A multipart/x-mixed-replace response. A slow client gets fewer pictures; one that takes none is let go."""

    def __init__(self, views: Views, source_id: str, size: ViewSize) -> None:
        super().__init__(media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
        # It has no end that could be told.
        del self.headers["content-length"]
        self._views = views
        self._source_id = source_id
        self._size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client leaves or the run ends."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send_all(send))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        after = 0
        while True:
            picture = await next_picture(self._views, self._source_id, self._size, after, _SILENCE_S)
            if picture is None:
                await send({"type": "http.response.body", "body": f"--{_BOUNDARY}--\r\n".encode()})
                return
            after = picture.number
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n\r\n"
            part = head.encode() + picture.jpeg + b"\r\n"
            await asyncio.wait_for(
                send({"type": "http.response.body", "body": part, "more_body": True}), SEND_TIMEOUT_S
            )


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
