"""Calls whose answers, or requests too, are streams."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from memdb.deadline import Deadline
from memdb.server.answers import Answers
from memdb.server.edge import Context
from memdb.server.lifecycle import begin, count, end
from memdb.server.methods import Method
from memdb.server.open_calls import UNNAMED, OpenCalls
from memdb.server.requests import Requests, check_owner, owner_of
from memdb.server.resources import Resources

Behaviour = Callable[[Any, Context], Awaitable[None]]


class StreamCalls:
    """Makes what gRPC calls of methods that answer with a stream."""

    def __init__(self, resources: Resources, requests: Requests, answers: Answers) -> None:
        self._budget = resources.budget
        self._open_calls = resources.open_calls
        self._drain = resources.drain
        self._requests = requests
        self._answers = answers

    def in_pool(self, method: Method) -> Behaviour:
        """Of one whose answer is made on threads, message by message."""

        def pages(request: Message) -> Iterator[bytes]:
            for message in method.function(request):
                packed = self._answers.packed(message)
                del message  # or both were held until it is sent
                yield packed

        async def behaviour(data: bytes, context: Context) -> None:
            request_id = begin(context)
            deadline = Deadline(context.time_remaining())
            told = owner_of(data, method.owner_tag)
            owner = told or UNNAMED
            try:
                count(context, self._open_calls.call(owner))
                self._drain.check()
                with self._budget.call(len(data), owner):
                    # Nothing runs before the first step; every step runs on some thread of the
                    # pool.
                    request: Any = await self._requests.parsed(
                        method.kind, data, opens=method.opens
                    )
                    check_owner(request, told)
                    owner = request.user if method.opens else UNNAMED
                    turns = method.pool.of(owner)
                    remaining = pages(request)
                    del request

                    def step() -> bytes | None:
                        return next(remaining, None)

                    page = await turns.run(deadline.within, step)
                    while page is not None:
                        await self._answers.write(context, page, owner)
                        # An answer that has begun is not refused any more.
                        page = await turns.run_in_turn(deadline.within, step)
            except asyncio.CancelledError:
                deadline.leave()
                raise
            except Exception as error:
                data = b""  # see `end`
                await end(context, method.name, request_id, error, owner)

        return behaviour

    def on_loop(self, method: Method, open_calls: OpenCalls) -> Behaviour:
        """Of one that is a coroutine, and may go on for as long as its caller likes."""

        async def behaviour(data: bytes, context: Context) -> None:
            request_id = begin(context)
            told = owner_of(data, method.owner_tag)
            # Of health alone there are few, and nobody's.
            owner = told or (UNNAMED if method.opens else "")
            try:
                count(context, open_calls.call(owner))
                with self._budget.call(len(data), owner):
                    request: Any = await self._requests.parsed(
                        method.kind, data, opens=method.opens
                    )
                    check_owner(request, told)
                    owner = request.user if method.opens else UNNAMED
                    await method.function(request, self._answers.sender(context, lambda: owner))
            except Exception as error:
                data = b""  # see `end`
                await end(context, method.name, request_id, error, owner)

        return behaviour

    def both_ways(self, method: Method) -> Behaviour:
        """Of one whose requests are a stream as well."""

        async def behaviour(_: Any, context: Context) -> None:
            request_id = begin(context)

            try:
                count(context, self._open_calls.stream())
                await method.function(
                    context.read, self._answers.sender(context, self._open_calls.stream_owner)
                )
            except Exception as error:
                owner = self._open_calls.stream_owner()
                await end(context, method.name, request_id, error, owner)

        return behaviour
