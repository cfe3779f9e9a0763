"""What happened to calls reaches them, however often there is no memory to tell Python of it."""

from __future__ import annotations

import asyncio
import select
import sys
from contextlib import suppress
from typing import Any

import grpc
import pytest

from memdb.server.edge import CallerLeft, Kind
from tests.unit.server.native_edge.peers import (
    Running,
    both_ways,
    code_of,
    message_of_clips,
    running,
)

_testcapi = pytest.importorskip("_testcapi")

CALLS = 12


class Starved:
    """A server whose events are taken while Python's memory ends, each time one allocation later."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.cut_short = 0
        """How often not all could be told."""

    def take(self) -> list[Any]:
        told: list[Any] = []
        take, ends, goes_on = self.server.take, _testcapi.set_nomemory, _testcapi.remove_mem_hooks
        switched = sys.getswitchinterval()
        sys.setswitchinterval(60)  # for no other thread
        allocations = 0
        while readable(self.server.fd):
            came: list[Any] = []
            ends(allocations, 0)
            try:
                came = take()
            except MemoryError:
                pass
            finally:
                goes_on()
            told += came
            allocations += 1
            self.cut_short += readable(self.server.fd)
        sys.setswitchinterval(switched)
        return told

    def __getattr__(self, name: str) -> Any:
        return getattr(self.server, name)


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def starve(it: Running) -> Starved:
    """From now on."""
    starved = Starved(it.edge._server)
    it.edge._server = starved  # type: ignore[assignment]
    return starved


async def test_calls_end_each_with_an_answer_or_without_its_message() -> None:
    async with running() as it:
        assert await it.echoes()
        starved = starve(it)
        call: Any = it.channel.unary_unary("/s/Echo")
        codes = await asyncio.gather(
            *(code_of(call(b"x" * 1000, timeout=20)) for _ in range(CALLS))
        )
        await it.ends_all()
        assert starved.cut_short > 3
        # Of a message for which there was no memory.
        assert set(codes) <= {
            grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED
        }  # fmt: skip
        it.edge._server = starved.server
        assert await it.echoes()


@pytest.mark.parametrize("message", [b"x" * 1000, message_of_clips()], ids=["bytes", "clips"])
async def test_streams_end_whole_or_are_cut_off(message: bytes) -> None:
    async def counts(_: Any, call: Any) -> None:
        count = 0
        while await call.read() is not None:
            count += 1
        with suppress(CallerLeft):
            await call.write(b"%d" % count)

    async with running(clips=counts) as it:
        assert await it.echoes()
        starved = starve(it)
        call: Any = it.channel.stream_stream("/s/Clips")

        async def counted() -> bytes | grpc.StatusCode:
            try:
                (count,) = [each async for each in call([message] * 5, timeout=20)]
            except grpc.aio.AioRpcError as error:
                return error.code()
            return bytes(count)

        ends = await asyncio.gather(*(counted() for _ in range(CALLS)))
        await it.ends_all()
        assert starved.cut_short > 3
        # INTERNAL is what the client makes of a call that is cut off while it writes.
        assert set(ends) <= {b"5", grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL}
        it.edge._server = starved.server
        assert await counted() == b"5"


async def test_a_stop_takes_what_is_left() -> None:
    async with running(BothWays=(Kind.BOTH_WAYS, both_ways)) as it:
        assert await it.echoes()
        call: Any = it.channel.stream_stream("/s/BothWays")(timeout=20)
        await call.write(b"x")
        assert await call.read() == b"x"
        starve(it)
        await it.edge.stop(0.0)
        assert not it.edge._calls
