"""Calls with one request and one answer.

A request that takes long to parse, and the work, go to a thread; what `memdb.engine.at_once` can tell from
memory is answered on the loop, in a turn of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from memdb.deadline import Deadline
from memdb.server.answers import Answers
from memdb.server.edge import Context
from memdb.server.lifecycle import begin, count, end
from memdb.server.methods import Method
from memdb.server.open_calls import UNNAMED, OpenCalls
from memdb.server.requests import Requests, owner_of
from memdb.server.resources import Resources

Behaviour = Callable[[bytes, Context], Awaitable[bytes]]


class _Cold:
    """A request that was parsed, and whose user is not open."""

    __slots__ = ("request", "user")

    def __init__(self, request: Any, user: str) -> None:
        self.request = request
        self.user = user


class UnaryCalls:
    """Makes what gRPC calls of methods with one answer."""

    def __init__(self, resources: Resources, requests: Requests, answers: Answers) -> None:
        self._pools = resources.pools
        self._openings = resources.openings
        self._budget = resources.budget
        self._open_calls = resources.open_calls
        self._drain = resources.drain
        self._loop_turns = resources.loop_turns
        self._requests = requests
        self._answers = answers

    def in_pool(self, method: Method) -> Behaviour:
        """Of one whose work is done on a thread."""
        reads = method.pool is self._pools.read
        is_long = method.pool is self._pools.whole

        def answer(request: Any) -> bytes:
            return self._answers.packed(method.function(request))

        def work(data: bytes, owner: str, request: Any) -> bytes | _Cold:
            if request is None:
                request = method.read(data, owner)
            if method.opens and not self._openings.is_open(request.user, early=method.early):
                return _Cold(request, request.user)
            return answer(request)

        def try_at_once(
            answer_at_once: Callable[[Any], Message | bytes | None], data: bytes, owner: str
        ) -> tuple[Any, bytes | None]:
            request = method.read(data, owner)
            message = answer_at_once(request)
            return request, None if message is None else self._answers.packed(message)

        async def on_threads(deadline: Deadline, data: bytes, owner: str, request: Any) -> bytes:
            turns = method.pool.of(owner)
            done = await turns.run(deadline.within, work, data, owner, request)
            if isinstance(done, _Cold):
                # It waits without a thread, and then takes one again.
                await self._openings.wait(done.user, early=method.early)
                done = await turns.run(deadline.within, answer, done.request)
            return done

        async def behaviour(data: bytes, context: Context) -> bytes:
            request_id = begin(context)
            done: bytes | None = None
            parsed: Any = None
            # A commit that has begun is ended, whoever waits for it.
            deadline = Deadline(context.time_remaining() if reads else None)
            owner = owner_of(data, method.owner_tag)
            holder = owner or UNNAMED
            try:
                count(context, self._open_calls.call(holder))
                self._drain.check()  # who is told so knows that nothing was done
                if method.at_once is not None and self._loop_turns.may_take(len(data)):
                    # So small a request is not counted by the budget.
                    if not self._loop_turns.take_free():
                        await self._loop_turns.take(owner)
                    parsed, done = deadline.within(try_at_once, method.at_once, data, owner)
                if done is None:
                    if is_long:
                        # It goes on for who has left, but does not keep the server from stopping.
                        self._drain.give_up_in_the_end(deadline)
                    with self._budget.call(len(data), holder):
                        done = await on_threads(deadline, data, owner, parsed)
                self._answers.hold(context, len(done), holder)
                return done
            except asyncio.CancelledError:
                if reads:
                    deadline.leave()
                raise
            except Exception as error:
                data, done, parsed = b"", None, None  # see `end`
                await end(context, method.name, request_id, error, owner)

        return behaviour

    def on_loop(self, method: Method, open_calls: OpenCalls) -> Behaviour:
        """Of one that is a coroutine."""

        async def behaviour(data: bytes, context: Context) -> bytes:
            request_id = begin(context)
            try:
                count(context, open_calls.call(""))
                with self._budget.call(len(data)):
                    request = await self._requests.parsed(method.kind, data, opens=False)
                    return self._answers.packed(await method.function(request))
            except Exception as error:
                data = b""  # see `end`
                await end(context, method.name, request_id, error)

        return behaviour
