"""Messages of streams on the native edge: whole, in order, and within what there is room for."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from memdb.server.edge import Kind
from tests.unit.server.native_edge.peers import answered, asks, message_of_clips, running


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


async def test_a_thread_sends_for_several_calls_at_once() -> None:
    """But for those that have ended, and those that have something on its way."""
    aheads: list[tuple[Any, bytes]] = []
    all_here, sent = asyncio.Event(), asyncio.Event()
    codes: list[str] = []

    async def waits(_: Any, call: Any) -> None:
        number = int(await call.read())
        ahead = call.ahead()
        aheads.append((ahead, b"%d" % number))
        if len(aheads) == 9:
            all_here.set()
        if number == 3:
            call.finish(grpc.StatusCode.OK)
            codes.append("ended")
        if number == 5:
            ahead(b"%d" % number)
        await sent.wait()
        if number == 3:
            with pytest.raises(RuntimeError, match="ended"):
                await call.write(b"3")
            return
        await call.write(next(data for one, data in aheads if one is ahead))
        await call.write(b"last")

    async with running(Waits=(Kind.BOTH_WAYS, waits)) as it:
        call: Any = it.channel.stream_stream("/s/Waits")
        calls = [asyncio.create_task(answered(call([b"%d" % n], timeout=60))) for n in range(9)]
        await asyncio.wait_for(all_here.wait(), 20)
        told = [one for one in aheads if one[1] != b"5"]
        await asyncio.to_thread(told[0][0].together, told)
        assert [one.message for one, data in aheads if data == b"3"] == [None]
        assert all(one.message is data for one, data in told if data != b"3")
        sent.set()
        answers = await asyncio.gather(*calls)
    assert answers == [[b"%d" % n, b"last"] if n != 3 else [] for n in range(9)]
    assert codes == ["ended"]


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


async def test_a_message_that_comes_as_its_read_is_given_up_is_the_next_readers() -> None:
    """In the same turn of the loop, and behind it."""
    # Told together with the end of the write, the message would be read before anybody gives up.
    is_busy = threading.Event()

    async def gives_up(_: Any, call: Any) -> None:
        reading = asyncio.ensure_future(call.read())
        await asyncio.sleep(0)
        await call.write(b"go")
        is_busy.set()
        time.sleep(0.3)
        asyncio.get_running_loop().call_soon(reading.cancel)
        with pytest.raises(asyncio.CancelledError):
            await reading
        await call.write(await call.read())

    async with running(GivesUp=(Kind.BOTH_WAYS, gives_up)) as it:

        def echoes() -> list[Any]:
            with grpc.insecure_channel(f"127.0.0.1:{it.port}") as channel:
                stream: Any = channel.stream_stream("/s/GivesUp")
                told: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
                answers = stream(iter(told.get, None), timeout=20)
                found = [next(answers)]
                assert is_busy.wait(10)
                told.put(b"message")
                found.append(next(answers))
                told.put(None)
                return found

        assert await asyncio.to_thread(echoes) == [b"go", b"message"]


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
