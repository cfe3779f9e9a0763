"""The native edge: gRPC's C++ server, which takes calls on threads of its own and tells them to the event loop.

A unary call is one event with its whole request and one call back with its answer, where grpc.aio goes around the loop
for each of its parts: a third of the processor time.  The C++ part (the distribution ``memdb-edge``, `edge/`)
knows bytes and calls, nothing of memdb; its connections are handed to it (`memdb.server.acceptor`).

Lives on one event loop: the C++ side puts events into a queue whose file descriptor the loop watches, and what Python
says to a call is said by the loop's thread, but for a message of a stream that another thread sends ahead of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import suppress
from types import coroutine
from typing import Any, Final, Literal, NoReturn, TypeAlias

import memdb_edge

from memdb.eventlog import event_log
from memdb.server.acceptor import Acceptor
from memdb.server.edge import CallerLeft, Certificate, Handler, Kind, Metadata, Option
from memdb.wire.codes import StatusCode

_CALL, _READ, _WRITTEN, _CANCELLED, _DONE = range(5)
"""Kinds of events."""
SHELVED: Final = "/memdb.v1.GroundingService/Ground", "/memdb.v1.GroundingService/GroundMany"
MEMORY_MAX: Final = 512 * 1024 * 1024
CANCELLED_S: Final = 0.1
"""How long handlers may take to end calls that were cancelled as the server stops."""
UNANSWERED: Final = "grpc.keepalive_timeout_ms"
_ENDED: Final = object()
_NO_DEADLINE_NS: Final = 2**63 - 1

_Message: TypeAlias = "bytes | memdb_edge.PlainClips | None"
"""None after the last."""

log = event_log("memdb.server")


class _Aborted(BaseException):
    """A handler ended its call; no error of anybody's, and nothing that a handler may catch by mistake."""


class _Ahead:
    """What a thread sends before the loop hears of it, which `_Call.write` is told then."""

    __slots__ = ("_handle", "message", "taken")

    def __init__(self, handle: memdb_edge.Call, taken: asyncio.Future[bool]) -> None:
        """taken: done when gRPC has the message."""
        self._handle = handle
        self.taken = taken
        self.message: bytes | None = None
        """What was sent."""

    def __call__(self, message: bytes) -> None:
        """Send it; on any thread, once."""
        assert self.message is None, "one message is sent ahead"
        with suppress(RuntimeError):  # the call has ended, which who writes it is told
            self._handle.write(message)
            self.message = message

    def together(self, messages: Sequence[tuple[_Ahead, bytes]]) -> None:
        """See `memdb.server.edge.SendsAhead`."""
        # To wait for the interpreter's lock after each took a fifth of a crowd's commit.
        sent = memdb_edge.write_together([(ahead._handle, data) for ahead, data in messages])
        for (ahead, message), is_sent in zip(messages, sent, strict=True):
            if is_sent:
                ahead.message = message


class _Lent:
    """`memdb.server.edge.Lent`."""

    __slots__ = ("_call", "_handle", "_lending")

    def __init__(self, call: _Call, handle: memdb_edge.Call, lending: int) -> None:
        self._call = call
        self._handle = handle
        self._lending = lending

    def wait(self) -> memdb_edge.PlainClips | None:
        """On a thread."""
        came = self._handle.await_clip(self._lending)
        assert not isinstance(came, bytes), "only what was read comes to a thread"
        return came

    def take_back(self) -> bool:
        """On the loop, as what follows."""
        return self._handle.take_back()

    def over(self, given_back: memdb_edge.PlainClips | None) -> None:
        here: _Message | Literal[False] = False
        with suppress(RuntimeError):  # the call has ended, and so does who reads
            here = self._handle.over(given_back is not None)
        if given_back is not None:
            self._call.was_read(given_back)
        elif here is not False:
            self._call.was_read(here)


