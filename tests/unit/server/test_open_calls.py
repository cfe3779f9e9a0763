"""Calls that are open: each user has a share, a stream says later whose it is, all of them end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from memdb.errors import ResourceExhausted, Unavailable
from memdb.server.open_calls import UNNAMED, OpenCalls


def test_a_user_has_three_quarters() -> None:
    calls = OpenCalls(8)
    with ExitStack() as held:
        for _ in range(6):
            held.enter_context(calls.call("a"))
        with pytest.raises(ResourceExhausted) as refused, calls.call("a"):
            pass
        assert (refused.value.reason, refused.value.field) == ("OVERLOADED", "server.calls_max")
        with calls.call("b"):
            pass
    assert calls.open == 0
    with calls.call("a"):
        pass


async def test_a_stream_belongs_to_who_it_names() -> None:
    calls = OpenCalls(4)  # of which one user has three
    named, over = asyncio.Event(), asyncio.Event()

    async def stream(owner: str) -> None:
        with calls.stream():
            assert calls.stream_owner() == UNNAMED
            calls.name(owner)
            assert calls.stream_owner() == owner
            named.set()
            await over.wait()

    with calls.call("a"), calls.call("a"):
        task = asyncio.create_task(stream("a"))
        await named.wait()
        assert calls.open == 3
        with pytest.raises(Unavailable) as refused:
            await stream("a")
        assert refused.value.reason == "OVERLOADED"
        over.set()
        await task
        await stream("b")
    assert calls.open == 0


def test_who_is_no_stream_names_nobody() -> None:
    calls = OpenCalls(1)

    async def names() -> None:
        calls.name("a")

    asyncio.run(names())
    assert calls.open == 0
