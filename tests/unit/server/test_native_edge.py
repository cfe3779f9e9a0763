"""The native edge, by handlers of these tests: what peers and handlers do to a call costs no other call."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import select
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
import numpy as np
import pytest

from memdb.server import acceptor
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


@pytest.fixture(autouse=True)
def nothing_lost(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No event of a call was for nobody."""
    caplog.set_level(logging.ERROR)
    yield
    assert "not understood" not in caplog.text
    assert "Exception in callback" not in caplog.text


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


async def test_messages_come_whole_and_in_order() -> None:
    async def counts(_: Any, call: Any) -> None:
        count = 0
        while (message := await call.read()) is not None:
            assert message == b"%d" % count
            count += 1
        await call.write(b"%d" % count)

    async def sends() -> AsyncIterator[bytes]:
        for count in range(1000):
            yield b"%d" % count

    async with running(Counts=(Kind.BOTH_WAYS, counts)) as it:
        call: Any = it.channel.stream_stream("/s/Counts")
        answers = await asyncio.gather(*(answered(call(sends(), timeout=60)) for _ in range(8)))
        assert answers == [[b"1000"]] * 8


def message_of_clips(rows: int = 8, seq: int = 0) -> bytes:
    clip = Clip(
        seq=seq, start_ns=0, end_ns=1,
        global_memory=np.ones(32, np.float32), short_memory=np.ones((rows, 32), np.float16),
    )  # fmt: skip
    return b"".join(map(bytes, ingest_parts(clip)))


async def test_messages_of_clips_come_whole_and_in_order_read_or_not() -> None:
    odd = [b"", b"\x12\x00", b"\xff", message_of_clips()[:-1], bytes(70_000)]
    sent = [
        message_of_clips(seq=number) if number % 3 else odd[number % 5] for number in range(300)
    ]

    async def compares(_: Any, call: Any) -> None:
        for number, wanted in enumerate(sent):
            message = await call.read()
            assert bytes(message) == wanted
            assert isinstance(message, bytes) == (number % 3 == 0)
            if number % 50 == 0:
                await asyncio.sleep(0.01)  # the next one lies ready
        for _ in range(3):
            assert await call.read() is None
        await call.write(b"all")

    async with running(clips=compares) as it:
        call: Any = it.channel.stream_stream("/s/Clips")
        answers = await asyncio.gather(*(answered(call(sent, timeout=60)) for _ in range(8)))
        assert answers == [[b"all"]] * 8


async def test_of_clips_that_nobody_takes_one_message_is_read() -> None:
    go_on = asyncio.Event()
    came = 0

    async def dawdles(_: Any, call: Any) -> None:
        nonlocal came
        while await call.read() is not None:
            came += 1
            await go_on.wait()

    message = message_of_clips(16_000)
    assert len(message) > 1_000_000
    async with running(clips=dawdles) as it:
        call: Any = it.channel.stream_stream("/s/Clips")(timeout=60)
        taken = 0

        async def sends() -> None:
            nonlocal taken
            for _ in range(64):
                await call.write(message)
                taken += 1
            await call.done_writing()

        sending = asyncio.create_task(sends())
        last = -1
        while taken != last:
            last = taken
            await asyncio.sleep(0.3)
        assert came == 1
        assert taken < 32  # what HTTP/2's window takes, and one
        go_on.set()
        await asyncio.wait_for(sending, 60)
        assert await answered(call) == []
        assert came == 64


async def test_messages_that_are_read_have_a_share_of_the_memory() -> None:
    """Beyond it they stay with gRPC until Python takes them, and what callers leave behind does not fill it."""
    large, small = message_of_clips(9_000), message_of_clips(3_000)
    kinds: list[tuple[int, bool]] = []
    waiting = asyncio.Event()

    async def notes(_: Any, call: Any) -> None:
        while (message := await call.read()) is not None:
            kinds.append((len(message), isinstance(message, bytes)))
            if message == b"wait":
                waiting.set()
                await asyncio.sleep(3600)

    async with running(memory_max=1 << 22, clips=notes) as it:
        assert len(large) > 1 << 19 > 2 * len(small)
        call: Any = it.channel.stream_stream("/s/Clips")
        for _ in range(10):
            leaves = call([b"wait", small, small], timeout=60)
            await asyncio.wait_for(waiting.wait(), 20)
            waiting.clear()
            await asyncio.sleep(0.05)  # one lies ready
            leaves.cancel()
            await it.ends_all()
        kinds.clear()
        assert await answered(call([small, large] * 10, timeout=60)) == []
    assert kinds == [(len(small), False), (len(large), True)] * 10