class _Call:
    """A call as its handler sees it: `memdb.server.edge.Context`."""

    __slots__ = (
        "_ahead",
        "_callbacks",
        "_clips",
        "_handle",
        "_reading",
        "_trailers",
        "_writing",
        "task",
    )

    def __init__(self, handle: memdb_edge.Call, clips: bool) -> None:
        """clips: whether its messages may be read as clips."""
        self._handle = handle
        self._clips = clips
        self._callbacks: list[Callable[[Any], None]] = []
        self._trailers: Metadata = ()
        self._reading: asyncio.Future[_Message] | None = None
        self._writing: asyncio.Future[bool] | None = None
        self._ahead: _Ahead | None = None
        self.task: asyncio.Task[None] | None = None

    def invocation_metadata(self) -> Metadata:
        return self._handle.metadata

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        self._trailers = metadata

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)

    def time_remaining(self) -> float | None:
        until_ns = self._handle.deadline_ns
        return None if until_ns == _NO_DEADLINE_NS else max(0.0, (until_ns - time.time_ns()) / 1e9)

    async def abort(
        self, code: StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        self.finish(code, details, tuple(trailing_metadata) or self._trailers)
        raise _Aborted

    async def read(self) -> _Message:
        if self._reading is None:
            ready = self._handle.read(self._clips)
            if ready is not False:
                return ready
            self._reading = asyncio.get_running_loop().create_future()
        reading = self._reading
        try:
            message = await reading  # not shielded: that is another turn of the loop
        except asyncio.CancelledError:
            if reading.cancelled() and self._reading is reading:
                # One that was given up goes on: what it brings is the next reader's.
                self._reading = asyncio.get_running_loop().create_future()
            raise
        if self._reading is reading:
            self._reading = None
        return message

    async def write(self, message: bytes) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.message is None:
            # It was not sent by a thread; if that found the call ended, it is found once more below.
            if self._writing is ahead.taken:
                self._writing = None
            ahead = None
        if ahead is not None:
            assert ahead.message is message, "what a thread has sent is written next"
            await self._taken(ahead.taken)
            return
        while self._writing is not None:  # of one that was given up: gRPC takes one at a time
            await asyncio.shield(self._writing)
        self._writing = asyncio.get_running_loop().create_future()
        self._handle.write(message)
        await self._taken(self._writing)

    def ahead(self) -> _Ahead | None:
        """See `memdb.server.edge.SendsFromThreads`."""
        if self._ahead is None and self._writing is None:
            self._writing = asyncio.get_running_loop().create_future()
            self._ahead = _Ahead(self._handle, self._writing)
        return self._ahead

    def lend(self) -> _Lent | None:
        """See `memdb.server.edge.LendsReads`."""
        if self._handle.finished:
            return None
        lending = self._handle.lend()
        return _Lent(self, self._handle, lending) if lending else None

    async def _taken(self, writing: asyncio.Future[bool]) -> None:
        """Return when gRPC took the message that is on its way; raises `CallerLeft`."""
        try:
            taken = await writing
        except asyncio.CancelledError:
            if writing.cancelled() and self._writing is writing:
                # It is given up, and still there: whoever writes next waits for it.
                self._writing = asyncio.get_running_loop().create_future()
            raise
        if not taken:
            raise CallerLeft

    def answer(self, message: bytes) -> None:
        """End a call with its one answer, unless it has ended."""
        if not self._handle.finished:
            self._handle.answer(message, self._trailers)

    def finish(self, code: StatusCode, details: str = "", trailers: Metadata | None = None) -> None:
        """End a call, unless it has ended."""
        if not self._handle.finished:
            given = self._trailers if trailers is None else trailers
            # Of a path that is no text, say.
            text = details.encode("utf-8", "backslashreplace").decode()
            self._handle.finish(code.value[0], text, given)

    def was_read(self, message: _Message) -> None:
        """The message that was asked for, or that there is none any more."""
        if self._reading is not None and self._reading.cancelled():
            # It was given up just now, and `read` has not gone on yet: the next reader's.
            self._reading = asyncio.get_running_loop().create_future()
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(message)

    def was_written(self, taken: bool) -> None:
        """gRPC took the message, or never will."""
        writing, self._writing = self._writing, None
        if writing is not None and not writing.done():
            writing.set_result(taken)

    def cancel(self) -> None:
        """Its caller has left."""
        if self.task is not None:
            # After its first step: one that was not begun would end without a word, and its call never.
            asyncio.get_running_loop().call_soon(self.task.cancel)

    def done(self) -> None:
        """gRPC has done with it."""
        for callback in self._callbacks:
            callback(self)


class NativeEdge:
    """gRPC's C++ server with the handlers."""

    name = "native"

    def __init__(
        self,
        handlers: Iterable[Handler],
        options: Sequence[Option],
        calls_max: int,
        shelf: memdb_edge.Shelf | None = None,
        memory_max: int = MEMORY_MAX,
    ) -> None:
        """memory_max: bytes that gRPC holds of what comes in: it looks at a message's size when it has all of it, so a
        peer fills them with one that is too large; shelf: what answers plain questions before Python hears of them."""
        self._handlers = tuple(handlers)
        methods = [(f"/{each.name}", each.kind is not Kind.BOTH_WAYS) for each in self._handlers]
        self._server = memdb_edge.Server(
            list(options), methods, calls_max, memory_max, shelf, SHELVED
        )
        self._acceptor = Acceptor(self._server.adopt, dict(options).get(UNANSWERED, 0))
        self._calls: dict[int, _Call] = {}

    def bind(self, address: str, certificate: Certificate | None) -> int:
        """See `memdb.server.edge.Edge`; calls that come before `start` wait."""
        pem = None if certificate is None else (certificate.key, certificate.chain)
        try:
            port = self._acceptor.bind(address)
        except OSError as error:
            raise RuntimeError(f"the address cannot be bound: {error.strerror}") from error
        if not self._server.start(pem):
            self._acceptor.close()
            raise RuntimeError("gRPC cannot serve with this certificate")
        return port

    async def start(self) -> None:
        """See `memdb.server.edge.Edge`."""
        asyncio.get_running_loop().add_reader(self._server.fd, self._take)
        self._acceptor.start()

    async def stop(self, grace_s: float) -> None:
        """See `memdb.server.edge.Edge`."""
        self._acceptor.stop()
        ending = asyncio.ensure_future(asyncio.to_thread(self._server.shutdown, grace_s))
        done, _ = await asyncio.wait((ending,), timeout=grace_s + CANCELLED_S)
        if not done:
            # Their callers have been cut off; what goes on for them, a commit say, is waited for by others.
            for call in tuple(self._calls.values()):
                call.finish(StatusCode.CANCELLED)
        await ending
        asyncio.get_running_loop().remove_reader(self._server.fd)
        while self._take():
            pass

    def _take(self) -> int:
        """What happened since the last time; how much of it was told."""
        try:
            events = self._server.take()
        except MemoryError:
            return 0  # it comes again: the descriptor is readable for as long as anything waits
        for event in events:
            try:
                self._happened(event)
            except Exception as error:
                # Of one call; the events of others wait behind it.
                self._forsake(event[1], error)
        return len(events)

    def _happened(self, event: tuple[Any, ...]) -> None:
        kind, key, said = event[0], event[1], event[2]
        if kind == _CALL:
            handler = self._handlers[event[3].method]
            call = self._calls[key] = _Call(event[3], handler.clips)
            self._begin(call, handler, said)
        elif kind == _DONE:
            self._calls.pop(key).done()
        elif kind == _READ:
            self._calls[key].was_read(said)
        elif kind == _WRITTEN:
            self._calls[key].was_written(said)
        else:
            self._calls[key].cancel()

    def _forsake(self, key: int, error: Exception) -> None:
        """End a call that nobody can go on with."""
        call = self._calls.get(key)
        with suppress(MemoryError):  # to end it, or to say so
            if call is not None:
                call.finish(StatusCode.INTERNAL, "internal error", ())
            log.error("an event of a call was not understood", exc_info=error)

    def _begin(self, call: _Call, handler: Handler, request: bytes | None) -> None:
        if request is None and handler.kind is not Kind.BOTH_WAYS:
            call.finish(StatusCode.INTERNAL, "the call has no request")
            return
        if handler.kind is not Kind.UNARY:
            # These are known by their task.
            running = self._answered(call, handler, request)
            call.task = asyncio.get_running_loop().create_task(running)
            return
        # Most are answered in one go, without a task.
        work = self._answered(call, handler, request)
        try:
            awaited = work.send(None)
        except StopIteration:
            return
        call.task = asyncio.get_running_loop().create_task(_rest(work, awaited))

    async def _answered(self, call: _Call, handler: Handler, request: Any) -> None:
        try:
            answer = await handler.behaviour(request, call)
            if handler.kind is Kind.UNARY:
                assert answer is not None, "a call with one answer has one"
                call.answer(answer)
            else:
                call.finish(StatusCode.OK)
        except _Aborted:
            return
        except asyncio.CancelledError:
            call.finish(StatusCode.CANCELLED)
        except (
            Exception
        ) as error:  # handlers end calls by `abort`: or its caller would wait for ever
            self._failed(call, handler, error)

    def _failed(self, call: _Call, handler: Handler, error: Exception) -> None:
        fields = {"method": handler.name}
        log.error("a call could not be ended", exc_info=error, extra={"fields": fields})
        call.finish(StatusCode.INTERNAL, "internal error", ())


@coroutine
def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that has begun, and waits for ``awaited``, for a task."""
    while True:
        try:
            value = yield awaited
        except BaseException as error:  # a cancellation too: the coroutine's to catch
            awaited = _stepped(work.throw, error)
        else:
            awaited = _stepped(work.send, value)
        if awaited is _ENDED:
            return


def _stepped(step: Callable[[Any], Any], value: Any) -> Any:
    """What a coroutine waits for next, `_ENDED` for nothing any more."""
    try:
        return step(value)
    except StopIteration:
        return _ENDED
