"""Pipelined writing of one epoch of a stream, over any number of connections.

One background task holds the call: it sends what the `Window` hands out and settles what the
server acknowledges.  When the server goes away it connects again, until ``reconnect_timeout_s``
has passed without an answer, and sends everything unacknowledged once more, oldest first; the
server knows by number and hash what it has and answers ``duplicate``.  One whose disk is full may be waited
for in the same way.  So a clip that was
acknowledged is never lost, one that was not is never forgotten, and none is stored twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol, Self

import grpc

from memdb.codecs.tensors import checked_clip
from memdb.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    MemdbError,
    Unavailable,
)
from memdb.types.clip import Ack, Clip
from memdb.types.handle import Handle
from memdb.types.tensor import Codec
from memdb.v1 import clip_service_pb2 as clip_pb
from memdb.wire.clips import ack_from_proto
from memdb.wire.ingest import ingest_parts
from memdb_client import _acompat as compat
from memdb_client._async_connection import AsyncConnection
from memdb_client._async_rpc import AsyncRpc
from memdb_client._options import Repeat, Tries, pauses_s
from memdb_client._window import Window


class _Call(Protocol):
    """What both kinds of call can do."""

    def cancel(self) -> object: ...


class AsyncIngestWriter(Handle):
    """Writes clips without waiting for each acknowledgement; use it as a context manager.

    Not to be shared by several tasks or threads; several writers are.  After an error of the
    server every further call raises that error: open another writer, whose ``next_seq`` says
    where to go on.
    """

    def __init__(
        self,
        rpc: AsyncRpc,
        start: clip_pb.IngestStart,
        *,
        codec: Codec = Codec.F16,
        window: int | None,
        reconnect_timeout_s: float,
        waits_for_room: bool = False,
    ) -> None:
        self._rpc = rpc
        self._start = start
        self._codec = codec
        self._window = Window(window)
        self._reconnect_timeout_s = reconnect_timeout_s
        # Reconnecting gives up by itself; beyond that, a peer that keeps the connection alive and
        # settles nothing.
        self._silence_s = reconnect_timeout_s + rpc.timeout_s
        self._waits_for_room = waits_for_room
        lock = compat.Lock()
        self._changed = compat.Condition(lock)
        """What a caller waits for: the start, acknowledgements, the end."""
        self._wanted = compat.Condition(lock)
        """What a call's sender waits for.  Its own, or each acknowledgement would wake it for nothing."""
        self._task: compat.Task | None = None
        self._call: _Call | None = None
        self._attempt = 0
        self._started_attempt = 0
        self._is_closing = False
        self._is_aborted = False
        self._error: MemdbError | None = None

    def __repr__(self) -> str:
        start = self._start
        return f"<{type(self).__name__} {start.stream} of {start.user}, epoch {start.epoch}>"

    @property
    def next_seq(self) -> int:
        """The number of the next clip that the ledger wants: where to (re)start."""
        return self._window.next_seq

    @property
    def acks(self) -> int:
        """Clips acknowledged so far through this writer."""
        return self._window.acks

    async def open(self) -> None:
        """Connect and read the ledger.  Entering the context does this."""
        if self._task is not None or self._is_over:
            return
        self._rpc.check_open()
        self._task = compat.spawn(self._hold_calls, f"memdb-ingest-{self._start.stream}")
        try:
            async with self._changed:
                await self._wait_until(lambda: self._started_attempt > 0)
        except BaseException:
            await self._abort()
            raise

    async def send(self, clip: Clip) -> None:
        """Queue a clip; waits while the window is full.

        Raises the first error of an earlier clip, and `InvalidArgument` when this clip is of
        another epoch.
        """
        clip = checked_clip(clip)
        if clip.epoch != self._start.epoch:
            raise InvalidArgument(
                f"this writer writes epoch {self._start.epoch}",
                reason="EPOCH_MISMATCH",
                field="clip.epoch",
                value=clip.epoch,
            )
        parts = ingest_parts(clip, self._codec)
        size = sum(map(len, parts))
        if self._task is None:
            await self.open()
        async with self._changed:
            self._check_open()
            if self._error is not None or not self._window.has_room(size):
                await self._wait_until(lambda: self._window.has_room(size))
            is_told = self._window.has_unsent
            self._window.add(parts, size, clip.seq, sealed=clip.sealed)
            if not is_told:
                self._wanted.notify_all()

    async def flush(self) -> list[Ack]:
        """Wait until every clip sent is acknowledged; the acknowledgements since the last flush,
        in order.
        """
        await self.open()
        async with self._changed:
            await self._wait_until(lambda: self._window.is_empty)
            return self._window.take_answers()

    async def close(self) -> None:
        """Flush and end."""
        if self._task is None or self._is_over:
            self._is_closing = True
            return
        try:
            async with self._changed:
                await self._wait_until(lambda: self._window.is_empty)
                self._is_closing = True
                self._changed.notify_all()
                self._wanted.notify_all()
            await compat.join(self._task)
        finally:
            await self._abort()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if not any(exc_info):
            await self.close()
        else:
            # What the caller was told is settled; the rest it has to send again anyway.
            await self._abort()

    @property
    def _is_over(self) -> bool:
        """Whether nothing is left to do: closed (then everything is acknowledged) or aborted."""
        return self._is_closing or self._is_aborted

    def _check_open(self) -> None:
        if self._is_over:
            raise FailedPrecondition("the writer is closed", reason="CLOSED")

    async def _wait_until(self, is_true: Callable[[], bool]) -> None:
        """Wait, with the condition held; raises the writer's error as soon as there is one."""
        while True:
            if self._error is not None:
                raise self._error.again()
            if is_true():
                return
            if self._is_aborted:
                raise FailedPrecondition("the writer is closed", reason="CLOSED")
            silence_max_s = None if math.isinf(self._silence_s) else self._silence_s
            if not await self._changed.wait(silence_max_s):
                # Kept: `close` would wait as long once more.
                self._error = DeadlineExceeded(
                    f"no acknowledgement for {self._silence_s:g} s", reason="NO_ACKNOWLEDGEMENT"
                )
                raise self._error.again()

    async def _hold_calls(self) -> None:
        """The background task."""
        try:
            await self._run()
        except Exception as error:
            # Nobody looks at this task: the next call of the writer's user has to raise it.
            async with self._changed:
                self._error = self._rpc.closed() if self._rpc.is_closed else Internal(repr(error))
                self._changed.notify_all()

    async def _run(self) -> None:
        """One call after another until the end, an error, or too long
        without an answer.
        """
        give_up_s = time.monotonic() + self._rpc.timeout_s
        pauses = pauses_s()
        # Nothing is being sent when the server refuses a clip, so its reason gets through.
        one_by_one = False
        is_full = False
        tries = Tries()
        while True:
            acks_before = self._window.acks
            error, details, was_started = await self._hold_one_call(one_by_one)
            goes_on = self._window.acks > acks_before
            # A server whose disk is full lets every call begin.
            if goes_on or (was_started and not is_full):
                give_up_s = time.monotonic() + self._reconnect_timeout_s
                pauses = pauses_s()
                tries = Tries()
            self._rpc.tried(details, tries)
            pause_s = next(pauses)
            is_refused = self._waits_for_room and error is not None and error.reason == "DISK_FULL"
            is_full = is_refused or (is_full and not goes_on)
            # Nor is a whole window sent again for each look whether there is room.
            one_by_one = is_full or (error is not None and error.reason == "STATUS_LOST")
            async with self._changed:
                if error is None or self._is_over:
                    self._changed.notify_all()
                    return
                if (
                    not (is_refused or self._rpc.may_repeat(error, details, Repeat.ALWAYS))
                    or time.monotonic() + pause_s > give_up_s
                ):
                    self._error = self._rpc.unmade(error, details, tries)
                    self._changed.notify_all()
                    return
                await self._pause(pause_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, with the condition held, that long or until the writer is over."""
        until_s = time.monotonic() + seconds
        while not self._is_over and (left_s := until_s - time.monotonic()) > 0:
            await self._changed.wait(left_s)

    async def _hold_one_call(self, one_by_one: bool) -> tuple[MemdbError | None, str, bool]:
        """Send and settle until the call ends: its error with gRPC's words, and whether the
        server answered.
        """
        with self._rpc.line() as connection:
            return await self._hold_one_call_over(connection, one_by_one)

    async def _hold_one_call_over(
        self, connection: AsyncConnection, one_by_one: bool
    ) -> tuple[MemdbError | None, str, bool]:
        was_started = False
        async with self._changed:
            if self._is_over:
                return None, "", False
            self._attempt += 1
            self._window.restart(one_by_one)
            ingest = connection.ingest(partial(self._answered, self._attempt))
            call = ingest(self._requests(self._attempt), metadata=self._rpc.metadata)
            self._call = call
        try:
            async for answer in call:
                if isinstance(answer, Exception):
                    raise answer
                was_started |= answer.HasField("started")
            return Unavailable("the server ended the ingest"), "", was_started
        except grpc.RpcError as error:
            return self._rpc.failure(error), error.details() or "", was_started
        except compat.CANCELLED:
            # asyncio's way to say that the call was cancelled, by `_abort` or by closing the
            # channel.
            if compat.is_cancelling():
                raise
            return self._rpc.closed(), "", was_started
        except MemdbError as error:
            return error, "", was_started
        finally:
            call.cancel()
            async with self._changed:
                # Lets the call's sender go, which may be waiting for a clip.
                self._attempt += 1
                self._changed.notify_all()
                self._wanted.notify_all()

    def _answered(self, attempt: int, data: bytes) -> clip_pb.IngestClipsResponse | Exception:
        """Take an answer of a call; it, or what is wrong with it, for who holds the call.

        By whoever brings it, a thread of gRPC's: who waits for an acknowledgement is woken by nobody in between.  It
        has a lock of the call, for which nobody may wait who has ours.
        """
        answer = clip_pb.IngestClipsResponse.FromString(data)
        with self._changed.at_once():
            if self._attempt != attempt:
                return answer
            try:
                if answer.HasField("started"):
                    self._started_attempt = attempt
                    self._window.started(answer.started.next_seq)
                else:
                    # A slice: to walk a repeated field itself costs more than to make a list of it.
                    self._window.settle([ack_from_proto(ack) for ack in answer.acks.acks[:]])
            except Exception as error:  # gRPC would have it for an answer that cannot be read
                return error
            self._changed.notify_all()
            # Of the clips that go one by one it was the next one's turn.
            if self._window.has_unsent:
                self._wanted.notify_all()
        return answer

    async def _requests(self, attempt: int) -> compat.Answers[bytes]:
        """What one call sends: the start, then clips as they come, until the writer or the call
        ends; as bytes, since a clip is serialised once however often it is sent.
        """
        yield clip_pb.IngestClipsRequest(start=self._start).SerializeToString()
        while True:
            async with self._changed:
                message = b""
                while not message:
                    if self._attempt != attempt:
                        return
                    # Not before the start is taken: its refusal must not meet a clip (STATUS_LOST).
                    if self._started_attempt == attempt:
                        message = self._window.next_to_send()
                    if not message:
                        if self._is_closing:
                            return
                        await self._wanted.wait()
            yield message

    async def _abort(self) -> None:
        """End now; what is not acknowledged is not sent any more."""
        async with self._changed:
            self._is_aborted = True
            call = self._call
            self._changed.notify_all()
        if call is not None:
            call.cancel()  # without our lock: see `_answered`
        if self._task is not None:
            await compat.join(self._task)
