"""A TCP proxy between a server and its reader that delays, loses, garbles, throttles and cuts what goes through."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable

CHUNK_BYTES = 2048


class FaultProxy:
    """Listens on a free port of 127.0.0.1 in its own thread; a context manager. Faults may be changed at any time.

    Args:
        target_port: where connections go, on 127.0.0.1.
        seed: of what is lost and garbled.

    Attributes:
        port: where it listens.
        delay_s: how late each piece comes.
        loss: share of the pieces from the server that are swallowed.
        garbage: share of the pieces from the server in which some bytes are replaced.
        bytes_per_s: most that comes from the server, or None.
        refusing: new connections are closed at once.
        rewrite: changes what the reader sends.
        n_connections: connections accepted so far.
    """

    def __init__(self, target_port: int, *, seed: int = 0) -> None:
        self.target_port = target_port
        self.port = 0
        self.delay_s = 0.0
        self.loss = 0.0
        self.garbage = 0.0
        self.bytes_per_s: int | None = None
        self.refusing = False
        self.rewrite: Callable[[bytes], bytes] = bytes
        self.n_connections = 0
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, name="fault-proxy")
        self._listening = threading.Event()
        self._closing = asyncio.Event()

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def heal(self) -> None:
        """No faults any more; what was cut stays cut."""
        self.delay_s = self.loss = self.garbage = 0.0
        self.bytes_per_s, self.refusing = None, False

    def cut(self) -> None:
        """End every connection, without a word."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._closing.wait()
        server.close()
        self._abort_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        self._writers.add(writer)
        try:
            if self.refusing:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._writers.add(far_writer)
            try:
                pumps = (self._pump(reader, far_writer, self._from_reader), self._pump(far_reader, writer, self._spoil))
                tasks = [asyncio.ensure_future(pump) for pump in pumps]
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                self._writers.discard(far_writer)
                far_writer.transport.abort()
        except OSError:
            return
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], bytes]
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.bytes_per_s and change == self._spoil:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            writer.write(change(data))
            await writer.drain()

    def _from_reader(self, data: bytes) -> bytes:
        return self.rewrite(data)

    def _spoil(self, data: bytes) -> bytes:
        if self._random.random() < self.loss:
            return b""
        if self._random.random() < self.garbage:
            at = self._random.randrange(len(data))
            return data[:at] + self._random.randbytes(min(16, len(data) - at)) + data[at + 16 :]
        return data
