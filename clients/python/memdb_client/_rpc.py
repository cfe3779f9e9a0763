# Generated from _async_rpc.py by clients/python/tools/unasync.py: do not edit.
# ruff: noqa: C416, RUF100, UP028 - written as asyncio needs it
"""The connections to a server, and the one place where calls are made, tried again and turned into
our errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from memdb.errors import MemdbError, Unavailable
from memdb.wire.status import error_from_call
from memdb_client import _compat as compat
from memdb_client._connection import STREAMS_MAX, Connection
from memdb_client._options import (
    NOT_CONNECTED,
    NOT_REACHED,
    STATUS_LOST,
    UNDONE,
    UNDONE_PAUSE_S,
    Repeat,
    Target,
    Tries,
    Try,
    may_repeat,
    pauses_s,
)

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


class Rpc:
    """The stubs of every service, and as many connections as the streams that are open need."""

    def __init__(self, target: Target) -> None:
        self.metadata = target.metadata
        self.timeout_s = target.timeout_s
        self._home = compat.Home()
        self._target = target
        self._is_closed = False
        self._is_secure = target.credentials is not None
        first = Connection(target)
        self._connections = [first]
        # Of these, and of what they count.  Taken again by one who has it where a stream that was left is collected
        # meanwhile, or a signal closes the client.
        self._lock = threading.RLock()
        self._use(first)

    def _use(self, connection: Connection) -> None:
        """Calls that end go over this connection."""
        self.clips = connection.clips
        self.databases = connection.databases
        self.ground = connection.ground
        self.groundings = connection.groundings
        self.memories = connection.memories
        self.standing = connection.standing
        self.users = connection.users

    def leave_connections(self) -> None:
        """Have later calls and streams go over a new one: whoever was interrupted in a call may have left a lock of
        gRPC's taken, for which what brings the answers to streams would wait for ever.

        Calls and streams of other threads that are open go on where no lock was left; where one was they wait for it,
        whatever their deadline, which nothing outside gRPC can end.  So nothing is closed here, which could wait for
        ever as well: gRPC closes what nobody has any more.
        """
        with self._lock:
            if self._is_closed:
                return
            fresh = Connection(self._target)
            for connection in self._connections:
                connection.is_left = True
            self._connections = [one for one in self._connections if one.streams]
            self._connections.append(fresh)
            self._use(fresh)

    def call(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Answer],
        request: _Request,
        *,
        repeat: Repeat = Repeat.ALWAYS,
        timeout_s: float | None = None,
    ) -> _Answer:
        """The answer to a unary call, tried again as `_options` says until its deadline; but where no server is
        reached no longer than other calls try, be its own deadline an hour.
        """
        left_s = timeout_s or self.timeout_s
        reached_s = time.monotonic()
        deadline_s = reached_s + left_s
        pauses: Iterator[float] | None = None
        tries = Tries()
        while True:
            self.check_open()
            try:
                return method(request, timeout=left_s, metadata=self.metadata)
            except grpc.RpcError as error:
                if not (error.details() or "").startswith(NOT_REACHED):
                    reached_s = time.monotonic()
                until_s = min(deadline_s, reached_s + self.timeout_s)
                pauses = pauses or pauses_s()
                self.pause_or_raise(error, repeat, until_s, next(pauses), tries)
                left_s = deadline_s - time.monotonic()
            except compat.CANCELLED:
                self.raise_if_closed()
                raise
            except compat.INTERRUPTED:
                self.leave_connections()
                raise

    def collect(
        self,
        method: grpc.UnaryStreamMultiCallable[_Request, _Answer],
        request: _Request,
    ) -> list[_Answer]:
        """Every message of an answer that ends by itself; from the beginning again where a call
        may be repeated.
        """
        left_s = self.timeout_s
        deadline_s = time.monotonic() + left_s
        pauses: Iterator[float] | None = None
        tries = Tries()
        while True:
            self.check_open()
            try:
                call = method(request, timeout=left_s, metadata=self.metadata)
                try:
                    return [answer for answer in call]
                finally:
                    # An abandoned call of grpcio is never collected.
                    call.cancel()
            except grpc.RpcError as error:
                pauses = pauses or pauses_s()
                self.pause_or_raise(error, Repeat.ALWAYS, deadline_s, next(pauses), tries)
                left_s = deadline_s - time.monotonic()
            except compat.CANCELLED:
                self.raise_if_closed()
                raise
            except compat.INTERRUPTED:
                self.leave_connections()
                raise

    def stream(
        self,
        method: Callable[[Connection], grpc.UnaryStreamMultiCallable[_Request, _Answer]],
        request: _Request,
    ) -> compat.Answers[_Answer]:
        """The messages of an answer as they come, without a deadline; never tried again here."""
        with self.line() as connection, self._our_errors():
            call = method(connection)(request, metadata=self.metadata)
            try:
                for answer in call:
                    yield answer
            finally:
                call.cancel()

    def converse(
        self,
        method: Callable[[Connection], grpc.StreamStreamMultiCallable[_Request, _Answer]],
        requests: compat.Answers[_Request],
    ) -> compat.Answers[_Answer]:
        """The answers to requests as they come, without a deadline; never tried again here."""
        with self.line() as connection, self._our_errors():
            call = method(connection)(requests, metadata=self.metadata)
            try:
                for answer in call:
                    yield answer
            finally:
                call.cancel()

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        """Within, what a call that is not tried again raises is ours."""
        try:
            yield
        except grpc.RpcError as error:
            raise self.failure(error) from None
        except compat.CANCELLED:
            self.raise_if_closed()
            raise
        except GeneratorExit:
            raise  # whoever asked has enough: nothing was interrupted
        except compat.INTERRUPTED:
            self.leave_connections()
            raise

    @contextmanager
    def line(self) -> Iterator[Connection]:
        """The connection for one more stream, within which it is open; raises as `check_open`."""
        with self._lock:
            self.check_open()
            for connection in self._connections:
                if connection.streams < STREAMS_MAX and not connection.is_left:
                    break
            else:
                connection = Connection(self._target)
                self._connections.append(connection)
            connection.streams += 1
        try:
            yield connection
        finally:
            with self._lock:
                connection.streams -= 1
                if connection.is_left and not connection.streams and not self._is_closed:
                    self._connections.remove(connection)

    def pause_or_raise(
        self,
        error: grpc.RpcError,
        repeat: Repeat,
        deadline_s: float,
        pause_s: float,
        tries: Tries,
    ) -> None:
        """Wait before the next try, or raise our error where there shall be none.

        tries: those before, to which this one is added.
        """
        failure = self.failure(error)
        if failure.reason in UNDONE:
            pause_s = max(pause_s, UNDONE_PAUSE_S)
        details = error.details() or ""
        self.tried(details, tries)
        may = self.may_repeat(failure, details, repeat)
        if not may or time.monotonic() + pause_s >= deadline_s:
            raise self.unmade(failure, details, tries) from None
        compat.sleep(pause_s)

    def tried(self, rpc_details: str, tries: Tries) -> None:
        """Note a try that ended so."""
        tries.made.append(Try.of(rpc_details, is_secure=self._is_secure))

    def unmade(self, error: MemdbError, rpc_details: str, tries: Tries) -> MemdbError:
        """The error of the last of the tries, with what they tell together where no connection was made."""
        if not rpc_details.startswith(NOT_CONNECTED) or self._is_closed:
            return error
        return Unavailable(f"{rpc_details}; {tries.told()}")

    def may_repeat(self, error: MemdbError, rpc_details: str, repeat: Repeat) -> bool:
        """Whether a failed call may be tried again; never after `close`."""
        return not self._is_closed and may_repeat(error, rpc_details, repeat)

    def failure(self, error: grpc.RpcError) -> MemdbError:
        """Our error for a failed call."""
        if self._is_closed:
            return self.closed()
        if error.code() is grpc.StatusCode.INTERNAL and error.details() == STATUS_LOST:
            return Unavailable("the call ended while sending", reason="STATUS_LOST")
        trailers: Any = error.trailing_metadata() or ()  # the stubs miss that entries are pairs
        return error_from_call(error.code(), error.details(), trailers)

    def closed(self) -> Unavailable:
        """The error of every call after `close`."""
        return Unavailable("the client is closed", reason="CLOSED")

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def check_open(self) -> None:
        """Raise `Unavailable` (``CLOSED``) after `close`, and `FailedPrecondition` where no call can be made."""
        if self._is_closed:
            raise self.closed()
        self._home.check()

    def raise_if_closed(self) -> None:
        """Tell a call cancelled by `close` from one whose task was cancelled."""
        if self._is_closed and not compat.is_cancelling():
            raise self.closed() from None

    def close(self) -> None:
        """End every call and the connection."""
        with self._lock:
            self._is_closed = True
            connections = list(self._connections)
        for connection in connections:
            if connection.is_left:
                compat.spawn(connection.close, "memdb-close-left")  # may wait for what was left
            else:
                connection.close()
