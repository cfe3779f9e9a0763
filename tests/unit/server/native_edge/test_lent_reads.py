"""Messages that a thread awaits in the place of who reads the stream: each comes once, in order, to one of the two."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import pytest

from tests.unit.server.native_edge.peers import answered, message_of_clips, running


async def lent_by(call: Any) -> tuple[asyncio.Future[Any], Any]:
    """Who reads a call, and its message for a thread."""
    reading = asyncio.ensure_future(call.read())
    await asyncio.sleep(0)
    return reading, None if reading.done() else call.lend()


def large() -> bytes:
    return message_of_clips(17_000)


async def test_each_message_comes_once_and_in_order() -> None:
    """Whoever awaits it, and whatever becomes of what a thread has."""
    rng = random.Random(1)
    sent = [
        [
            message_of_clips(seq=number),
            message_of_clips(seq=number) + message_of_clips(seq=number),
            b"\xff%d" % number,
        ][rng.choices((0, 1, 2), (8, 1, 1))[0]]
        for number in range(120)
    ]
    by_threads = 0

    async def takes(_: Any, call: Any) -> None:
        nonlocal by_threads
        came: list[bytes] = []
        reading: asyncio.Future[Any] | None = None
        while len(came) < len(sent):
            if reading is None:
                reading = asyncio.ensure_future(call.read())
                await asyncio.sleep(0)
            if not reading.done() and (lent := call.lend()) is not None:
                assert call.lend() is None  # once
                if rng.random() < 0.1:
                    lent.take_back()
                message = await asyncio.to_thread(lent.wait)
                if message is not None:
                    by_threads += 1
                    assert not lent.take_back()
                    await asyncio.sleep(rng.choice((0, 0.003)))  # the next one may be here
                    assert not reading.done()
                    came.append(bytes(message))
                    if rng.random() < 0.8:
                        lent.over(None)  # and the reader goes on
                        continue
                    lent.over(message)
                    assert await reading is message
                    reading = None
                    continue
            came.append(bytes(await reading))
            reading = None
        assert came == sent
        assert await (reading or call.read()) is None
        await call.write(b"all")

    async def sends() -> AsyncIterator[bytes]:
        for message in sent:
            await asyncio.sleep(rng.choice((0, 0.002)))
            yield message

    async with running(clips=takes) as it:
        call: Any = it.channel.stream_stream("/s/Clips")
        answers = await asyncio.gather(*(answered(call(sends(), timeout=60)) for _ in range(8)))
        assert answers == [[b"all"]] * 8
    assert by_threads > 50


async def test_what_is_not_one_small_plain_clip_comes_to_who_reads() -> None:
    others = [b"", b"\xff", large(), message_of_clips() + message_of_clips()]
    found: list[tuple[Any, bytes]] = []

    async def lends(_: Any, call: Any) -> None:
        for _ in others:
            reading, lent = await lent_by(call)
            await call.write(b"next")
            came = await asyncio.to_thread(lent.wait)
            assert lent.take_back()
            found.append((came, bytes(await reading)))
        reading, lent = await lent_by(call)
        await call.write(b"end")
        assert await asyncio.to_thread(lent.wait) is None  # the end
        assert await reading is None

    async with running(clips=lends) as it:
        call: Any = it.channel.stream_stream("/s/Clips")(timeout=60)
        for message in others:
            assert await call.read() == b"next"
            await call.write(message)
        assert await call.read() == b"end"
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    assert found == [(None, message) for message in others]


async def test_nothing_comes_while_a_thread_has_a_message() -> None:
    second = asyncio.Event()

    async def holds(_: Any, call: Any) -> None:
        reading, lent = await lent_by(call)
        await call.write(b"begun")
        first = await asyncio.to_thread(lent.wait)
        await call.write(b"first")
        await second.wait()
        await asyncio.sleep(0.1)
        assert not reading.done()
        assert call.lend() is None
        lent.over(None)
        assert bytes(await reading) == message_of_clips(seq=1)
        assert bytes(first) == message_of_clips(seq=0)
        assert await call.read() is None

    async with running(clips=holds) as it:
        call: Any = it.channel.stream_stream("/s/Clips")(timeout=60)
        assert await call.read() == b"begun"
        await call.write(message_of_clips(seq=0))
        assert await call.read() == b"first"
        await call.write(message_of_clips(seq=1))
        second.set()
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


async def test_a_thread_that_is_late_has_nothing_of_the_next_lending() -> None:
    async def lends(_: Any, call: Any) -> None:
        reading, lent = await lent_by(call)
        assert lent.take_back()
        again = call.lend()
        late, awaits = (asyncio.ensure_future(asyncio.to_thread(one.wait)) for one in (lent, again))
        assert await asyncio.wait_for(late, 20) is None
        await call.write(b"now")
        message = await asyncio.wait_for(awaits, 20)
        again.over(message)
        assert await reading is message

    async with running(clips=lends) as it:
        call: Any = it.channel.stream_stream("/s/Clips")(timeout=60)
        assert await call.read() == b"now"
        await call.write(message_of_clips())
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF


@pytest.mark.parametrize("has_message", [False, True])
async def test_a_caller_that_leaves_lets_the_thread_go(has_message: bool) -> None:
    awaiting, told = asyncio.Event(), []
    over = asyncio.Event()

    async def lends(_: Any, call: Any) -> None:
        reading, lent = await lent_by(call)
        waits = asyncio.ensure_future(asyncio.to_thread(lent.wait))
        awaiting.set()
        message = await asyncio.shield(waits) if has_message else None
        try:
            if has_message:
                await asyncio.sleep(3600)
            await reading
        finally:
            with suppress(
                asyncio.CancelledError
            ):  # behind the end of what is read, where that was told first
                await asyncio.shield(waits)
            told.append((await asyncio.shield(waits) is None, lent.take_back()))
            lent.over(message)
            if has_message:
                assert await reading is message
                assert await call.read() is None
            over.set()

    async def sends() -> AsyncIterator[bytes]:
        await awaiting.wait()
        if has_message:
            yield message_of_clips()
        await asyncio.sleep(3600)

    async with running(clips=lends) as it:
        clips: Any = it.channel.stream_stream("/s/Clips")
        call = clips(sends(), timeout=60)
        answers = asyncio.ensure_future(call.read())
        await asyncio.wait_for(awaiting.wait(), 20)
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answers
        await it.ends_all()
        await asyncio.wait_for(over.wait(), 20)  # before the server goes, and cancels it once more
    assert told == [(not has_message, not has_message)]
