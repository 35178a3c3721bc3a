"""A TCP proxy with faults between gateway and Redis, told over its standard input. `fault_proxy.py PORT UPSTREAM`.

Lines: `pass`, `delay MILLISECONDS` (each answer), `swallow` (requests reach Redis, answers are thrown away), `black`
(nothing goes either way), `reset BYTES` (the connection is reset after so many bytes of answers), `refuse` (new
connections are closed, old ones dropped), `to PORT` (new connections lead to another Redis, old ones stay).
"""

import asyncio
import contextlib
import os
import socket
import struct
import sys


class Proxy:
    """Pumps bytes between clients and the upstream, and does to them what it was told."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.mode = "pass"
        self.number = 0
        self.open = set()

    async def serve(self, reader, writer):
        if self.mode == "refuse":
            self.drop(writer)
            return
        self.open.add(writer)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        with contextlib.suppress(OSError):
            await asyncio.gather(self.requests(reader, up_writer), self.answers(up_reader, writer))
        self.open.discard(writer)
        for one in (writer, up_writer):
            one.close()

    async def requests(self, reader, writer):
        while data := await reader.read(65536):
            while self.mode == "black":  # noqa: ASYNC110 - looking now and then is what a black hole takes
                await asyncio.sleep(0.01)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def answers(self, reader, writer):
        passed = 0
        while data := await reader.read(65536):
            if self.mode == "delay":
                await asyncio.sleep(self.number / 1000)
            while self.mode == "black":  # noqa: ASYNC110 - looking now and then is what a black hole takes
                await asyncio.sleep(0.01)
            if self.mode == "swallow":
                continue
            if self.mode == "reset" and passed + len(data) > self.number:
                writer.write(data[: max(0, self.number - passed)])
                await asyncio.sleep(0)
                self.drop(writer)
                return
            passed += len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    @staticmethod
    def drop(writer):
        """Close with a reset."""
        link = writer.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def told(self, line):
        self.mode, _, number = line.strip().partition(" ")
        self.number = int(number or 0)
        if self.mode == "to":
            self.upstream = self.number
        if self.mode == "refuse":
            for writer in list(self.open):
                self.drop(writer)


def hear(proxy):
    """Do what was told since the last time: several lines may have come at once, and a buffer would keep the later."""
    lines = os.read(sys.stdin.fileno(), 65536)
    if not lines:
        asyncio.get_running_loop().remove_reader(sys.stdin)
    for line in lines.decode().splitlines():
        proxy.told(line)


async def main():
    proxy = Proxy(int(sys.argv[2]))
    await asyncio.start_server(proxy.serve, "127.0.0.1", int(sys.argv[1]))
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, hear, proxy)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