async def test_where_room_is_short_no_message_is_read_ahead() -> None:
    """What found none would be gRPC's to hold, beyond what anybody counts: a message for each stream."""
    message = message_of_clips(3_000)
    came, go_on, one_by_one = asyncio.Event(), asyncio.Event(), asyncio.Lock()
    read_by_edge: list[bool] = []

    async def waits_its_turn(_: Any, call: Any) -> None:
        await call.read()
        came.set()
        await go_on.wait()
        async with one_by_one:
            read_by_edge.append(not isinstance(await call.read(), bytes))

    async with running(memory_max=1 << 22, clips=waits_its_turn) as it:
        assert 1 << 18 > len(message) > 1 << 17  # of half a megabyte, two leave less than half
        call: Any = it.channel.stream_stream("/s/Clips")
        calls = []
        for _ in range(6):
            calls.append(call([b"wait", message], timeout=60))
            await asyncio.wait_for(came.wait(), 20)
            came.clear()
            await asyncio.sleep(0.05)  # what is read ahead lies ready
        go_on.set()
        assert await asyncio.gather(*map(answered, calls)) == [[]] * 6
    assert read_by_edge == [True] * 6


async def answered(call: Any) -> list[bytes]:
    return [message async for message in call]


async def asks(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d" % number


async def test_a_thread_sends_what_its_call_then_waits_for() -> None:
    """Once, in order, and beside messages that no thread sends."""

    async def by_turns(_: Any, call: Any) -> None:
        while (message := await call.read()) is not None:
            if int(message) % 3:
                send = call.ahead()
                if int(message) % 3 == 1:
                    await asyncio.to_thread(send, message)
            await call.write(message)

    async with running(Turns=(Kind.BOTH_WAYS, by_turns)) as it:
        call: Any = it.channel.stream_stream("/s/Turns")
        answers = await asyncio.gather(*(answered(call(asks(100), timeout=60)) for _ in range(8)))
        assert answers == [[b"%d" % number for number in range(100)]] * 8


async def test_a_thread_sends_no_second_message_while_one_is_on_its_way() -> None:
    found: list[Any] = []
    sent = b"second"

    async def two(_: Any, call: Any) -> None:
        await call.read()
        writing = asyncio.create_task(call.write(b"first"))
        await asyncio.sleep(0)
        found.append(call.ahead())
        await writing
        send = call.ahead()
        found.append(call.ahead() is send)  # it was not used
        send(sent)
        with pytest.raises(AssertionError):
            send(b"third")
        await call.write(sent)

    async with running(Two=(Kind.BOTH_WAYS, two)) as it:
        call: Any = it.channel.stream_stream("/s/Two")
        assert await answered(call(asks(1), timeout=20)) == [b"first", sent]
    assert found == [None, True]


async def test_a_thread_that_comes_too_late_is_told_nothing_and_the_call_is() -> None:
    told: list[str] = []

    async def ends(_: Any, call: Any) -> None:
        while await call.read() is not None:
            pass
        send = call.ahead()
        call.finish(grpc.StatusCode.OK)
        await asyncio.to_thread(send, b"late")
        try:
            await call.write(b"late")
        except RuntimeError as error:
            told.append(str(error))

    async with running(Ends=(Kind.BOTH_WAYS, ends)) as it:
        call: Any = it.channel.stream_stream("/s/Ends")
        assert await answered(call(asks(1), timeout=20)) == []
        await it.ends_all()
    assert told == ["the call has ended"]


async def test_a_read_that_is_given_up_loses_no_message() -> None:
    async def impatient(_: Any, call: Any) -> None:
        while True:
            try:
                message = await asyncio.wait_for(call.read(), 0.001)
            except TimeoutError:
                continue
            if message is None:
                return
            await call.write(message)

    async def slowly() -> AsyncIterator[bytes]:
        async for message in asks(20):
            await asyncio.sleep(0.003)
            yield message

    async with running(Impatient=(Kind.BOTH_WAYS, impatient)) as it:
        call: Any = it.channel.stream_stream("/s/Impatient")
        assert await answered(call(slowly(), timeout=60)) == [b"%d" % n for n in range(20)]


async def test_a_write_that_is_given_up_is_waited_for_by_the_next() -> None:
    """Its peer reads nothing for a while, so that gRPC takes no second message."""
    large = b"x" * (1 << 20)
    given_up: list[bool] = []

    async def gives_up(_: Any, call: Any) -> None:
        for _ in range(20):
            writing = asyncio.ensure_future(call.write(large))
            done, _pending = await asyncio.wait((writing,), timeout=0.05)
            if not done:
                writing.cancel()
                with suppress(asyncio.CancelledError):
                    await writing
                given_up.append(call.ahead() is None)
                break
        await call.write(b"last")

    async with running(GivesUp=(Kind.BOTH_WAYS, gives_up)) as it:
        call: Any = it.channel.stream_stream("/s/GivesUp")(timeout=30)
        await call.write(b"begin")
        await asyncio.sleep(1)
        answers = await answered(call)
        assert answers[-1] == b"last"
        assert set(answers[:-1]) == {large}
    assert given_up == [True]


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


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


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
