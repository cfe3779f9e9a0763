"""Calls on the native edge: what peers and handlers do to one costs no other."""

from __future__ import annotations

import asyncio
import gc
import resource
import select
import socket
import time
from contextlib import suppress
from typing import Any

import grpc
import pytest

from memdb.server import acceptor
from memdb.server.edge import Handler, Kind

pytest.importorskip("memdb_edge")

from memdb.server.native_edge import NativeEdge
from tests.unit.server.native_edge.peers import (
    OPTIONS,
    Peer,
    answered,
    both_ways,
    code_of,
    running,
    waits,
)


async def test_callers_who_leave_before_they_have_asked() -> None:
    async with running(1000, Waits=(Kind.UNARY, waits), BothWays=(Kind.BOTH_WAYS, both_ways)) as it:
        peer = Peer(it.port)
        for count in range(300):
            number = peer.begin(("/s/Waits", "/s/BothWays", "/s/Echo")[count % 3])
            peer.reset(number)
            if count % 10 == 0:
                assert await it.echoes()
        await it.ends_all()
        assert await it.echoes()
        peer.close()


@pytest.mark.parametrize("kind", [Kind.UNARY, Kind.ANSWERS, Kind.BOTH_WAYS])
async def test_callers_who_came_and_left_while_the_loop_was_busy(kind: Kind) -> None:
    async with running(Waits=(kind, waits)) as it:
        assert await it.echoes()
        peer = Peer(it.port)
        await asyncio.sleep(0.05)  # its connection is taken
        for _ in range(20):
            number = peer.begin("/s/Waits")
            peer.send(number, b"x")
            peer.reset(number)
        time.sleep(0.3)  # on the loop
        assert await it.echoes()
        await it.ends_all()
        peer.close()


async def test_calls_of_a_server_that_is_let_go_of_end() -> None:
    """Those that Python has, and those that it never heard of."""
    for hears in (True, False):
        edge = NativeEdge([Handler("s/Waits", Kind.UNARY, waits)], OPTIONS, 10)
        port = edge.bind("127.0.0.1:0", None)
        edge._acceptor.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call: Any = channel.unary_unary("/s/Waits")
            asked = [asyncio.ensure_future(call(b"x", timeout=20)) for _ in range(3)]
            while not readable(edge._server.fd):
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            came = edge._server.take() if hears else []
            edge._acceptor.stop()
            del edge
            gc.collect()
            codes = await asyncio.gather(*map(code_of, asked))
        assert set(codes) == {grpc.StatusCode.UNAVAILABLE}
        del came


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


async def test_trailers_that_cannot_be_sent_end_the_call_alone() -> None:
    async def bad(_: Any, call: Any) -> bytes:
        call.set_trailing_metadata((("note", "one\ntwo"),))
        return b""

    async with running(Bad=(Kind.UNARY, bad)) as it:
        call: Any = it.channel.unary_unary("/s/Bad")
        assert await code_of(call(b"", timeout=20)) == grpc.StatusCode.INTERNAL
        assert await it.echoes()


async def test_details_of_any_text() -> None:
    async def bad(_: Any, call: Any) -> bytes:
        await call.abort(grpc.StatusCode.NOT_FOUND, "caf\u00e9 \ud800 \0 \n %", ())
        return b""

    async with running(Bad=(Kind.UNARY, bad)) as it:
        call: Any = it.channel.unary_unary("/s/Bad")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"", timeout=20)
        assert caught.value.details() == "caf\u00e9 \\ud800 \0 \n %"


async def test_metadata_that_is_no_text_and_a_deadline_beyond_all_clocks() -> None:
    told: list[Any] = []

    async def tells(_: Any, call: Any) -> bytes:
        told.append((dict(call.invocation_metadata()), call.time_remaining()))
        return b""

    async with running(Tells=(Kind.UNARY, tells)) as it:
        peer = Peer(it.port)
        number = peer.begin(
            "/s/Tells", x_request_id=b"\xff\xfe", grpc_timeout=b"99999999H", kÿ=b"v"
        )
        peer.send(number, b"")
        await asyncio.to_thread(peer.hears, number)
        peer.close()
    ((metadata, remaining),) = told
    assert metadata["x-request-id"] == "\xff\xfe"
    assert metadata["k\xff"] == "v"
    assert remaining is None or remaining > 1e8


async def test_a_call_is_told_what_it_may_not() -> None:
    refused: list[str] = []

    async def misuses(_: Any, call: Any) -> None:
        handle = call._handle
        handle.read()
        for misuse in (handle.read, handle.read):
            with pytest.raises(RuntimeError) as caught:
                misuse()
            refused.append(str(caught.value))
        handle.finish(0, "", ())
        for misuse in (
            handle.read,
            lambda: handle.write(b""),
            lambda: handle.finish(0, "", ()),
            lambda: handle.answer(b"", ()),
        ):
            with pytest.raises(RuntimeError, match="has ended"):
                misuse()

    async with running(Misuses=(Kind.BOTH_WAYS, misuses)) as it:
        call: Any = it.channel.stream_stream("/s/Misuses")
        assert await answered(call(timeout=20)) == []
        assert len(refused) == 2
        await it.ends_all()


async def test_connections_wait_while_no_descriptor_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceptor, "RETRY_S", 0.05)
    async with running() as it:
        assert await it.echoes()
        waiting = [socket.socket() for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            for connection in waiting:
                connection.connect(("127.0.0.1", it.port))
            await asyncio.sleep(0.2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for connection in waiting:
            connection.settimeout(20)
            # Its settings: it is served.
            assert await asyncio.to_thread(connection.recv, 9)
            connection.close()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{it.port}") as channel:
            call: Any = channel.unary_unary("/s/Echo")
            assert await call(b"x", timeout=20) == b"x"


async def test_a_message_that_is_too_large_is_not_taken_in_whole() -> None:
    async with running(memory_max=16 << 20) as it:
        peer = Peer(it.port)
        number = peer.begin("/s/Echo")
        assert await asyncio.to_thread(peer.floods, number, 1 << 31, 200 << 20) < 64 << 20
        peer.close()
        await it.ends_all()
        assert await it.echoes()


async def test_a_stop_does_not_wait_for_a_handler_that_goes_on() -> None:
    go_on = asyncio.Event()
    ended: list[bool] = []

    async def stubborn(_: Any, call: Any) -> bytes:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await go_on.wait()
        ended.append(True)
        return b"too late"

    async with running(Stubborn=(Kind.UNARY, stubborn)) as it:
        call: Any = it.channel.unary_unary("/s/Stubborn")
        asked = asyncio.ensure_future(call(b"", timeout=60))
        while not it.edge._calls:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(it.edge.stop(0.1), 20)
        assert await code_of(asked) in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        go_on.set()
        while not ended:
            await asyncio.sleep(0.01)


async def test_a_server_that_stops_does_not_listen_and_ends_what_waits() -> None:
    async with running(Waits=(Kind.UNARY, waits)) as it:
        call: Any = it.channel.unary_unary("/s/Waits")
        asked = asyncio.ensure_future(call(b"", timeout=60))
        while not it.edge._calls:
            await asyncio.sleep(0.01)
        begun = time.monotonic()
        await it.edge.stop(0.1)
        assert time.monotonic() - begun < 10
        assert await code_of(asked) in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", it.port), timeout=5):
            pass
        with suppress(RuntimeError):
            it.edge._server.adopt(socket.socket().detach())
