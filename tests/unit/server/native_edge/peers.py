"""An edge with handlers of a test, and its peers: of grpc, and one that sends frames of HTTP/2 by itself."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from memdb.server.edge import Handler, Kind
from memdb.types.clip import Clip
from memdb.wire.ingest import ingest_parts

pytest.importorskip("memdb_edge")

from memdb.server.native_edge import NativeEdge

OPTIONS = [("grpc.keepalive_timeout_ms", 3000)]
Behaviour = Callable[[Any, Any], Awaitable[Any]]


async def echo(request: Any, _: Any) -> bytes:
    return bytes(request)


async def waits(_: Any, call: Any) -> bytes:
    await asyncio.sleep(3600)
    return b""


async def both_ways(_: Any, call: Any) -> None:
    while (message := await call.read()) is not None:
        await call.write(message)


class Running:
    """An edge, and a channel to it."""

    def __init__(self, edge: NativeEdge, port: int) -> None:
        self.edge = edge
        self.port = port
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )

    async def echoes(self) -> bool:
        call: Any = self.channel.unary_unary("/s/Echo")
        return bool(await call(b"x", timeout=20) == b"x")

    async def ends_all(self) -> None:
        """Return once no call is open."""
        deadline = time.monotonic() + 20
        while self.edge._calls:
            assert time.monotonic() < deadline, "calls that never end"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    calls_max: int = 100,
    memory_max: int = 1 << 26,
    clips: Behaviour | None = None,
    **more: tuple[Kind, Behaviour],
) -> AsyncIterator[Running]:
    """clips: of a method Clips, whose messages may come read."""
    methods = {"Echo": (Kind.UNARY, echo)} | more
    handlers = [Handler(f"s/{name}", *method) for name, method in methods.items()]
    if clips is not None:
        handlers.append(Handler("s/Clips", Kind.BOTH_WAYS, clips, clips=True))
    edge = NativeEdge(handlers, OPTIONS, calls_max, memory_max=memory_max)
    port = edge.bind("127.0.0.1:0", None)
    await edge.start()
    served = Running(edge, port)
    try:
        yield served
    finally:
        await served.channel.close()
        await asyncio.wait_for(edge.stop(0.0), 20)


class Peer:
    """Frames of HTTP/2, one by one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        self._streams = 0

    def begin(self, method: str, **fields: bytes) -> int:
        """Open a call, without a message."""
        number, self._streams = 2 * self._streams + 1, self._streams + 1
        ahead: dict[bytes, bytes] = {
            b":method": b"POST", b":scheme": b"http", b":path": method.encode(), b":authority": b"x",
            b"content-type": b"application/grpc", b"te": b"trailers",
        }  # fmt: skip
        ahead |= {key.replace("_", "-").encode("latin-1"): value for key, value in fields.items()}
        block = b"".join(
            b"\0" + bytes([len(key)]) + key + bytes([len(value)]) + value
            for key, value in ahead.items()
        )
        self._socket.sendall(frame(1, 4, number, block))
        return number

    def send(self, number: int, message: bytes) -> None:
        self._socket.sendall(frame(0, 1, number, b"\0" + struct.pack(">I", len(message)) + message))

    def floods(self, number: int, announced: int, most: int) -> int:
        """Send a message's bytes for as long as the server takes them, at most so many; how many it took."""
        self._socket.sendall(frame(0, 0, number, b"\0" + struct.pack(">I", announced)))
        self._socket.settimeout(1)
        windows = [65535 - 5, 65535 - 5]  # of the connection, of the call
        sent = 0
        while sent < most:
            part = min(16_000, *windows)
            if part > 0:
                self._socket.sendall(frame(0, 0, number, bytes(part)))
                windows = [left - part for left in windows]
                sent += part
                continue
            try:
                head = self._exactly(9)
                payload = self._exactly(int.from_bytes(head[:3], "big"))
            except (TimeoutError, AssertionError):
                break
            if head[3] == 8:
                windows[head[8] != 0] += int.from_bytes(payload, "big")
            elif head[3] == 6 and not head[4] & 1:
                self._socket.sendall(frame(6, 1, 0, payload))
            elif head[3] == 4 and not head[4] & 1:
                self._socket.sendall(frame(4, 1, 0))
                for key, value in struct.iter_unpack(">HI", payload):
                    windows[1] += value - 65535 if key == 4 else 0
        return sent

    def reset(self, number: int) -> None:
        self._socket.sendall(frame(3, 0, number, struct.pack(">I", 8)))

    def hears(self, number: int) -> bytes:
        """What comes for a call, as bytes, until its end."""
        came = b""
        while True:
            head = self._exactly(9)
            payload = self._exactly(int.from_bytes(head[:3], "big"))
            if struct.unpack(">I", head[5:])[0] == number:
                came += payload
                if head[3] == 3 or (head[3] in (0, 1) and head[4] & 1):
                    return came

    def close(self) -> None:
        self._socket.close()

    def _exactly(self, count: int) -> bytes:
        came = b""
        while len(came) < count:
            part = self._socket.recv(count - len(came))
            assert part, "the connection was closed"
            came += part
        return came


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


async def answered(call: Any) -> list[bytes]:
    return [message async for message in call]


async def asks(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d" % number


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def message_of_clips(rows: int = 8, seq: int = 0) -> bytes:
    clip = Clip(
        seq=seq, start_ns=0, end_ns=1,
        global_memory=np.ones(32, np.float32), short_memory=np.ones((rows, 32), np.float16),
    )  # fmt: skip
    return b"".join(map(bytes, ingest_parts(clip)))
