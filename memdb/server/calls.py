"""The wrapper around every call: request id, parsing, the executor hop, errors, logs.

Requests arrive as bytes and are parsed here, so that a bad message is `InvalidArgument`
(``BAD_MESSAGE``) and not gRPC's own ``UNKNOWN``.  No exception leaves as text: errors of memdb go
by the table of `memdb.wire.status`; anything else is logged with its traceback and answered
``INTERNAL`` with the request id alone.

How a service method is written decides how it runs::

    def get_clip(self, request) -> response                  in the read pool, its user open
    def ground_at_once(self, request) -> response | None     on the loop; None: `ground`, in its pool
    @commits def write_clips(self, request) -> response      in the write pool, its user open
    @whole def verify(self, request) -> response             in the pool of what goes through everything
    @closed_user ...                                         whether or not its user is open
    def list_clips(self, request) -> Iterator[response]      in the read pool, message by message
    async def check(self, request) -> response               on the loop (must not block)
    async def watch_user(self, request, send) -> None        on the loop, a stream of answers
    async def ingest_clips(self, receive, send) -> None      on the loop, streams both ways
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import Any, Final, NoReturn, TypeVar

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from memdb.deadline import Deadline
from memdb.errors import (
    DataLoss,
    Internal,
    InvalidArgument,
    MemdbError,
    ResourceExhausted,
    Unavailable,
)
from memdb.eventlog import event_log
from memdb.server.budget import CALL_BYTES_FREE
from memdb.server.executors import Pool
from memdb.server.loop_turns import LoopTurns
from memdb.server.open_calls import HEALTH_CALLS_MAX, UNNAMED, OpenCalls
from memdb.server.resources import Resources
from memdb.wire.field_count import check_field_count
from memdb.wire.fields import tag_of
from memdb.wire.lists import SMALL_BYTES, check_lists
from memdb.wire.status import REQUEST_ID_KEY, code_of, error_to_trailers
from memdb.wire.unknown_fields import check_known

HEALTH: Final = "grpc.health.v1.Health"
REQUEST_ID_CHARS_MAX: Final = 64
AT_ONCE_BYTES_MAX: Final = 20 << 10
"""Of a request that is tried on the loop: a feature of 4,000 dimensions."""
LOOP_TURNS_MAX: Final = 256
"""Calls that wait to be answered at once: a tenth of a second or some."""
ID_CHARS_MAX: Final = 63
ANSWERS: Final = frozenset({"BEHIND", "MESSAGE_TOO_LARGE", "SHUTTING_DOWN"})
"""Reasons that say what is wrong with a question asked now: a server in good health gives them, as often as
it is asked."""
_TAG_NUMBER_MAX: Final = 15
"""Of fields whose tag is one byte."""
_REQUEST_ID_CHARS: Final = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
)

Context = grpc.aio.ServicerContext[bytes, bytes]
Receive = Callable[[], Awaitable[bytes | None]]
"""The next message of the client as bytes, None after the last."""
Send = Callable[[bytes], Awaitable[None]]
"""Sends one message; returns when gRPC took it, which is where a slow reader is felt."""

_M = TypeVar("_M", bound=Message)
_F = TypeVar("_F", bound=Callable[..., Any])

log = event_log("memdb.server")


def commits(method: _F) -> _F:
    """Marks a service method that writes: it runs in the write pool."""
    method.__dict__["commits"] = True
    return method


def whole(method: _F) -> _F:
    """Marks a service method that goes through everything there is: it has a pool of its own."""
    method.__dict__["whole"] = True
    return method


def closed_user(method: _F) -> _F:
    """Marks a service method that need not find its user open: it is not opened beforehand."""
    method.__dict__["closed_user"] = True
    return method


def parse(kind: type[_M], data: bytes) -> _M:
    """The message of the bytes; raises `InvalidArgument` (``BAD_MESSAGE``, ``TOO_LARGE``),
    `FailedPrecondition` (``UNKNOWN_FIELD``).
    """
    check_lists(kind, data)
    check_field_count(kind, data)
    try:
        message = kind.FromString(data)
    except DecodeError as error:
        raise InvalidArgument(
            f"not a {kind.DESCRIPTOR.full_name} message", reason="BAD_MESSAGE", field="message"
        ) from error
    check_known(message)
    return message


class _Cold:
    """A request that was parsed, and whose user is not open."""

    __slots__ = ("request", "user")

    def __init__(self, request: Message, user: str) -> None:
        self.request = request
        self.user = user


class Calls:
    """Makes gRPC handlers of service objects."""

    def __init__(self, resources: Resources) -> None:
        self._pools = resources.pools
        self._openings = resources.openings
        self._budget = resources.budget
        self._open_calls = resources.open_calls
        self._drain = resources.drain
        self._health_calls = OpenCalls(HEALTH_CALLS_MAX)
        self._message_bytes_max = resources.message_bytes_max
        self._loop_turns = LoopTurns()

    def handlers(self, service: ServiceDescriptor, implementation: object) -> dict[str, Any]:
        """A handler for every method of a service, by method name."""
        return {
            method.name: self._handler(
                method,
                getattr(implementation, _snake(method.name)),
                getattr(implementation, f"{_snake(method.name)}_at_once", None),
            )
            for method in service.methods
        }

    def _handler(
        self,
        method: MethodDescriptor,
        function: Callable[..., Any],
        at_once: Callable[[Any], Message | None] | None,
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        name = f"{method.containing_service.full_name}/{method.name}"
        kind: type[Message] = GetMessageClass(method.input_type)
        pool = self._pools.read
        if hasattr(function, "whole"):
            pool = self._pools.whole
        elif hasattr(function, "commits"):
            pool = self._pools.write
        opens = "user" in method.input_type.fields_by_name and not hasattr(function, "closed_user")
        tag = _owner_tag(method)
        open_calls = self._open_calls
        if method.containing_service.full_name == HEALTH:
            open_calls = self._health_calls
        behaviour: Any
        if method.client_streaming:
            behaviour = self._both_ways(name, function)
            return grpc.stream_stream_rpc_method_handler(behaviour)
        if method.server_streaming:
            if iscoroutinefunction(function):
                behaviour = self._live_stream(name, kind, function, opens, tag, open_calls)
            else:
                behaviour = self._paged_stream(name, kind, function, pool, opens, tag)
            return grpc.unary_stream_rpc_method_handler(behaviour)
        if iscoroutinefunction(function):
            behaviour = self._light(name, kind, function, open_calls)
        else:
            behaviour = self._unary(name, kind, function, at_once, pool, opens, tag)
        return grpc.unary_unary_rpc_method_handler(behaviour)

    def _unary(
        self,
        name: str,
        kind: type[Message],
        function: Callable[[Any], Message],
        at_once: Callable[[Any], Message | None] | None,
        pool: Pool,
        opens: bool,
        owner_tag: int | None,
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        reads = pool is self._pools.read
        is_long = pool is self._pools.whole

        def answer(request: Message) -> bytes:
            return self._packed(function(request))

        def work(data: bytes, owner: str, parsed: Message | None) -> bytes | _Cold:
            request: Any = parsed
            if request is None:
                request = parse(kind, data)
                _check_owner(request, owner)
            if opens and not self._openings.is_open(request.user):
                return _Cold(request, request.user)
            return answer(request)

        def try_at_once(
            answer_at_once: Callable[[Any], Message | None], data: bytes, owner: str
        ) -> tuple[Message, bytes | None]:
            request = parse(kind, data)
            _check_owner(request, owner)
            message = answer_at_once(request)
            return request, None if message is None else self._packed(message)

        async def behaviour(data: bytes, context: Context) -> bytes:
            request_id = begin(context)
            done: bytes | _Cold | None = None
            parsed: Message | None = None
            # A commit that has begun is ended, whoever waits for it.
            deadline = Deadline(context.time_remaining() if reads else None)
            owner = _owner(data, owner_tag)
            turns = pool.of(owner)
            try:
                _count(context, self._open_calls.call(owner or UNNAMED))
                self._drain.check()  # who is told so knows that nothing was done
                if is_long:
                    # It goes on for who has left, but does not keep the server from stopping.
                    self._drain.give_up_in_the_end(deadline)
                with self._budget.call(len(data), owner or UNNAMED):
                    if at_once is not None and self._may_take_turn(data):
                        await self._loop_turns.take(owner)
                        parsed, done = deadline.within(try_at_once, at_once, data, owner)
                    if done is None:
                        done = await turns.run(deadline.within, work, data, owner, parsed)
                    if isinstance(done, _Cold):
                        # It waits without a thread, and then takes one again.
                        await self._openings.wait(done.user)
                        done = await turns.run(deadline.within, answer, done.request)
                    self._hold(context, len(done), owner or UNNAMED)
                    return done
            except asyncio.CancelledError:
                if reads:
                    deadline.leave()
                raise
            except Exception as error:
                data, done, parsed = b"", None, None  # see `end`
                await end(context, name, request_id, error)

        return behaviour

    def _light(
        self,
        name: str,
        kind: type[Message],
        function: Callable[[Any], Awaitable[Message]],
        open_calls: OpenCalls,
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def behaviour(data: bytes, context: Context) -> bytes:
            request_id = begin(context)
            try:
                _count(context, open_calls.call(""))
                with self._budget.call(len(data)):
                    request = await self._parsed(kind, data, opens=False)
                    return self._packed(await function(request))
            except Exception as error:
                data = b""  # see `end`
                await end(context, name, request_id, error)

        return behaviour

    def _paged_stream(
        self,
        name: str,
        kind: type[Message],
        function: Callable[[Any], Iterator[Message]],
        pool: Pool,
        opens: bool,
        owner_tag: int | None,
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        def pages(request: Message) -> Iterator[bytes]:
            for message in function(request):
                packed = self._packed(message)
                del message  # or both were held until it is sent
                yield packed

        async def behaviour(data: bytes, context: Context) -> None:
            request_id = begin(context)
            deadline = Deadline(context.time_remaining())
            told = _owner(data, owner_tag)
            owner = told or UNNAMED
            try:
                _count(context, self._open_calls.call(owner))
                with self._budget.call(len(data), owner):
                    # Nothing runs before the first step; every step runs on some thread of the
                    # pool.
                    request: Any = await self._parsed(kind, data, opens=opens)
                    _check_owner(request, told)
                    owner = request.user if opens else UNNAMED
                    turns = pool.of(owner)
                    remaining = pages(request)
                    del request

                    def step() -> bytes | None:
                        return next(remaining, None)

                    page = await turns.run(deadline.within, step)
                    while page is not None:
                        await self._write(context, page, owner)
                        # An answer that has begun is not refused any more.
                        page = await turns.run_in_turn(deadline.within, step)
            except asyncio.CancelledError:
                deadline.leave()
                raise
            except Exception as error:
                data = b""  # see `end`
                await end(context, name, request_id, error)

        return behaviour

    def _live_stream(
        self,
        name: str,
        kind: type[Message],
        function: Callable[[Any, Send], Awaitable[None]],
        opens: bool,
        owner_tag: int | None,
        open_calls: OpenCalls,
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def behaviour(data: bytes, context: Context) -> None:
            request_id = begin(context)
            told = _owner(data, owner_tag)
            # Of health alone there are few, and nobody's.
            owner = told or (UNNAMED if opens else "")
            try:
                _count(context, open_calls.call(owner))
                with self._budget.call(len(data), owner):
                    request: Any = await self._parsed(kind, data, opens=opens)
                    _check_owner(request, told)
                    owner = request.user if opens else UNNAMED
                    await function(request, self._sender(context, lambda: owner))
            except Exception as error:
                data = b""  # see `end`
                await end(context, name, request_id, error)

        return behaviour

    def _may_take_turn(self, data: bytes) -> bool:
        """Whether a call may be tried on the loop; where too many wait, the pool says what there is to say."""
        return len(data) <= AT_ONCE_BYTES_MAX and self._loop_turns.waiting < LOOP_TURNS_MAX

    async def _parsed(self, kind: type[Message], data: bytes, *, opens: bool) -> Message:
        """The request; with ``opens``, once its user is open."""
        # On the loop where it is small: whatever it holds, that takes a fraction of a millisecond.
        small = len(data) <= SMALL_BYTES
        request: Any = parse(kind, data) if small else await self._pools.read.run(parse, kind, data)
        if opens:
            await self._openings.wait(request.user)
        parsed: Message = request
        return parsed

    def _both_ways(
        self, name: str, function: Callable[[Receive, Send], Awaitable[None]]
    ) -> Callable[[Any, Context], Awaitable[None]]:
        async def behaviour(_: Any, context: Context) -> None:
            request_id = begin(context)

            async def receive() -> bytes | None:
                data: object = await context.read()
                return data if isinstance(data, bytes) else None  # else grpc.aio.EOF

            try:
                _count(context, self._open_calls.stream())
                await function(receive, self._sender(context, self._open_calls.stream_owner))
            except Exception as error:
                await end(context, name, request_id, error)

        return behaviour

    def _sender(self, context: Context, owner: Callable[[], str]) -> Send:
        """owner: whose the stream is; of one both ways it is told by its first message."""

        async def send(data: bytes) -> None:
            self._check_size(len(data))
            await self._write(context, data, owner())

        return send

    def _hold(self, context: Context, size: int, owner: str) -> None:
        """Count the answer of a call until gRPC has sent it."""
        if size > CALL_BYTES_FREE:
            self._budget.hold_answer(size, owner=owner)
            self._release_at_end(context, size, owner)

    def _release_at_end(self, context: Context, size: int, owner: str) -> None:
        def sent(_context: Any) -> None:
            self._budget.release_answer(size, owner)

        # The stubs take the callback for a coroutine's.
        context.add_done_callback(sent)  # type: ignore[arg-type]

    async def _write(self, context: Context, data: bytes, owner: str) -> None:
        """Send one message of a stream, counted until gRPC has taken it."""
        size = len(data)
        self._budget.hold_answer(size, Unavailable, owner)
        try:
            await context.write(data)
        except asyncio.CancelledError:
            # gRPC holds it until the call has ended, which it may not have yet: see `StreamBytes.cut_off`.
            self._release_at_end(context, size, owner)
            raise
        except BaseException:
            self._budget.release_answer(size, owner)
            raise
        self._budget.release_answer(size, owner)

    def _packed(self, message: Message) -> bytes:
        # Maps in one order, or an answer would not be the same bytes in another process.
        data = message.SerializeToString(deterministic=True)
        self._check_size(len(data))
        return data

    def _check_size(self, size: int) -> None:
        if size > self._message_bytes_max:
            raise ResourceExhausted(
                f"the answer has more than {self._message_bytes_max} bytes; ask for less at once",
                reason="MESSAGE_TOO_LARGE",
                field="message",
                value=size,
            )


def _count(context: Context, counted: AbstractContextManager[None]) -> None:
    """Enter ``counted`` until gRPC has done with the call, which is not when it is answered: an answer that nobody
    reads stays, and the call with it.
    """
    counted.__enter__()

    def ended(_context: Any) -> None:
        counted.__exit__(None, None, None)

    # The stubs take the callback for a coroutine's.
    context.add_done_callback(ended)  # type: ignore[arg-type]


def begin(context: Context) -> str:
    """The call's request id: the caller's if it is sane, else a new one; it is answered either
    way."""
    request_id = ""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            request_id = value
    if not 0 < len(request_id) <= REQUEST_ID_CHARS_MAX or not _REQUEST_ID_CHARS.issuperset(
        request_id
    ):
        request_id = secrets.token_hex(8)
    context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
    return request_id


async def end(context: Context, name: str, request_id: str, error: Exception) -> NoReturn:
    """End a call with an error.  Cancellation never comes here: it is no `Exception`.

    grpc.aio keeps what it raises here, with its traceback, where the traceback leads: a cycle, with all
    that the frames of the call hold, until the collector comes by, which is seldom.  So nothing large
    may be left in them: whoever calls has let go of it, and what led here is forgotten once it is logged.
    """
    if isinstance(error, grpc.aio.BaseError):
        # Of sending to a caller who has left; nobody is there to be told, and nothing is wrong.
        log.debug("the caller left", extra={"fields": {"method": name, "request_id": request_id}})
        raise asyncio.CancelledError from error
    if not isinstance(error, MemdbError):
        log.error(
            "unexpected error",
            exc_info=error,
            extra={"fields": {"method": name, "request_id": request_id}},
        )
        error = Internal("internal error; the server's log has it under the request id")
    else:
        log.log(
            _level(error),
            "call failed",
            extra={
                "fields": {
                    "method": name,
                    "request_id": request_id,
                    "code": code_of(error).name,
                    "reason": error.reason,
                    "field": error.field,
                    "message": error.message,
                }
            },
        )
    _forget_frames(error)
    await context.abort(code_of(error), error.message[:512], error_to_trailers(error, request_id))


def _forget_frames(error: BaseException) -> None:
    """Let go of what an error and those that led to it would keep alive."""
    left: BaseException | None = error
    while left is not None:
        left.__traceback__ = None
        left = left.__cause__ or left.__context__


def _level(error: MemdbError) -> int:
    """What the caller did wrong is the caller's to know; what is wrong with us is ours."""
    if isinstance(error, (DataLoss, Internal)):
        return logging.ERROR
    if error.reason in ANSWERS:
        return logging.DEBUG
    if isinstance(error, (ResourceExhausted, Unavailable)):
        return logging.WARNING
    return logging.DEBUG


def _owner_tag(method: MethodDescriptor) -> int | None:
    """What begins the user's id in a request, None where there is none."""
    field = method.input_type.fields_by_name.get("user")
    return None if field is None or field.number > _TAG_NUMBER_MAX else tag_of(field.number)


def _owner(data: bytes, tag: int | None) -> str:
    """Whose call it is, by a look at the first field: every library that we know writes the fields in order.
    Who does not has its turns with all that is nobody's.
    """
    if tag is None or len(data) < 2 or data[0] != tag or data[1] > ID_CHARS_MAX:
        return ""
    return data[2 : 2 + data[1]].decode("latin-1")


def _check_owner(request: Any, owner: str) -> None:
    """Refuse a call of another user than its first field says; raises `InvalidArgument` (``BAD_MESSAGE``)."""
    if owner and request.user.encode() != owner.encode("latin-1"):
        # Or who names a user for each call, and then the one it asks, had a turn and a share for each.
        raise InvalidArgument("the message names several users", reason="BAD_MESSAGE", field="user")


def _snake(name: str) -> str:
    """``WriteClips`` as ``write_clips``."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")


async def settle(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended, whatever it ended with."""
    task.cancel()
    await asyncio.wait([task])
